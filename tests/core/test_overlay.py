"""The overlay: right colours at right pixels, and the camera image where nothing is known."""

from __future__ import annotations

import numpy as np
import pytest

from videocups_core.overlay import color_segments, draw_overlay, segment_color_table
from videocups_core.palette import track_colors
from videocups_core.panoptic.frames import panoptic_from_maps
from videocups_core.types import ClassInfo, PanopticFrame, Segment

ROAD, CAR = ClassInfo(0, "road", False, (200, 40, 80)), ClassInfo(2, "car", True, (7, 8, 9))
CLASSES = (ROAD, CAR)
SHAPE = (60, 80)


@pytest.fixture
def scene():
    class_map = np.full(SHAPE, 255, np.uint8)
    class_map[30:] = 0
    class_map[10:40, 20:60] = 2
    track_map = np.where(class_map == 2, 12, 0)
    track_map[10:40, 40:60] = 13
    rgb = np.random.default_rng(0).integers(0, 256, (*SHAPE, 3)).astype(np.uint8)
    return rgb, panoptic_from_maps(class_map, track_map, CLASSES, 0)


def test_colours_without_image(scene):
    _, frame = scene
    painted = color_segments(frame, CLASSES)
    assert painted[0, 0].tolist() == [0, 0, 0]
    assert painted[59, 0].tolist() == [200, 40, 80]
    np.testing.assert_array_equal(painted[20, [25, 45]], track_colors(np.array([12, 13])))


def test_blending_by_hand(scene):
    rgb, frame = scene
    before = rgb.copy()
    picture = draw_overlay(rgb, frame, CLASSES, alpha=0.5, outlines=False, ids=False)
    np.testing.assert_array_equal(rgb, before)
    np.testing.assert_array_equal(picture[:10], rgb[:10])  # void shows the camera
    thing = 0.5 * track_colors(np.array([12]))[0] + 0.5 * rgb[20, 25]
    stuff = 0.3 * np.array(ROAD.color_rgb) + 0.7 * rgb[59, 0]  # stuff has 0.6 of the opacity
    assert np.abs(picture[20, 25] - thing).max() <= 0.51
    assert np.abs(picture[59, 0] - stuff).max() <= 0.51


def test_alpha_ends(scene):
    rgb, frame = scene
    np.testing.assert_array_equal(draw_overlay(rgb, frame, CLASSES, alpha=0, outlines=False, ids=False), rgb)
    opaque = draw_overlay(rgb, frame, CLASSES, alpha=1, outlines=False, ids=False)
    np.testing.assert_array_equal(opaque[20, 25], track_colors(np.array([12]))[0])


def test_outlines_lie_inside_things_and_nowhere_else(scene):
    rgb, frame = scene
    plain = draw_overlay(rgb, frame, CLASSES, outlines=False, ids=False)
    outlined = draw_overlay(rgb, frame, CLASSES, outlines=True, ids=False)
    changed = (plain != outlined).any(axis=2)
    expected = np.zeros(SHAPE, bool)
    for track_id in (12, 13):  # a pixel of a thing with a neighbour (4 of them) outside it
        mask = np.pad(frame.track_map() == track_id, 1, mode="edge")
        core = mask[:-2, 1:-1] & mask[2:, 1:-1] & mask[1:-1, :-2] & mask[1:-1, 2:]
        expected |= mask[1:-1, 1:-1] & ~core
    np.testing.assert_array_equal(changed, expected)
    assert outlined[10, 30].min() >= 170  # light on any colour


def test_ids_are_written_inside_things(scene):
    rgb, frame = scene
    plain = draw_overlay(rgb, frame, CLASSES, ids=False)
    numbered = draw_overlay(rgb, frame, CLASSES, ids=True)
    rows, columns = np.nonzero((plain != numbered).any(axis=2))
    assert len(rows) > 20
    assert rows.min() >= 10
    assert rows.max() < 40
    assert {"left": columns.min() < 40, "right": columns.max() >= 40} == {"left": True, "right": True}


def test_a_crowd_has_its_class_colour_and_no_number():
    class_map = np.full(SHAPE, 2, np.uint8)
    frame = panoptic_from_maps(class_map, np.zeros(SHAPE, int), CLASSES, 0)
    rgb = np.zeros((*SHAPE, 3), np.uint8)
    picture = draw_overlay(rgb, frame, CLASSES, alpha=1.0)
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) == 1
    np.testing.assert_array_equal(color_segments(frame, CLASSES)[0, 0], CAR.color_rgb)


def test_extremes_draw():
    tracks = np.arange(1, 1 + SHAPE[0] * SHAPE[1]).reshape(SHAPE)
    crowded = panoptic_from_maps(np.full(SHAPE, 2, np.uint8), tracks, CLASSES, 0)
    rgb = np.full((*SHAPE, 3), 90, np.uint8)
    assert draw_overlay(rgb, crowded, CLASSES).shape == rgb.shape
    pixel = panoptic_from_maps(np.array([[2]], np.uint8), np.array([[2**64 - 1]], np.uint64), CLASSES, 0)
    assert draw_overlay(rgb[:1, :1], pixel, CLASSES).shape == (1, 1, 3)
    wide = panoptic_from_maps(np.full((3, 40), 2, np.uint8), np.full((3, 40), 2**64 - 1, np.uint64), CLASSES, 0)
    assert draw_overlay(rgb[:3, :40], wide, CLASSES).shape == (3, 40, 3)
    void = PanopticFrame(0, np.zeros(SHAPE, np.uint16), (Segment(65_535, 2, True, 4),))  # coasted, unseen
    np.testing.assert_array_equal(draw_overlay(rgb, void, CLASSES), rgb)


def test_table_has_a_row_for_every_id():
    frame = PanopticFrame(0, np.array([[3, 9]], np.uint16), (Segment(3, 0, False), Segment(9, 2, True, 4)))
    table = segment_color_table(frame, CLASSES)
    assert table.shape == (10, 3)
    assert table[3].tolist() == [200, 40, 80]


def test_what_does_not_fit_is_named(scene):
    rgb, frame = scene
    with pytest.raises(ValueError, match="resize one of them"):
        draw_overlay(rgb[:-1], frame, CLASSES)
    with pytest.raises(ValueError, match="alpha must be in"):
        draw_overlay(rgb, frame, CLASSES, alpha=1.5)
    with pytest.raises(ValueError, match="class 2, which classes do not list"):
        draw_overlay(rgb, frame, [ROAD])
