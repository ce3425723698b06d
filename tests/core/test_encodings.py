"""Every encoding against values written by hand, and nothing but ImageFormatError from broken messages."""

from __future__ import annotations

import array

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from videocups_core.encodings import (
    ENCODINGS,
    ImageFormatError,
    decode_image,
    decode_raw,
    encode_image,
    row_step,
)

# One 2×2 image in a handful of layouts: red, green / blue, grey.
RGB = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [40, 50, 60]]], np.uint8)
BY_HAND = {
    "rgb8": (6, [255, 0, 0, 0, 255, 0, 0, 0, 255, 40, 50, 60]),
    "bgr8": (6, [0, 0, 255, 0, 255, 0, 255, 0, 0, 60, 50, 40]),
    "8UC3": (6, [0, 0, 255, 0, 255, 0, 255, 0, 0, 60, 50, 40]),
    "rgba8": (8, [255, 0, 0, 9, 0, 255, 0, 9, 0, 0, 255, 9, 40, 50, 60, 9]),
    "bgra8": (8, [0, 0, 255, 9, 0, 255, 0, 9, 255, 0, 0, 9, 60, 50, 40, 9]),
}
# BT.601 studio range, from the standard: red is Y 81 Cb 90 Cr 240, white is Y 235 Cb 128 Cr 128.
YUV_RED = {
    "uyvy": (4, [90, 81, 240, 81] * 2),
    "yuv422": (4, [90, 81, 240, 81] * 2),
    "yuyv": (4, [81, 90, 81, 240] * 2),
    "yuv422_yuy2": (4, [81, 90, 81, 240] * 2),
    "nv12": (2, [81, 81, 81, 81, 90, 240]),
    "nv21": (2, [81, 81, 81, 81, 240, 90]),
}
# The upper left 2×2 cell of each mosaic as REP 118 names it: first row, then second row.
MOSAIC_CELLS = {"rggb": "RGGB", "bggr": "BGGR", "gbrg": "GBRG", "grbg": "GRBG"}


def decode(data, encoding, height, width, step, **more):
    return decode_image(data, encoding=encoding, height=height, width=width, step=step, **more)


@pytest.mark.parametrize("encoding", BY_HAND)
def test_colour_layouts(encoding):
    step, data = BY_HAND[encoding]
    np.testing.assert_array_equal(decode(bytes(data), encoding, 2, 2, step), RGB)


@pytest.mark.parametrize("encoding", ["mono8", "8UC1"])
def test_grey_becomes_three_equal_channels(encoding):
    image = decode(bytes([0, 7, 200, 255]), encoding, 2, 2, 2)
    np.testing.assert_array_equal(image, np.repeat(np.array([[0, 7], [200, 255]])[..., None], 3, axis=2))


@pytest.mark.parametrize("encoding", ["mono16", "16UC1"])
@pytest.mark.parametrize(("is_bigendian", "data"), [(0, [0x34, 0x12, 0xFF, 0xFE]), (1, [0x12, 0x34, 0xFE, 0xFF])])
def test_16_bit_grey_keeps_its_upper_byte_in_both_byte_orders(encoding, is_bigendian, data):
    image = decode(bytes(data), encoding, 1, 2, 4, is_bigendian=is_bigendian)
    assert image[0, :, 0].tolist() == [0x12, 0xFE]
    raw = decode_raw(bytes(data), encoding=encoding, height=1, width=2, step=4, is_bigendian=is_bigendian)
    assert raw.tolist() == [[0x1234, 0xFEFF]]


@pytest.mark.parametrize("encoding", YUV_RED)
def test_yuv_red(encoding):
    step, data = YUV_RED[encoding]
    image = decode(bytes(data), encoding, 2, 2, step).astype(int)
    assert np.abs(image - [254, 0, 0]).max() <= 1


def test_yuv_chroma_belongs_to_its_pixel_pair():
    # left pair white, right pair red: an exchange of pairs or of U and V would show
    image = decode(bytes([128, 235, 128, 235, 90, 81, 240, 81]), "uyvy", 1, 4, 8).astype(int)
    assert np.abs(image[0, :2] - 255).max() <= 1
    assert np.abs(image[0, 2:] - [254, 0, 0]).max() <= 1


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("name", MOSAIC_CELLS)
def test_bayer_names_follow_ros_not_opencv(name, bits):
    level = {"R": 200, "G": 100, "B": 50}
    cell = np.array([level[letter] for letter in MOSAIC_CELLS[name]]).reshape(2, 2)
    mosaic = np.tile(cell, (4, 4)).astype(np.uint8)
    data = mosaic if bits == 8 else mosaic.astype("<u2") << 8
    image = decode(data.tobytes(), f"bayer_{name}{bits}", 8, 8, 8 * bits // 8)
    np.testing.assert_array_equal(image, np.broadcast_to(np.array([200, 100, 50], np.uint8), (8, 8, 3)))


def test_bayer_keeps_positions():
    # only the blue site at row 5, column 5 of an rggb mosaic is lit: blue there, nothing far away
    mosaic = np.zeros((10, 10), np.uint8)
    mosaic[5, 5] = 200
    image = decode(mosaic.tobytes(), "bayer_rggb8", 10, 10, 10)
    assert image[5, 5].tolist() == [0, 0, 200]
    lit = np.argwhere(image.any(axis=2))
    assert lit.min() >= 4
    assert lit.max() <= 6


def test_row_padding_is_cut_off():
    rows = [[1, 2, 3, 4, 5, 6, 99], [7, 8, 9, 10, 11, 12, 99]]
    image = decode(bytes(rows[0] + rows[1]), "rgb8", 2, 2, 7)
    np.testing.assert_array_equal(image.reshape(2, 6), [row[:6] for row in rows])
    assert decode(bytes(rows[0] + rows[1]), "bgr8", 2, 2, 7)[0, 0].tolist() == [3, 2, 1]
    odd = decode_raw(bytes([0x34, 0x12, 9, 0x78, 0x56, 9]), encoding="mono16", height=2, width=1, step=3)
    assert odd.tolist() == [[0x1234], [0x5678]]


def test_rgb8_is_a_view_on_the_message():
    data = np.zeros(2 * 2 * 3, np.uint8)
    image = decode(data, "rgb8", 2, 2, 6)
    data[0] = 77
    assert image[0, 0, 0] == 77
    assert np.shares_memory(image, data)
    assert not decode(bytes(12), "rgb8", 2, 2, 6).flags.writeable


@pytest.mark.parametrize(
    "wrap",
    [bytes, bytearray, memoryview, lambda data: array.array("B", data), lambda data: np.frombuffer(data, np.uint8)],
)
def test_any_buffer_is_taken(wrap):
    step, data = BY_HAND["bgr8"]
    np.testing.assert_array_equal(decode(wrap(bytes(data)), "bgr8", 2, 2, step), RGB)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_encode_then_decode_returns_a_flat_colour(encoding):
    colour = (120, 120, 120) if encoding in ("mono8", "mono16", "8UC1", "16UC1") else (180, 90, 60)
    rgb = np.broadcast_to(np.array(colour, np.uint8), (6, 8, 3))
    data = encode_image(rgb, encoding)
    image = decode(data, encoding, 6, 8, row_step(encoding, 8))
    tolerance = 2 if "yu" in encoding or "uyvy" in encoding or encoding.startswith("nv") else 0
    assert np.abs(image.astype(int) - rgb).max() <= tolerance


@pytest.mark.parametrize("encoding", [*BY_HAND, "bayer_grbg8", "mono16"])
def test_encode_gives_the_bytes_written_by_hand(encoding):
    if encoding in BY_HAND:
        expected = [255 if value == 9 else value for value in BY_HAND[encoding][1]]
        assert list(encode_image(RGB, encoding)) == expected
    elif encoding == "mono16":
        grey = np.full((1, 2, 3), 0x12, np.uint8)
        assert list(encode_image(grey, encoding, is_bigendian=True)) == [0x12, 0x12] * 2
    else:
        rgb = np.broadcast_to(np.array([1, 2, 3], np.uint8), (4, 4, 3))
        assert list(encode_image(rgb, encoding)) == [2, 1, 2, 1, 3, 2, 3, 2] * 2


@pytest.mark.parametrize("encoding", YUV_RED)
def test_encoded_yuv_bytes_written_by_hand(encoding):
    red = np.broadcast_to(np.array([254, 0, 0], np.uint8), (2, 2, 3))
    assert list(encode_image(red, encoding)) == YUV_RED[encoding][1]
    halves = np.zeros((2, 4, 3), np.uint8)  # left pair black, right pair red: chroma stays in its pair
    halves[:, 2:] = red
    step = row_step(encoding, 4)
    image = decode(encode_image(halves, encoding), encoding, 2, 4, step).astype(int)
    assert np.abs(image - halves).max() <= 2


def test_16_bit_byte_order_survives_the_round_trip():
    rgb = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    little, big = (encode_image(rgb, "bayer_rggb16", is_bigendian=order) for order in (False, True))
    np.testing.assert_array_equal(
        decode(little, "bayer_rggb16", 4, 4, 8), decode(big, "bayer_rggb16", 4, 4, 8, is_bigendian=True)
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"encoding": "32FC1"}, "'32FC1' is not supported"),
        ({"encoding": ""}, "not supported"),
        ({"encoding": None}, "not supported"),
        ({"height": 0}, "height must be a whole number"),
        ({"width": -2}, "width must be a whole number"),
        ({"width": float("nan")}, "width must be a whole number"),
        ({"step": 5}, "takes 6 bytes, got step 5"),
        ({"step": 7}, "needs 14 bytes of data, got 12"),
        ({"height": 3}, "needs 18 bytes of data, got 12"),
        ({"height": 1 << 40}, "bytes of data, got 12"),
        ({"data": b""}, "got 0"),
        ({"data": bytes(13)}, "got 13"),
        ({"data": None}, "contiguous buffer"),
        ({"data": [0] * 12}, "contiguous buffer"),
        ({"encoding": "nv12", "width": 3, "step": 4}, "even size"),
        ({"encoding": "nv21", "height": 3, "step": 4}, "even size"),
        ({"encoding": "uyvy", "width": 1, "step": 6}, "even size"),
        ({"encoding": "bayer_rggb8", "step": 6}, "at least 3×3"),
    ],
)
def test_a_wrong_message_is_named(change, words):
    message = {"data": bytes(12), "encoding": "rgb8", "height": 2, "width": 2, "step": 6, **change}
    with pytest.raises(ImageFormatError, match=words):
        decode_image(**message)


@pytest.mark.parametrize("bad", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)])
def test_encode_refuses_what_is_no_rgb_image(bad):
    with pytest.raises(ImageFormatError):
        encode_image(bad, "rgb8")


@settings(max_examples=300, deadline=None)
@given(
    data=st.binary(max_size=64),
    encoding=st.sampled_from(ENCODINGS) | st.text(max_size=5),
    height=st.integers(-1, 8),
    width=st.integers(-1, 8),
    step=st.integers(-1, 16),
    is_bigendian=st.booleans(),
)
def test_fuzz_raises_only_the_documented_error(data, encoding, height, width, step, is_bigendian):
    try:
        image = decode(data, encoding, height, width, step, is_bigendian=is_bigendian)
    except ImageFormatError:
        return
    assert image.shape == (height, width, 3)
    assert image.dtype == np.uint8


@settings(max_examples=200, deadline=None)
@given(encoding=st.sampled_from(ENCODINGS), pad=st.integers(0, 5), seed=st.integers(0, 99), big=st.booleans())
def test_padding_never_changes_the_picture(encoding, pad, seed, big):
    rng = np.random.default_rng(seed)
    rgb = rng.integers(0, 256, (4, 6, 3)).astype(np.uint8)
    step = row_step(encoding, 6)
    tight = np.frombuffer(encode_image(rgb, encoding, is_bigendian=big), np.uint8).reshape(-1, step)
    padded = np.hstack([tight, rng.integers(0, 256, (len(tight), pad)).astype(np.uint8)])
    np.testing.assert_array_equal(
        decode(padded.tobytes(), encoding, 4, 6, step + pad, is_bigendian=big),
        decode(tight.tobytes(), encoding, 4, 6, step, is_bigendian=big),
    )
