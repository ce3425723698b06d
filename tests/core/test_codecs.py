"""Panoptic codecs: what goes in comes out, what cannot fit is refused, what is damaged is named."""

from __future__ import annotations

import struct
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from videocups_core.panoptic.codecs import (
    CodecError,
    coco_ids_to_png,
    ids_to_png,
    ids_to_rle,
    pack_cityscapes,
    pack_hydra,
    png_to_coco_ids,
    png_to_ids,
    png_to_step,
    rle_to_ids,
    step_to_png,
    unpack_cityscapes,
    unpack_hydra,
)

SHAPES = npst.array_shapes(min_dims=2, max_dims=2, max_side=9)
PROPERTY = settings(max_examples=80, deadline=None)


def maps(dtype, high):
    return npst.arrays(dtype, SHAPES, elements=st.integers(0, high), fill=st.integers(0, high))


def pairs(track_dtype, high):
    return SHAPES.flatmap(
        lambda shape: st.tuples(
            npst.arrays(np.uint8, shape, elements=st.integers(0, 255)),
            npst.arrays(track_dtype, shape, elements=st.integers(0, high)),
        )
    )


EDGE_CASES = {
    "empty": np.zeros((5, 7), np.uint16),
    "one pixel": np.full((1, 1), 65_535, np.uint16),
    "one pixel set": np.pad(np.full((1, 1), 3, np.uint16), 2),
    "all 65,535 ids": np.arange(65_536, dtype=np.uint16).reshape(128, 512),
    "extremes side by side": np.tile(np.array([[0, 65_535], [65_535, 0]], np.uint16), (3, 5)),
    "one row": np.arange(9, dtype=np.uint16)[None],
    "one column": np.arange(9, dtype=np.uint16)[:, None],
    "not contiguous": np.arange(60, dtype=np.uint16).reshape(6, 10).T[::2],
}


@pytest.mark.parametrize("ids", EDGE_CASES.values(), ids=EDGE_CASES.keys())
@pytest.mark.parametrize(("encode", "decode"), [(ids_to_png, png_to_ids), (ids_to_rle, rle_to_ids)])
def test_id_codecs_on_edge_cases(ids, encode, decode):
    decoded = decode(encode(ids))
    assert decoded.dtype == np.uint16
    np.testing.assert_array_equal(decoded, ids)


@PROPERTY
@given(ids=maps(np.uint16, 65_535))
def test_id_codecs_on_random_maps(ids):
    np.testing.assert_array_equal(png_to_ids(ids_to_png(ids)), ids)
    np.testing.assert_array_equal(rle_to_ids(ids_to_rle(ids)), ids)


def test_id_png_is_an_ordinary_16_bit_png():
    ids = EDGE_CASES["all 65,535 ids"]
    image = cv2.imdecode(np.frombuffer(ids_to_png(ids), np.uint8), cv2.IMREAD_UNCHANGED)
    assert image.dtype == np.uint16
    np.testing.assert_array_equal(image, ids)


def test_rle_bytes_written_by_hand():
    ids = np.array([[5, 5, 5], [0, 0, 700]], np.uint16)
    blob = ids_to_rle(ids)
    # magic, version, height 2, width 3, 3 runs; CRC; values 5 0 700; lengths 3 2 1
    assert blob[:20] == b"VRLE\x01\0\0\0" + bytes([2, 0, 0, 0, 3, 0, 0, 0, 3, 0, 0, 0])
    assert blob[24:] == bytes([5, 0, 0, 0, 0xBC, 2, 3, 0, 2, 0, 1, 0])


def test_rle_of_a_uniform_frame_is_four_bytes_a_row():
    assert len(ids_to_rle(np.full((480, 640), 9, np.uint16))) == 24 + 4 * 480


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_ids_that_a_decoder_would_stretch_are_refused(bits):
    """OpenCV reads the ids 0, 1, 2, … of a 4-bit PNG as 0, 17, 34, …"""
    header = struct.pack(">IIBBBBB", 2, 1, bits, 0, 0, 0, 0)
    row = bytes([0, (1 << (8 - bits)) | (1 << (8 - 2 * bits))])
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(row)), (b"IEND", b"")]
    png = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks
    )
    with pytest.raises(CodecError, match=f"{bits} bits a channel"):
        png_to_ids(png)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint64])
def test_maps_may_have_any_integer_type(dtype):
    """Small types hold neither the masks nor the divisor of a layout."""
    class_map, small = np.full((2, 3), 7, np.uint8), np.full((2, 3), 100, dtype)
    np.testing.assert_array_equal(png_to_step(step_to_png(class_map, small))[1], small)
    np.testing.assert_array_equal(png_to_coco_ids(coco_ids_to_png(small)), small)
    np.testing.assert_array_equal(unpack_hydra(pack_hydra(class_map, small))[1], small)
    np.testing.assert_array_equal(unpack_cityscapes(small)[1], small)


@pytest.mark.parametrize("data", [None, 5, "VRLE", 1.5])
def test_decoders_take_bytes_only(data):
    for decode in (rle_to_ids, png_to_ids, png_to_step, png_to_coco_ids):
        with pytest.raises(CodecError, match="must be bytes"):
            decode(data)


def test_rle_refuses_every_truncation_and_flip():
    blob = ids_to_rle(EDGE_CASES["extremes side by side"])
    for length in range(len(blob)):
        with pytest.raises(CodecError):
            rle_to_ids(blob[:length])
    for position in range(len(blob)):
        if position in (5, 6, 7):  # padding of the header
            continue
        broken = bytearray(blob)
        broken[position] ^= 1
        with pytest.raises(CodecError):
            rle_to_ids(bytes(broken))


def test_rle_refuses_runs_that_contradict_the_header():
    def forged(height, width, values, lengths):
        body = np.array(values, "<u2").tobytes() + np.array(lengths, "<u2").tobytes()
        return struct.pack("<4sBxxxIIII", b"VRLE", 1, height, width, len(values), zlib.crc32(body)) + body

    np.testing.assert_array_equal(rle_to_ids(forged(2, 2, [1, 2], [2, 2])), [[1, 1], [2, 2]])
    with pytest.raises(CodecError, match="do not fill"):
        rle_to_ids(forged(1 << 31, 1 << 31, [1], [4]))
    with pytest.raises(CodecError, match="do not fill"):
        rle_to_ids(forged(2, 2, [1, 2, 3], [2, 0, 2]))
    for height, width in ((0, 0), (0, 5), (5, 0)):  # no encoder writes an image without pixels
        with pytest.raises(CodecError, match="do not fill"):
            rle_to_ids(forged(height, width, [], []))
    with pytest.raises(CodecError, match="end of its row"):
        rle_to_ids(forged(2, 2, [1, 2], [3, 1]))


@settings(max_examples=150, deadline=None)
@given(data=st.binary(max_size=60) | st.binary(max_size=40).map(lambda tail: b"VRLE\x01\0\0\0" + tail))
def test_fuzz_of_decoders(data):
    for decode in (rle_to_ids, png_to_ids, png_to_step, png_to_coco_ids):
        with pytest.raises(CodecError):
            decode(data)


@PROPERTY
@given(maps_of=pairs(np.uint64, 65_535))
def test_step_round_trip(maps_of):
    class_map, track_map = maps_of
    decoded_class, decoded_track = png_to_step(step_to_png(class_map, track_map))
    np.testing.assert_array_equal(decoded_class, class_map)
    np.testing.assert_array_equal(decoded_track, track_map)


def test_step_channels_as_kitti_step_defines_them():
    png = step_to_png(np.array([[13]], np.uint8), np.array([[0x0203]], np.int64))
    bgr = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    assert bgr[0, 0, ::-1].tolist() == [13, 2, 3]  # R class, G id // 256, B id % 256


@PROPERTY
@given(ids=maps(np.uint32, 0xFF_FFFF))
def test_coco_ids_round_trip(ids):
    np.testing.assert_array_equal(png_to_coco_ids(coco_ids_to_png(ids)), ids)


def test_coco_channels_as_coco_defines_them():
    png = coco_ids_to_png(np.array([[1 + 256 * 2 + 65_536 * 3]], np.uint32))
    bgr = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    assert bgr[0, 0, ::-1].tolist() == [1, 2, 3]


@PROPERTY
@given(maps_of=pairs(np.uint16, 999))
def test_cityscapes_round_trip(maps_of):
    class_map, instance_map = maps_of
    packed = pack_cityscapes(class_map, instance_map)
    assert packed.dtype == np.int32
    decoded_class, decoded_instance = unpack_cityscapes(packed)
    np.testing.assert_array_equal(decoded_class, class_map)
    np.testing.assert_array_equal(decoded_instance, instance_map)


def test_cityscapes_by_hand():
    packed = pack_cityscapes(np.array([[26, 255]], np.uint8), np.array([[17, 0]], np.uint16))
    assert packed.tolist() == [[26_017, 255_000]]


@PROPERTY
@given(maps_of=pairs(np.uint64, 0x7FFF))
def test_hydra_round_trip(maps_of):
    class_map, track_map = maps_of
    packed = pack_hydra(class_map, track_map)
    assert packed.dtype == np.int32
    assert packed.min() >= 0
    decoded_class, decoded_track = unpack_hydra(packed)
    np.testing.assert_array_equal(decoded_class, class_map)
    np.testing.assert_array_equal(decoded_track, track_map)


def test_hydra_order_by_hand():
    assert pack_hydra(np.array([[7]], np.uint8), np.array([[3]], np.uint16)).tolist() == [[3 * 65_536 + 7]]


ONE = np.zeros((1, 1), np.uint8)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: step_to_png(ONE, np.array([[65_536]], np.uint32)), "0..65535, got 65536"),
        (lambda: step_to_png(ONE, np.array([[-1]])), "got -1"),
        (lambda: step_to_png(ONE, np.zeros((2, 2), np.int64)), "shape"),
        (lambda: coco_ids_to_png(np.array([[1 << 24]], np.int64)), "got 16777216"),
        (lambda: pack_hydra(ONE, np.array([[32_768]], np.int64)), "0..32767, got 32768"),
        (lambda: pack_cityscapes(ONE, np.array([[1000]], np.int64)), "0..999, got 1000"),
        (lambda: unpack_cityscapes(np.array([[256_000]], np.int32)), "0..255999"),
        (lambda: unpack_cityscapes(np.array([[-1]], np.int32)), "got -1"),
        (lambda: unpack_cityscapes(np.array([[1]], np.int32), divisor=1 << 20), "divisor"),
        (lambda: unpack_hydra(np.array([[-5]], np.int32)), "negative"),
        (lambda: unpack_hydra(np.array([[300]], np.int32)), "above 255"),
        (lambda: ids_to_png(np.zeros((0, 4), np.uint16)), "non-empty"),
        (lambda: ids_to_png(np.zeros((4, 4), np.int32)), "uint16"),
        (lambda: ids_to_rle(np.zeros((1, 65_536), np.uint16)), "65535 px wide"),
        (lambda: png_to_ids(coco_ids_to_png(np.zeros((2, 2), np.uint32))), "one channel"),
        (lambda: png_to_step(ids_to_png(np.zeros((2, 2), np.uint16))), "8-bit RGB"),
        (lambda: png_to_ids(cv2.imencode(".jpg", ONE)[1].tobytes()), "no PNG"),
    ],
)
def test_what_does_not_fit_is_refused_with_a_sentence(call, words):
    with pytest.raises(CodecError, match=words):
        call()
