"""Panoptic images as bytes: id PNGs, run lengths, and the layouts of COCO, STEP, Cityscapes and Hydra.

Every decoder checks what it is given and raises CodecError with a sentence; every encoder refuses what its
layout cannot hold instead of wrapping it round.
"""

from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from videocups_core.compressed import ImageFormatError, decode_checked, encode_png
from videocups_core.panoptic.regions import row_runs
from videocups_core.types import MAX_SEGMENT_ID, VOID_CLASS

MAX_HYDRA_TRACK = 0x7FFF
"""Track ids of the 32SC1 packing: the upper half of a *signed* 32-bit value."""
MAX_COCO_ID = 0xFF_FFFF

_RLE_HEADER = struct.Struct("<4sBxxxIIII")  # magic, version, height, width, runs, CRC-32 of the body
_RLE_MAGIC = b"VRLE"
_RLE_VERSION = 1
_RLE_MAX_WIDTH = 0xFFFF
_PNG_BITS_AT = 24  # behind the magic, IHDR's length and name, width and height


class CodecError(ValueError):
    """Panoptic data that is damaged, or that a layout cannot hold."""


def ids_to_png(ids: NDArray[np.uint16]) -> bytes:
    """Return a (H, W) uint16 id image as a 16-bit grey PNG."""
    _require_image(ids, np.uint16, "segment ids")
    return encode_png(ids)


def png_to_ids(data: Any) -> NDArray[np.uint16]:
    """Read a 16-bit (or 8-bit) grey PNG as (H, W) uint16 ids."""
    image = _decode_png(data)
    if image.ndim != 2:
        raise CodecError(f"an id image has one channel, got {image.shape[2]}; is it a COCO or STEP PNG?")
    return image.astype(np.uint16, copy=False)


def ids_to_rle(ids: NDArray[np.uint16]) -> bytes:
    """Return a (H, W) uint16 id image as row runs: header, uint16 values, uint16 lengths, little-endian.

    Runs end at row ends, so a decoder can cut out rows; the header carries version, size and a CRC-32.
    """
    _require_image(ids, np.uint16, "segment ids")
    height, width = ids.shape
    if width > _RLE_MAX_WIDTH:
        raise CodecError(f"run lengths are 16-bit: the image may be {_RLE_MAX_WIDTH} px wide, got {width}; use a PNG")
    runs = row_runs(ids)
    body = runs.values.astype("<u2").tobytes() + runs.lengths.astype("<u2").tobytes()
    return _RLE_HEADER.pack(_RLE_MAGIC, _RLE_VERSION, height, width, len(runs.values), zlib.crc32(body)) + body


def rle_to_ids(data: Any) -> NDArray[np.uint16]:
    """Read the bytes of ``ids_to_rle`` as (H, W) uint16 ids."""
    try:
        blob = bytes(memoryview(data).cast("B"))
    except TypeError as error:
        raise CodecError(f"run-length data must be bytes, got {type(data).__name__}") from error
    if len(blob) < _RLE_HEADER.size:
        raise CodecError(f"run-length data needs a header of {_RLE_HEADER.size} bytes, got {len(blob)} bytes")
    magic, version, height, width, count, checksum = _RLE_HEADER.unpack_from(blob)
    if magic != _RLE_MAGIC or version != _RLE_VERSION:
        raise CodecError(f"not run-length data of version {_RLE_VERSION}: magic {magic!r}, version {version}")
    body = blob[_RLE_HEADER.size :]
    if len(body) != 4 * count or zlib.crc32(body) != checksum:
        raise CodecError(f"run-length data of {len(blob)} bytes is cut off or damaged; send it again")
    values = np.frombuffer(body, "<u2", count)
    lengths = np.frombuffer(body, "<u2", count, offset=2 * count)
    ends = np.cumsum(lengths, dtype=np.int64)
    if not count or height * width != int(ends[-1]) or not lengths.all():
        raise CodecError(f"runs do not fill the {width}×{height} image their header announces")
    if np.count_nonzero(ends % width == 0) != height:
        raise CodecError("a run crosses the end of its row")
    return np.repeat(values, lengths).astype(np.uint16, copy=False).reshape(height, width)


def step_to_png(class_map: NDArray[np.uint8], track_map: NDArray[Any]) -> bytes:
    """Return the STEP / KITTI-STEP layout: R = class (255 void), G·256 + B = track id."""
    _require_image(class_map, np.uint8, "class_map")
    _require_fitting(track_map, class_map.shape, 0xFFFF, "track id", "the STEP layout")
    image_bgr = np.empty((*class_map.shape, 3), np.uint8)
    image_bgr[..., 2] = class_map
    tracks = track_map.astype(np.uint16)
    image_bgr[..., 1] = tracks >> np.uint16(8)
    image_bgr[..., 0] = tracks & np.uint16(0xFF)
    return encode_png(image_bgr)


def png_to_step(data: Any) -> tuple[NDArray[np.uint8], NDArray[np.uint16]]:
    """Read a STEP PNG as (class_map uint8, track_map uint16)."""
    image = _decode_rgb_png(data, "STEP")
    track_map = (image[..., 1].astype(np.uint16) << np.uint16(8)) | image[..., 0]
    return np.ascontiguousarray(image[..., 2]), track_map


def coco_ids_to_png(ids: NDArray[Any]) -> bytes:
    """Return COCO panoptic ids as a colour PNG: id = R + 256·G + 65536·B."""
    _require_fitting(ids, ids.shape, MAX_COCO_ID, "segment id", "the COCO layout")
    wide = ids.astype(np.uint32)
    channels = [(wide >> np.uint32(shift)) & np.uint32(0xFF) for shift in (16, 8, 0)]
    return encode_png(np.stack(channels, axis=-1).astype(np.uint8))


def png_to_coco_ids(data: Any) -> NDArray[np.uint32]:
    """Read a COCO panoptic PNG as (H, W) uint32 ids."""
    image = _decode_rgb_png(data, "COCO panoptic").astype(np.uint32)
    ids: NDArray[np.uint32] = image[..., 2] | (image[..., 1] << np.uint32(8)) | (image[..., 0] << np.uint32(16))
    return ids


def pack_cityscapes(
    class_map: NDArray[np.uint8], instance_map: NDArray[Any], *, divisor: int = 1000
) -> NDArray[np.int32]:
    """Return class·divisor + instance as int32, the panoptic style of Cityscapes (void: 255·divisor)."""
    _require_image(class_map, np.uint8, "class_map")
    _require_fitting(instance_map, class_map.shape, divisor - 1, "instance id", f"class·{divisor} + instance")
    return class_map.astype(np.int32) * np.int32(divisor) + instance_map.astype(np.int32)


def unpack_cityscapes(packed: NDArray[Any], *, divisor: int = 1000) -> tuple[NDArray[np.uint8], NDArray[np.uint16]]:
    """Split class·divisor + instance into (class_map uint8, instance_map uint16)."""
    if divisor - 1 > MAX_SEGMENT_ID:
        raise CodecError(f"divisor must be at most {MAX_SEGMENT_ID + 1} for 16-bit instance ids, got {divisor}")
    _require_fitting(packed, packed.shape, (VOID_CLASS + 1) * divisor - 1, "value", "an 8-bit class")
    classes, instances = np.divmod(packed.astype(np.int64), divisor)
    return classes.astype(np.uint8), instances.astype(np.uint16)


def pack_hydra(class_map: NDArray[np.uint8], track_map: NDArray[Any]) -> NDArray[np.int32]:
    """Return (track << 16) | class as int32, what Hydra and Khronos read from a 32SC1 image.

    The track is in the upper 16 bits and at most 32,767 so that no value turns negative; stuff has track 0;
    void is class 255 with track 0.
    """
    _require_image(class_map, np.uint8, "class_map")
    _require_fitting(track_map, class_map.shape, MAX_HYDRA_TRACK, "track id", "the 32SC1 packing")
    return (track_map.astype(np.int32) << np.int32(16)) | class_map.astype(np.int32)


def unpack_hydra(packed: NDArray[np.int32]) -> tuple[NDArray[np.uint8], NDArray[np.uint16]]:
    """Split a 32SC1 image into (class_map uint8, track_map uint16)."""
    _require_image(packed, np.int32, "a packed image")
    classes = packed & np.int32(0xFFFF)
    if packed.size and (int(packed.min()) < 0 or int(classes.max()) > VOID_CLASS):
        raise CodecError("packed image holds a negative value or a class above 255; is it (track << 16) | class?")
    return classes.astype(np.uint8), (packed >> np.int32(16)).astype(np.uint16)


def _decode_png(data: Any) -> NDArray[Any]:
    try:
        image = decode_checked(data, codecs=("PNG",))
    except ImageFormatError as error:
        raise CodecError(str(error)) from error
    if (bits := memoryview(data).cast("B")[_PNG_BITS_AT]) not in (8, 16):
        raise CodecError(
            f"the PNG has {bits} bits a channel, which decoders stretch to 8 and so change ids; save it with 8 or 16"
        )
    return image


def _decode_rgb_png(data: Any, layout: str) -> NDArray[np.uint8]:
    image = _decode_png(data)
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise CodecError(f"a {layout} image is an 8-bit RGB PNG, got shape {image.shape} and dtype {image.dtype}")
    return image


def _require_image(image: NDArray[Any], dtype: type[np.generic], name: str) -> None:
    if image.ndim != 2 or image.dtype != dtype or image.size == 0:
        raise CodecError(
            f"{name} must be a non-empty (H, W) {dtype.__name__} array, got shape {image.shape} and dtype {image.dtype}"
        )


def _require_fitting(ids: NDArray[Any], shape: tuple[int, ...], maximum: int, what: str, layout: str) -> None:
    if ids.shape != shape or ids.ndim != 2 or ids.size == 0 or ids.dtype.kind not in "iu":
        raise CodecError(f"{what}s must be an integer array of shape {shape}, got {ids.shape} {ids.dtype}")
    low, high = int(ids.min()), int(ids.max())
    if low < 0 or high > maximum:
        raise CodecError(f"{layout} holds a {what} of 0..{maximum}, got {low if low < 0 else high}")
