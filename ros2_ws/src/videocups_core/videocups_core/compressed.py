"""JPEG and PNG bytes, checked before they are trusted.

OpenCV decodes a cut JPEG to a grey-filled image and a huge size to an allocation failure; both would be silent
lies downstream. So the container is walked first: size within bounds, end present, PNG checksums right.
"""

from __future__ import annotations

import struct
import zlib
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from videocups_core.encoders import BAYER_TO_RGB

MAX_PIXELS = 1 << 27
"""The largest image taken from compressed bytes (134 megapixels): a damaged header must not exhaust memory."""

_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_JPEG_START = b"\xff\xd8"
_JPEG_END = b"\xff\xd9"
_JPEG_SCAN = 0xDA
_JPEG_STANDALONE = {0x01, *range(0xD0, 0xD8)}  # markers without a length
_JPEG_FRAMES = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


class ImageFormatError(ValueError):
    """Image bytes that do not fit their description; the message says what, got and fix."""


def decode_compressed(data: Any, format: str) -> NDArray[np.uint8]:
    """Return a JPEG or PNG (any bytes-like ``data``) as (H, W, 3) uint8 RGB.

    ``format`` is sensor_msgs/CompressedImage.format: ``jpeg``, ``png`` or image_transport's
    ``rgb8; jpeg compressed bgr8`` (original encoding; codec; channel order inside the file). The codec is read
    from the bytes themselves. EXIF orientation is not applied: intrinsics are those of the sensor.
    """
    original, _, stored = format.lower().partition(";")
    if "compresseddepth" in format.lower():
        raise ImageFormatError(f"format {format!r} is a depth image, not a camera image; choose the colour topic")
    image = decode_checked(data)
    if image.dtype != np.uint8:
        image = (image >> 8).astype(np.uint8)
    if image.ndim == 2:
        return np.asarray(cv2.cvtColor(image, _gray_code(original.strip(), image)), dtype=np.uint8)
    if "compressed rgb" in stored:  # image_transport: the file's R and B are exchanged
        return np.ascontiguousarray(image[..., :3])
    code = cv2.COLOR_BGRA2RGB if image.shape[2] == 4 else cv2.COLOR_BGR2RGB
    return np.asarray(cv2.cvtColor(image, code), dtype=np.uint8)


def _gray_code(original_encoding: str, image: NDArray[np.uint8]) -> int:
    """Return the colour code of a one-channel file: grey, unless the format says that it holds a mosaic."""
    code = BAYER_TO_RGB.get(original_encoding.rstrip("0123456789"))
    if code is None:
        return cv2.COLOR_GRAY2RGB
    if min(image.shape) < 3:
        raise ImageFormatError(f"a colour mosaic needs at least 3×3 px, got {image.shape[1]}×{image.shape[0]}")
    return code


def decode_checked(data: Any, *, codecs: tuple[str, ...] = ("JPEG", "PNG")) -> NDArray[Any]:
    """Return a whole, undamaged image (any bytes-like ``data``) as (H, W) grey or (H, W, 3|4) BGR(A)."""
    try:
        blob = bytes(memoryview(data).cast("B"))
    except TypeError as error:
        raise ImageFormatError(f"compressed data must be bytes, got {type(data).__name__}") from error
    if "PNG" in codecs and blob.startswith(_PNG_MAGIC):
        width, height = _png_size(blob)
    elif "JPEG" in codecs and blob.startswith(_JPEG_START):
        width, height = _jpeg_size(blob)
    else:
        raise ImageFormatError(
            f"compressed image is no {' or '.join(codecs)} (first bytes: {blob[:4].hex() or 'none'}); "
            f"send it as {' or '.join(codecs)}"
        )
    if not 0 < width * height <= MAX_PIXELS:
        raise ImageFormatError(f"compressed image claims {width}×{height} px; 1 to {MAX_PIXELS} pixels are accepted")
    try:
        image = cv2.imdecode(np.frombuffer(blob, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise ImageFormatError(f"compressed image of {len(blob)} bytes cannot be decoded ({error.err})") from error
    if image is None or image.shape[:2] != (height, width) or image.dtype not in (np.uint8, np.uint16):
        raise ImageFormatError(f"compressed image of {len(blob)} bytes is damaged; send it again")
    return np.asarray(image)


def encode_png(image: NDArray[Any], *, level: int = 1) -> bytes:
    """Return an 8- or 16-bit grey or BGR image as PNG bytes; level 1 is the fast end of zlib."""
    ok, encoded = cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, level])
    if not ok:
        raise ImageFormatError(f"cannot encode an image of shape {image.shape} and dtype {image.dtype} as PNG")
    return bytes(encoded)


def _png_size(blob: bytes) -> tuple[int, int]:
    """Walk the chunks of a PNG: every checksum right, the first is IHDR, the last IEND. Returns width, height."""
    position = len(_PNG_MAGIC)
    names: list[bytes] = []
    while position + 12 <= len(blob) and names[-1:] != [b"IEND"]:
        (length,) = struct.unpack_from(">I", blob, position)
        end = position + 12 + length
        if end > len(blob):
            break
        (checksum,) = struct.unpack_from(">I", blob, end - 4)
        if zlib.crc32(memoryview(blob)[position + 4 : end - 4]) != checksum:
            raise ImageFormatError("PNG has a chunk with a wrong checksum; the data was damaged on the way")
        names.append(blob[position + 4 : position + 8])
        position = end
    if not names or names[0] != b"IHDR" or names[-1] != b"IEND" or b"IDAT" not in names:
        raise ImageFormatError(f"PNG of {len(blob)} bytes is cut off before its end; send it whole")
    width, height = struct.unpack_from(">II", blob, len(_PNG_MAGIC) + 8)
    return int(width), int(height)


def _jpeg_size(blob: bytes) -> tuple[int, int]:
    """Walk a JPEG's segments up to the pixel data; that must be there and closed. Returns width, height."""
    position, size = 2, None
    while position + 4 <= len(blob) and blob[position] == 0xFF:
        marker = blob[position + 1]
        if marker == 0xFF or marker in _JPEG_STANDALONE:
            position += 1 if marker == 0xFF else 2
            continue
        (length,) = struct.unpack_from(">H", blob, position + 2)
        if marker in _JPEG_FRAMES and position + 9 <= len(blob):
            height, width = struct.unpack_from(">HH", blob, position + 5)
            size = int(width), int(height)
        if marker == _JPEG_SCAN:
            if size is None or blob.find(_JPEG_END, position) < 0:
                break
            return size
        position += 2 + length
    raise ImageFormatError(f"JPEG of {len(blob)} bytes is cut off or damaged; send it whole")
