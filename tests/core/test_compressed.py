"""JPEG and PNG: right colours, right orientation, and no damaged file passes as a picture."""

from __future__ import annotations

import struct
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from videocups_core.compressed import ImageFormatError, decode_checked, decode_compressed, encode_png

RNG = np.random.default_rng(5)
SMOOTH_RGB = cv2.resize(RNG.integers(0, 256, (3, 4, 3)).astype(np.uint8), (48, 32))


def jpeg_of(rgb, quality=95):
    return cv2.imencode(".jpg", rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def png_of(rgb):
    return cv2.imencode(".png", rgb[..., ::-1])[1].tobytes()


JPEG, PNG = jpeg_of(SMOOTH_RGB), png_of(SMOOTH_RGB)


@pytest.mark.parametrize("format", ["jpeg", "jpg", "bgr8; jpeg compressed bgr8", "rgb8; jpeg compressed bgr8", ""])
def test_jpeg_is_rgb_whatever_the_original_encoding_was(format):
    image = decode_compressed(JPEG, format)
    assert image.shape == SMOOTH_RGB.shape
    assert np.abs(image.astype(int) - SMOOTH_RGB).mean() < 2


def test_png_is_exact():
    np.testing.assert_array_equal(decode_compressed(PNG, "rgb8; png compressed bgr8"), SMOOTH_RGB)
    np.testing.assert_array_equal(decode_compressed(memoryview(PNG), "png"), SMOOTH_RGB)
    np.testing.assert_array_equal(decode_compressed(np.frombuffer(PNG, np.uint8), "png"), SMOOTH_RGB)


def test_a_file_that_says_it_holds_rgb_order_is_exchanged_back():
    exchanged = png_of(SMOOTH_RGB[..., ::-1])
    np.testing.assert_array_equal(decode_compressed(exchanged, "rgb8; png compressed rgb8"), SMOOTH_RGB)


def test_grey_16_bit_and_alpha():
    grey = SMOOTH_RGB[..., 0]
    expected = np.repeat(grey[..., None], 3, axis=2)
    np.testing.assert_array_equal(decode_compressed(encode_png(grey), "mono8; png compressed "), expected)
    np.testing.assert_array_equal(decode_compressed(encode_png(grey.astype(np.uint16) << 8), "mono16; png"), expected)
    alpha = np.dstack([SMOOTH_RGB[..., ::-1], np.full(grey.shape, 3, np.uint8)])
    np.testing.assert_array_equal(decode_compressed(encode_png(alpha), "bgra8; png"), SMOOTH_RGB)


def test_a_compressed_mosaic_is_demosaiced():
    mosaic = np.tile(np.array([[200, 100], [100, 50]], np.uint8), (3, 3))  # rggb
    image = decode_compressed(encode_png(mosaic), "bayer_rggb8; png compressed ")
    np.testing.assert_array_equal(image, np.broadcast_to(np.array([200, 100, 50], np.uint8), (6, 6, 3)))
    with pytest.raises(ImageFormatError, match="3×3"):
        decode_compressed(encode_png(mosaic[:2, :2]), "bayer_rggb8; png compressed ")


def test_exif_orientation_is_left_alone():
    # TIFF, little-endian, one entry: tag 0x0112 (orientation), SHORT, count 1, value 6 (turn right)
    tiff = b"II*\0" + struct.pack("<IHHHIHHI", 8, 1, 0x0112, 3, 1, 6, 0, 0)
    app1 = b"Exif\0\0" + tiff
    turned = JPEG[:2] + b"\xff\xe1" + struct.pack(">H", len(app1) + 2) + app1 + JPEG[2:]
    np.testing.assert_array_equal(decode_compressed(turned, "jpeg"), decode_compressed(JPEG, "jpeg"))


@pytest.mark.parametrize("blob", [JPEG, PNG], ids=["jpeg", "png"])
def test_every_truncation_is_refused(blob):
    for length in range(0, len(blob) - 1, 7):
        with pytest.raises(ImageFormatError):
            decode_compressed(blob[:length], "jpeg")


def test_every_flipped_byte_of_a_png_is_refused():
    small = png_of(SMOOTH_RGB[:4, :4])
    for position in range(len(small)):
        broken = bytearray(small)
        broken[position] ^= 0x10
        with pytest.raises(ImageFormatError):
            decode_checked(bytes(broken))


def test_a_damaged_chunk_is_found_before_the_decoder_sees_it():
    broken = bytearray(PNG)
    broken[PNG.index(b"IDAT") + 40] ^= 1
    with pytest.raises(ImageFormatError, match="wrong checksum"):
        decode_checked(bytes(broken))


def test_a_huge_size_is_refused_before_memory_is_asked_for():
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 16, 0, 0, 0, 0)
    chunks = b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in ((b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b""))
    )
    with pytest.raises(ImageFormatError, match="60000×60000"):
        decode_checked(b"\x89PNG\r\n\x1a\n" + chunks)


@pytest.mark.parametrize(
    ("data", "format", "words"),
    [
        (b"", "jpeg", "no JPEG or PNG"),
        (b"GIF89a" + bytes(20), "gif", "no JPEG or PNG"),
        (PNG, "16UC1; compressedDepth png", "depth image"),
        (None, "jpeg", "must be bytes"),
        (3, "jpeg", "must be bytes"),
    ],
)
def test_what_is_no_picture_is_named(data, format, words):
    with pytest.raises(ImageFormatError, match=words):
        decode_compressed(data, format)


@settings(max_examples=150, deadline=None)
@given(
    blob=st.sampled_from([JPEG, PNG]),
    position=st.integers(0, len(JPEG) - 1),
    junk=st.binary(min_size=1, max_size=6),
    format=st.sampled_from(["jpeg", "png", "bayer_rggb8; png", "rgb8; jpeg compressed bgr8"]),
)
def test_fuzz_raises_only_the_documented_error(blob, position, junk, format):
    position %= len(blob)
    mangled = blob[:position] + junk + blob[position + len(junk) :]
    try:
        image = decode_compressed(mangled, format)
    except ImageFormatError:
        return
    assert image.ndim == 3
    assert image.shape[2] == 3
    assert image.dtype == np.uint8


@settings(max_examples=100, deadline=None)
@given(
    data=st.sampled_from([b"", b"\xff\xd8", b"\x89PNG\r\n\x1a\n"]).flatmap(
        lambda head: st.binary(max_size=80).map(lambda tail: head + tail)
    )
)
def test_fuzz_of_headers(data):
    with pytest.raises(ImageFormatError):
        decode_compressed(data, "jpeg")
