"""Pasting, pixel by pixel: what is hidden, what dies, where ways lead."""

from __future__ import annotations

import numpy as np
import pytest

from videocups.model.classes import IGNORE, THING
from videocups.train.copy_paste import Cutout, Way, cut_out, cutouts_of, draw_way, paste
from videocups.train.pair import Pair, settle
from videocups.train.panoptic_config import PasteConfig

STUFF = 3


def street(height=6, width=10):
    """Row 0 (thing 1) is 2×3 px in the first frame, and one pixel further right in the second."""
    images = np.full((2, height, width, 3), 50, np.uint8)
    semantic = np.full((2, height, width), STUFF, np.uint8)
    rows = np.zeros((2, height, width), np.int16)
    for at, left in enumerate((1, 2)):
        rows[at, 2:4, left : left + 3] = 1
    images[rows > 0] = 200
    semantic[rows > 0] = THING
    ignore = np.zeros_like(rows, dtype=bool)
    ignore[:, 5, :] = True
    semantic[:, 5, :] = IGNORE
    return Pair(images, semantic, rows, ignore, np.array([[1], [1]], np.int16))


def block(height, width, color=9, thing=0):
    patch = np.full((height, width, 3), color, np.uint8), np.ones((height, width), bool)
    return Cutout(patch, patch, thing)


def straight(first, second, scales=(1.0, 1.0), mirrored=False):
    return Way((first, second), scales, mirrored)


def test_a_pasted_object_is_a_new_row_in_both_frames_and_hides_what_is_below():
    before = street()
    pair = paste(before, [(block(2, 2), straight((2.0, 3.0), (5.0, 5.0)))])
    # the middle (2, 3) of a 2×2 block: columns 1–2, rows 2–3; in the second frame columns 4–5, rows 4–5
    assert pair.rows[0, 2:4].tolist() == [[0, 2, 2, 1, 0, 0, 0, 0, 0, 0]] * 2
    assert pair.rows[1, 4:6, 4:6].tolist() == [[2, 2], [2, 2]]
    assert (pair.images[pair.rows == 2] == 9).all()
    assert (pair.semantic[pair.rows == 2] == THING).all()
    assert not pair.ignore[pair.rows == 2].any()
    assert pair.classes.tolist() == [[1, 0], [1, 0]]
    # the second frame's row 0 is untouched, and the pair that was given as well
    assert (pair.rows[1] == 1).sum() == 6
    assert (before.rows[0] == 1).sum() == 6
    settled, boxes = settle(pair, 1)
    assert boxes[0].tolist() == [[3, 2, 4, 4], [1, 2, 3, 4]]
    assert settled.classes.tolist() == pair.classes.tolist()


def test_what_is_hidden_too_much_dies_in_that_frame_only():
    pair, boxes = settle(paste(street(), [(block(2, 2), straight((2.0, 3.0), (8.0, 1.0)))]), 3)
    # 2 px of row 0 are left in the first frame: it is ignored there, and lives in the second
    assert pair.classes.tolist() == [[-1, 0], [1, 0]]
    assert pair.ignore[0, 2:4, 3].all()
    assert boxes[0, 0].tolist() == [0, 0, 0, 0]


def test_the_last_one_lies_on_top():
    pair = paste(street(), [(block(2, 2, 7), straight((7, 2), (7, 2))), (block(2, 2, 8), straight((8, 2), (8, 2)))])
    assert pair.rows[0, 1, 6:9].tolist() == [2, 3, 3]
    assert pair.images[0, 1, 6:9, 0].tolist() == [7, 8, 8]


def test_an_object_half_outside_is_cut_and_one_outside_is_in_no_row():
    pair = paste(street(), [(block(2, 4), straight((0.0, 1.0), (-9.0, 1.0)))])
    assert pair.rows[0, 0:2, 0:3].tolist() == [[2, 2, 0], [2, 2, 0]]
    assert pair.classes.tolist() == [[1, 0], [1, -1]]


def test_scale_and_mirror():
    image = np.zeros((2, 2, 3), np.uint8)
    image[:, 0] = 255
    mask = np.array([[True, False], [True, True]])
    piece = Cutout((image, mask), (image, mask), 0)
    pair = paste(street(8, 12), [(piece, straight((6, 3), (6, 3), scales=(2.0, 1.0), mirrored=True))])
    assert pair.rows[0, 1:5, 4:8].tolist() == [[0, 0, 2, 2], [0, 0, 2, 2], [2, 2, 2, 2], [2, 2, 2, 2]]
    assert pair.images[0, 4, [4, 7], 0].tolist() == [0, 255]
    assert pair.rows[1, 2:4, 5:7].tolist() == [[0, 2], [2, 2]]


def test_cutouts_are_the_objects_of_both_frames():
    pair, boxes = settle(street(), 1)
    piece = cut_out(pair, boxes, 0)
    assert piece.first[1].all()
    assert piece.first[0].shape == piece.second[0].shape == (2, 3, 3)
    assert (piece.first[0] == 200).all()
    assert piece.thing == 1
    assert len(cutouts_of(pair, boxes, 2)) == 1
    assert cutouts_of(pair, boxes, 3) == []


def test_a_cutout_of_one_frame_looks_alike_in_both():
    whole = street()
    whole.rows[1] = 0
    pair, boxes = settle(whole, 1)
    piece = cut_out(pair, boxes, 0)
    assert piece.first is piece.second or (piece.first[0] == piece.second[0]).all()
    whole.classes[:] = -1
    with pytest.raises(ValueError, match="neither frame"):
        cut_out(whole, boxes, 0)


def test_ways_keep_to_what_is_set():
    config = PasteConfig(scale=(0.5, 0.8), speed=0.1, drift=0.05)
    rng = np.random.default_rng(0)
    ways = [draw_way(100, 300, config, rng) for _ in range(500)]
    for way in ways:
        (x, y), (later_x, later_y) = way.middles_px
        assert 0 <= x <= 300
        assert 0 <= y <= 100
        assert abs(later_x - x) <= 30
        assert abs(later_y - y) <= 10
        assert 0.5 <= way.scales[0] <= 0.8
        assert 0.95 <= way.scales[1] / way.scales[0] <= 1.05
    assert 0.4 < np.mean([way.mirrored for way in ways]) < 0.6
    assert max(abs(way.middles_px[1][0] - way.middles_px[0][0]) for way in ways) > 25
