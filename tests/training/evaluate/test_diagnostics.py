"""Identity switches, broken tracks, flicker and the table per class, on cases worked out by hand."""

from __future__ import annotations

from math import isnan

import numpy as np
import pytest

from videocups.evaluate import pq, stq
from videocups.evaluate.classes import LabelSpace
from videocups.evaluate.diagnostics import Stability, TrackingAccumulator, class_stability, class_table

SPACE = LabelSpace.of((2, 3), 4)


@pytest.fixture
def tracking(frame_of):
    def run(*frames):
        accumulator = TrackingAccumulator((2, 3), 4)
        for frame in frames:
            accumulator.update("v", frame_of(*frame))
        return accumulator.result()

    return run


GOOD, OTHER, LOST, GONE = ("c1 c1", "c1 c1"), ("c7 c7", "c1 c1"), ("r r", "c1 c1"), ("r r", "r r")
# frames: (tracked frames, id switches, fragmentations)
TRACKS = {
    "followed": ([GOOD] * 3, (3, 0, 0)),
    "another id: a switch": ([GOOD, OTHER], (2, 1, 0)),
    "there and back: two": ([GOOD, OTHER, GOOD], (3, 2, 0)),
    "lost and found again: a fragmentation, no switch": ([GOOD, LOST, LOST, GOOD], (2, 0, 1)),
    "lost and found by another id: both": ([GOOD, LOST, OTHER], (2, 1, 1)),
    "lost for good is not broken": ([GOOD, LOST, LOST], (1, 0, 0)),
    "found late is not broken": ([LOST, LOST, GOOD], (1, 0, 0)),
    "out of sight is not lost": ([GOOD, GONE, GOOD], (2, 0, 0)),
    "another id after being out of sight is a switch": ([GOOD, GONE, OTHER], (2, 1, 0)),
    "another class of the same id is a switch": ([GOOD, ("p1 p1", "c1 c1")], (2, 1, 0)),
    "IoU of exactly 1/2 does not track": ([("c1 r", "c1 c1")], (0, 0, 0)),
    "void is left out of the IoU": ([("c1 c1 c1", "c1 . .")], (1, 0, 0)),
    "and so is crowd": ([("c1 c1 c1", "c1 c c")], (1, 0, 0)),
    "stuff does not track": ([("r r", "c1 c1")], (0, 0, 0)),
}


@pytest.mark.parametrize("name", TRACKS)
def test_tracks(tracking, name):
    frames, expected = TRACKS[name]
    result = tracking(*frames)
    assert (result.tracked_frames, result.id_switches, result.fragmentations) == expected
    assert result.tubes == 1


def test_mostly_tracked_and_mostly_lost(tracking):
    assert tracking(*[GOOD] * 4, LOST).mostly_tracked == 1
    assert tracking(*[GOOD] * 3, LOST).mostly_tracked == 0
    assert tracking(GOOD, *[LOST] * 4).mostly_lost == 0
    assert tracking(GOOD, *[LOST] * 5).mostly_lost == 1


def test_crowd_is_no_tube_and_sequences_add_up(frame_of):
    accumulator = TrackingAccumulator((2, 3), 4)
    accumulator.update("a", frame_of("c1 c2", "c1 c"))
    accumulator.update("b", frame_of("r", "c1"))
    assert accumulator.result("a").tubes == 1
    assert (accumulator.result().tubes, accumulator.result().visible_frames) == (2, 2)
    with pytest.raises(ValueError, match="no sequence 'c'"):
        accumulator.result("c")


def test_a_still_picture_is_stable():
    classes = np.arange(12, dtype=np.uint8).reshape(3, 4)
    result = class_stability(classes, classes, np.zeros((3, 4, 2), dtype=np.float32))
    assert (result.changed_px, result.followed_px, result.change_rate) == (0, 12, 0.0)


def test_flow_is_followed_to_the_nearest_pixel():
    # Everything moves 1 px to the right and 1 down; a flow of 0.6 rounds to that. The last row and column leave.
    now = np.arange(12).reshape(3, 4)
    following = np.full((3, 4), 99)
    following[1:, 1:] = now[:-1, :-1]
    flow = np.full((3, 4, 2), 0.6)
    assert class_stability(now, following, flow) == Stability(0, 6)
    following[1, 1] = 50
    assert class_stability(now, following, flow) == Stability(1, 6)
    assert class_stability(now, following, np.zeros_like(flow)).changed_px == 12


def test_x_comes_first_in_the_flow():
    now, following = np.array([[1, 0, 0]]), np.array([[0, 1, 0]])
    flow = np.zeros((1, 3, 2))
    flow[0, 0] = (1, 0)
    visible = np.array([[True, False, False]])
    assert class_stability(now, following, flow, visible) == Stability(0, 1)


def test_hidden_leaving_and_unknown_pixels_are_left_out():
    classes = np.zeros((1, 5), dtype=np.uint8)
    flow = np.zeros((1, 5, 2))
    flow[0, 1, 0], flow[0, 2, 1], flow[0, 3, 0] = np.nan, np.inf, 1e30
    visible = np.array([[False, True, True, True, True]])
    assert class_stability(classes, classes + np.uint8(1), flow, visible) == Stability(1, 1)


def test_stability_sums_and_its_shapes_are_checked():
    total = Stability(1, 4) + Stability(1, 4)
    assert total.change_rate == 0.25
    assert isnan(Stability().change_rate)
    with pytest.raises(ValueError, match="share one height and width"):
        class_stability(np.zeros((2, 3), int), np.zeros((2, 3), int), np.zeros((3, 2, 2)))


def test_the_table_has_a_row_per_class(frame_of):
    frames = [frame_of("r r c1 . s", "r c1 c1 c2 .")]
    rows = class_table(
        stq(frames, things=(2, 3), num_classes=4),
        SPACE,
        ["road", "sky", "car", "person"],
        pq(frames, things=(2, 3), num_classes=4),
    )
    assert [row.name for row in rows] == ["road", "sky", "car", "person"]
    road, sky, car, person = rows
    assert (road.is_thing, road.iou, road.true_px, road.predicted_px) == (False, 0.5, 1, 2)
    # Car: 1 px right of 3 true and 1 predicted; tube 1 has half of its pixels, tube 2 none: (1/2 · 1/2 + 0) / 2.
    assert (car.is_thing, car.iou, car.aq, car.true_tubes) == (True, pytest.approx(1 / 3), 0.125, 2)
    assert (car.tp, car.fp, car.fn, car.pq) == (0, 1, 2, 0.0)
    assert (sky.true_px, sky.predicted_px) == (0, 0)
    assert isnan(person.iou)
    assert isnan(person.pq)
    with pytest.raises(ValueError, match="expected 4 class names, got 1"):
        class_table(stq(frames, things=(2, 3), num_classes=4), SPACE, ["road"])
