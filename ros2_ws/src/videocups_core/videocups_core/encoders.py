"""RGB to the sample layout of every camera encoding: what the renderer writes into bags and tests read back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Rgb = NDArray[np.uint8]
Encoder = Callable[[Rgb], NDArray[Any]]

# BT.601, studio range: rows Y, Cb, Cr over R, G, B and a constant. The inverse of OpenCV's YUV2RGB codes.
_YCBCR_OF_RGB = np.array(
    [
        [0.256788, 0.504129, 0.097906, 16.0],
        [-0.148223, -0.290993, 0.439216, 128.0],
        [0.439216, -0.367788, -0.071427, 128.0],
    ],
    dtype=np.float32,
)

# Which channel (0 R, 1 G, 2 B) each pixel of the 2×2 mosaic cell holds, row by row, as ROS names it.
BAYER_CELLS = {
    "bayer_rggb": ((0, 1), (1, 2)),
    "bayer_bggr": ((2, 1), (1, 0)),
    "bayer_gbrg": ((1, 2), (0, 1)),
    "bayer_grbg": ((1, 0), (2, 1)),
}

# ROS names a mosaic by its first row and column (rggb: R at 0,0), OpenCV by the pixels at (1,1) and (1,2).
BAYER_TO_RGB = {
    "bayer_rggb": cv2.COLOR_BayerBG2RGB,
    "bayer_bggr": cv2.COLOR_BayerRG2RGB,
    "bayer_gbrg": cv2.COLOR_BayerGR2RGB,
    "bayer_grbg": cv2.COLOR_BayerGB2RGB,
}


def _color(code: int) -> Encoder:
    return lambda rgb: np.asarray(cv2.cvtColor(np.ascontiguousarray(rgb), code))


def _to_16_bit(encode: Encoder) -> Encoder:
    """Spread 8-bit samples over the 16-bit range (255 becomes 65,535)."""
    return lambda rgb: encode(rgb).astype(np.uint16) * np.uint16(257)


def _bayer(cell: tuple[tuple[int, int], tuple[int, int]]) -> Encoder:
    def encode(rgb: Rgb) -> NDArray[Any]:
        mosaic = np.empty(rgb.shape[:2], np.uint8)
        for row in (0, 1):
            for column in (0, 1):
                mosaic[row::2, column::2] = rgb[row::2, column::2, cell[row][column]]
        return mosaic

    return encode


def _yuv422(luma_at: int) -> Encoder:
    """Interleave Y with alternating Cb, Cr; ``luma_at`` is 0 for YUYV and 1 for UYVY."""

    def encode(rgb: Rgb) -> NDArray[Any]:
        height, width = rgb.shape[:2]
        packed = np.empty((height, width, 2), np.uint8)
        packed[:, :, luma_at] = _luma(rgb)
        packed[:, :, 1 - luma_at] = _chroma(rgb, width // 2, height).reshape(height, width)
        return packed

    return encode


def _nv(first: int) -> Encoder:
    """Luma plane over a half-size plane of interleaved chroma; ``first`` is 0 (Cb) for NV12 and 1 for NV21."""

    def encode(rgb: Rgb) -> NDArray[Any]:
        height, width = rgb.shape[:2]
        cells = _chroma(rgb, width // 2, height // 2)
        cells = cells if first == 0 else cells[..., ::-1]
        return np.concatenate([_luma(rgb), cells.reshape(height // 2, width)])

    return encode


def _luma(rgb: Rgb) -> NDArray[np.uint8]:
    return np.asarray(cv2.transform(np.ascontiguousarray(rgb), _YCBCR_OF_RGB[:1]), dtype=np.uint8)


def _chroma(rgb: Rgb, width: int, height: int) -> NDArray[np.uint8]:
    """Return (height, width, 2) Cb, Cr of the mean colour of each cell of pixels."""
    cells = cv2.resize(np.ascontiguousarray(rgb), (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.transform(cells, _YCBCR_OF_RGB[1:]), dtype=np.uint8)


_GRAY = _color(cv2.COLOR_RGB2GRAY)
_BGR = _color(cv2.COLOR_RGB2BGR)
_BAYER = {name: _bayer(cell) for name, cell in BAYER_CELLS.items()}

ENCODERS: dict[str, Encoder] = {
    "rgb8": lambda rgb: rgb,
    "bgr8": _BGR,
    "rgba8": _color(cv2.COLOR_RGB2RGBA),
    "bgra8": _color(cv2.COLOR_RGB2BGRA),
    "mono8": _GRAY,
    "mono16": _to_16_bit(_GRAY),
    "8UC1": _GRAY,
    "8UC3": _BGR,
    "16UC1": _to_16_bit(_GRAY),
    "yuv422": _yuv422(luma_at=1),
    "uyvy": _yuv422(luma_at=1),
    "yuv422_yuy2": _yuv422(luma_at=0),
    "yuyv": _yuv422(luma_at=0),
    "nv12": _nv(first=0),
    "nv21": _nv(first=1),
    **{name + "8": encode for name, encode in _BAYER.items()},
    **{name + "16": _to_16_bit(encode) for name, encode in _BAYER.items()},
}
