"""Camera images as ROS sends them: bytes with an encoding name, a row step and a byte order, to and from RGB.

Nothing here needs ROS or cv_bridge. Colours of the YUV encodings are BT.601 with studio range (16..235),
as every common camera driver and OpenCV read them. 16-bit images keep their upper 8 bits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from videocups_core.compressed import ImageFormatError, decode_compressed
from videocups_core.encoders import BAYER_TO_RGB, ENCODERS

__all__ = [
    "ENCODINGS",
    "ImageFormatError",
    "decode_compressed",
    "decode_image",
    "decode_raw",
    "encode_image",
    "row_step",
]

Buffer = Any
"""Any contiguous buffer: bytes, memoryview, a NumPy array, array.array (as rclpy holds message data)."""


@dataclass(frozen=True)
class _Layout:
    """How one encoding lies in memory. ``rows_per_2``: stored rows for every two image rows (3 for NV12)."""

    channels: int
    bytes_per_channel: int
    to_rgb: Callable[[NDArray[Any]], NDArray[np.uint8]]
    even_width: bool = False
    even_height: bool = False
    min_size: int = 1
    rows_per_2: int = 2


def _convert(code: int) -> Callable[[NDArray[Any]], NDArray[np.uint8]]:
    """Return a converter by OpenCV colour code; 16-bit input is cut to 8 bits first, while it has one channel."""

    def convert(raw: NDArray[Any]) -> NDArray[np.uint8]:
        return np.asarray(cv2.cvtColor(np.ascontiguousarray(_to_8_bit(raw)), code), dtype=np.uint8)

    return convert


def _to_8_bit(image: NDArray[Any]) -> NDArray[np.uint8]:
    return image if image.dtype == np.uint8 else (image >> 8).astype(np.uint8)


def _gray_to_rgb(raw: NDArray[Any]) -> NDArray[np.uint8]:
    return np.asarray(cv2.cvtColor(np.ascontiguousarray(_to_8_bit(raw)), cv2.COLOR_GRAY2RGB), dtype=np.uint8)


_UYVY = _Layout(2, 1, _convert(cv2.COLOR_YUV2RGB_UYVY), even_width=True)
_YUYV = _Layout(2, 1, _convert(cv2.COLOR_YUV2RGB_YUY2), even_width=True)
_MONO8 = _Layout(1, 1, _gray_to_rgb)
_MONO16 = _Layout(1, 2, _gray_to_rgb)
_BGR8 = _Layout(3, 1, _convert(cv2.COLOR_BGR2RGB))

_LAYOUTS: dict[str, _Layout] = {
    "rgb8": _Layout(3, 1, lambda raw: raw),
    "bgr8": _BGR8,
    "rgba8": _Layout(4, 1, _convert(cv2.COLOR_RGBA2RGB)),
    "bgra8": _Layout(4, 1, _convert(cv2.COLOR_BGRA2RGB)),
    "mono8": _MONO8,
    "mono16": _MONO16,
    "8UC1": _MONO8,
    "8UC3": _BGR8,  # cv_bridge's meaning of a bare three-channel image
    "16UC1": _MONO16,
    "yuv422": _UYVY,
    "uyvy": _UYVY,
    "yuv422_yuy2": _YUYV,
    "yuyv": _YUYV,
    "nv12": _Layout(1, 1, _convert(cv2.COLOR_YUV2RGB_NV12), even_width=True, even_height=True, rows_per_2=3),
    "nv21": _Layout(1, 1, _convert(cv2.COLOR_YUV2RGB_NV21), even_width=True, even_height=True, rows_per_2=3),
    **{name + "8": _Layout(1, 1, _convert(code), min_size=3) for name, code in BAYER_TO_RGB.items()},
    **{name + "16": _Layout(1, 2, _convert(code), min_size=3) for name, code in BAYER_TO_RGB.items()},
}

ENCODINGS: tuple[str, ...] = tuple(_LAYOUTS)
"""Every encoding name that ``decode_image`` and ``encode_image`` know."""


def decode_image(
    data: Buffer, *, encoding: str, height: int, width: int, step: int, is_bigendian: bool | int = False
) -> NDArray[np.uint8]:
    """Return the image as (H, W, 3) uint8 RGB.

    ``rgb8`` comes back as a view on ``data`` (read-only where ``data`` is), everything else as a new array.
    ImageFormatError says which field is wrong; no other exception leaves this function.
    """
    raw = decode_raw(data, encoding=encoding, height=height, width=width, step=step, is_bigendian=is_bigendian)
    return _LAYOUTS[encoding].to_rgb(raw)


def decode_raw(
    data: Buffer, *, encoding: str, height: int, width: int, step: int, is_bigendian: bool | int = False
) -> NDArray[Any]:
    """Return the stored samples without conversion: (H, W) or (H, W, C), uint8 or uint16, a view on ``data``.

    Padding at row ends is cut off by strides. NV12/NV21 give their (H·3/2, W) planes. Only a 16-bit image in
    the other byte order is copied.
    """
    layout = _layout_of(encoding)
    height, width, step = _checked_size(layout, encoding, height, width, step)
    rows = height * layout.rows_per_2 // 2
    flat = _flat_bytes(data)
    if flat.size != rows * step:
        raise ImageFormatError(
            f"a {width}×{height} {encoding} image with step {step} needs {rows * step} bytes of data, "
            f"got {flat.size}; the message was cut or its header is wrong"
        )
    row_bytes = width * layout.channels * layout.bytes_per_channel
    samples: NDArray[Any] = flat.reshape(rows, step)[:, :row_bytes]
    if layout.bytes_per_channel == 2:
        samples = samples.view(">u2" if is_bigendian else "<u2")
        if not samples.dtype.isnative:
            samples = samples.astype(np.uint16)
    if layout.channels == 1:
        return samples
    return np.lib.stride_tricks.as_strided(
        samples,
        shape=(rows, width, layout.channels),
        strides=(samples.strides[0], layout.channels * samples.itemsize, samples.itemsize),
        writeable=samples.flags.writeable,
    )


def encode_image(rgb: NDArray[np.uint8], encoding: str, *, is_bigendian: bool = False) -> memoryview:
    """Return (H, W, 3) uint8 RGB as tightly packed bytes in ``encoding``; the row step is ``row_step(encoding, W)``."""
    layout = _layout_of(encoding)
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8:
        raise ImageFormatError(f"rgb must be a (H, W, 3) uint8 array, got shape {rgb.shape} and dtype {rgb.dtype}")
    height, width = int(rgb.shape[0]), int(rgb.shape[1])
    _checked_size(layout, encoding, height, width, row_step(encoding, width))
    samples = ENCODERS[encoding](rgb)
    if samples.dtype == np.uint16:
        samples = samples.astype(">u2" if is_bigendian else "<u2", copy=False)
    return np.ascontiguousarray(samples).view(np.uint8).reshape(-1).data


def row_step(encoding: str, width: int) -> int:
    """Return the bytes of one stored row without padding: what ``step`` is for a tightly packed image."""
    layout = _layout_of(encoding)
    return width * layout.channels * layout.bytes_per_channel


def _layout_of(encoding: str) -> _Layout:
    layout = _LAYOUTS.get(encoding) if isinstance(encoding, str) else None
    if layout is None:
        raise ImageFormatError(f"encoding {encoding!r} is not supported; send one of {', '.join(ENCODINGS)}")
    return layout


def _checked_size(layout: _Layout, encoding: str, height: int, width: int, step: int) -> tuple[int, int, int]:
    for name, value in (("height", height), ("width", width), ("step", step)):
        if not isinstance(value, Integral) or value < 1:
            raise ImageFormatError(f"{name} must be a whole number of at least 1, got {value!r}; check the driver")
    if min(height, width) < layout.min_size:
        raise ImageFormatError(
            f"{encoding} needs at least {layout.min_size}×{layout.min_size} px, got {width}×{height}"
        )
    if (layout.even_width and width % 2) or (layout.even_height and height % 2):
        raise ImageFormatError(
            f"{encoding} shares colour between neighbouring pixels and needs an even size, got {width}×{height}"
        )
    row_bytes = width * layout.channels * layout.bytes_per_channel
    if step < row_bytes:
        raise ImageFormatError(
            f"a row of {width} px in {encoding} takes {row_bytes} bytes, got step {step}; "
            "the driver's step or encoding is wrong"
        )
    return int(height), int(width), int(step)


def _flat_bytes(data: Buffer) -> NDArray[np.uint8]:
    """View ``data`` as a flat uint8 array without a copy."""
    try:
        return np.frombuffer(data, dtype=np.uint8) if len(data) else np.empty(0, np.uint8)
    except (TypeError, ValueError, BufferError) as error:
        raise ImageFormatError(
            f"image data must be a contiguous buffer of bytes, got {type(data).__name__} ({error})"
        ) from error
