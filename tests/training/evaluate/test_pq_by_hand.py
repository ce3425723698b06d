"""PQ and VPQ on cases small enough to work out on paper."""

from __future__ import annotations

from math import isnan

import numpy as np
import pytest

from videocups.evaluate import VpqAccumulator, pq, vpq


@pytest.fixture
def score(frame_of):
    def run(*images):
        return pq([frame_of(*image) for image in images], things=(2, 3), num_classes=4)

    return run


# name: (prediction, truth, class, (tp, fp, fn), sum of matched IoUs)
COUNTS = {
    "perfect": ("c1 c1 r", "c1 c1 r", 2, (1, 0, 0), 1.0),
    "IoU 2/3 matches": ("c1 c1 r", "c1 c1 c1", 2, (1, 0, 0), 2 / 3),
    "IoU of exactly 1/2 does not": ("c1 r", "c1 c1", 2, (0, 1, 1), 0.0),
    "the wrong class does not match: a false negative here": ("p1 p1", "c1 c1", 2, (0, 0, 1), 0.0),
    "and a false positive there": ("p1 p1", "c1 c1", 3, (0, 1, 0), 0.0),
    "the union leaves out true void: 1/1": ("c1 c1 c1", "c1 . .", 2, (1, 0, 0), 1.0),
    "but not crowd: 1/3 is no match; 2/3 on crowd is no FP": (
        "c1 c1 c1",
        "c1 c c",
        2,
        (0, 0, 1),
        0,
    ),
    "exactly half on void is still a false positive": ("c1 c1", "r .", 2, (0, 1, 0), 0.0),
    "more than half on void is ignored": ("c1 c1 c1", "r . .", 2, (0, 0, 0), 0.0),
    "void and own crowd together count": ("c1 c1 c1", "r . c", 2, (0, 0, 0), 0.0),
    "crowd of another class does not": ("c1 c1 c1", "r p p", 2, (0, 1, 0), 0.0),
    "a crowd is never a false negative": ("r r", "c c", 2, (0, 0, 0), 0.0),
    "a crowd is never matched": ("c c", "c c", 2, (0, 0, 0), 0.0),
    "stuff with id 0 is an ordinary segment": ("r r", "r r", 0, (1, 0, 0), 1.0),
    "stuff with several ids stays several segments": ("r1 r1 r2", "r r r", 0, (1, 1, 0), 2 / 3),
    "a predicted thing with id 0 is an ordinary segment": ("c c", "c1 c1", 2, (1, 0, 0), 1.0),
    "one id in two classes is two segments": ("c1 p1", "c1 p1", 3, (1, 0, 0), 1.0),
    "predicted void is no segment": (". .", "r r", 0, (0, 0, 1), 0.0),
    "whatever id void carries": (".4 .5", ".6 .7", 0, (0, 0, 0), 0.0),
}


@pytest.mark.parametrize("name", COUNTS)
def test_match_counts(score, name):
    pred, true, class_id, expected, iou_sum = COUNTS[name]
    counts = score((pred, true)).per_class[class_id].counts
    assert (counts.tp, counts.fp, counts.fn) == expected
    assert counts.iou_sum == pytest.approx(iou_sum)


def test_scores_of_a_class_and_their_mean(score):
    # Car: one match at IoU 2/3, one miss -> PQ = (2/3) / (1 + 1/2), SQ 2/3, RQ 1 / 1.5. Road: 4 px, one too many: 3/4.
    result = score(("c1 c1 r r r r", "c1 c1 c1 c2 r r"), ("r r", "r r"))
    car, road = result.per_class[2], result.per_class[0]
    assert (car.pq, car.sq, car.rq) == pytest.approx((4 / 9, 2 / 3, 2 / 3))
    # Road: 2 of 4 px in the first image is no match (FP + FN), the second is perfect: 1 / (1 + 1/2 + 1/2).
    assert (road.pq, road.sq, road.rq) == pytest.approx((0.5, 1.0, 0.5))
    assert result.pq == pytest.approx((4 / 9 + 0.5) / 2)
    assert (result.things.pq, result.things.classes) == (pytest.approx(4 / 9), 1)
    assert (result.stuff.pq, result.stuff.classes) == (pytest.approx(0.5), 1)
    assert isnan(result.per_class[1].pq)


def test_a_class_without_a_match_has_sq_zero_and_counts(score):
    result = score(("c1 r", "p1 r"))
    assert [result.per_class[c].sq for c in (0, 2, 3)] == [1.0, 0.0, 0.0]
    assert result.sq == pytest.approx(1 / 3)


def test_a_mean_over_no_class_is_nan(score):
    result = score(("r r", "r r"))
    assert isnan(result.things.pq)
    assert result.things.classes == 0
    assert result.pq == 1.0
    assert isnan(pq([], things=(2,), num_classes=4).pq)


@pytest.fixture
def tubes(frame_of):
    def run(*videos, windows=(1, 2, 3, 4)):
        frames = [[frame_of(*frame) for frame in video] for video in videos]
        return vpq(frames, things=(2, 3), num_classes=4, windows=windows)

    return run


def test_an_id_switch_shows_only_in_longer_windows(tubes):
    result = tubes([("c1 c1", "c1 c1"), ("c2 c2", "c1 c1")], windows=(1, 2))
    assert result.per_window[1].pq == 1.0
    # Two frames: the true tube has 4 px, each prediction 2: IoU 1/2 is no match, 1 FN and 2 FP.
    counts = result.per_window[2].per_class[2].counts
    assert (counts.tp, counts.fp, counts.fn) == (0, 2, 1)
    assert result.vpq == 0.5
    assert result.things == 0.5
    assert isnan(result.stuff)


def test_a_class_change_is_another_tube(tubes):
    counts = tubes([("c1", "c1"), ("p1", "c1")], windows=(2,)).per_window[2]
    assert [counts.per_class[c].counts.fp for c in (2, 3)] == [1, 1]


def test_windows_slide_by_one_frame_and_sums_come_before_the_division(tubes):
    good, bad = ("c1", "c1"), ("r", "c1")
    # Windows of 2 over (good, good, bad): a match at IoU 1, then 1 of 2 px: FP and FN; road has 1 px: FP.
    result = tubes([good, good, bad], [good, good], windows=(2,)).per_window[2]
    car = result.per_class[2]
    # With the second video: TP 2, FP 1, FN 1.
    assert (car.counts.tp, car.counts.fp, car.counts.fn) == (2, 1, 1)
    assert car.pq == pytest.approx(2 / 3)
    assert result.per_class[0].counts.fp == 1


def test_a_video_shorter_than_the_window_adds_nothing(tubes):
    long, short = [("c1", "c1")] * 4, [("r", "c1")] * 3
    result = tubes(long, short)
    assert result.per_window[4].pq == 1.0
    assert result.per_window[3].pq < 1.0
    alone = tubes(short)
    assert isnan(alone.per_window[4].pq)
    assert isnan(alone.vpq)


def test_windows_are_checked(tubes):
    with pytest.raises(ValueError, match="windows must be lengths >= 1"):
        tubes([("r", "r")], windows=(0, 1))
    with pytest.raises(ValueError, match="windows must be lengths >= 1"):
        tubes([("r", "r")], windows=())


def test_memory_holds_only_the_last_frames(frame_of):
    accumulator = VpqAccumulator((2, 3), 4, windows=(1, 3))
    for index in range(50):
        accumulator.update("v", frame_of("c1 r", f"c{index + 1} r"))
    assert len(accumulator._recent["v"]) == 3
    assert accumulator.result("v").per_window[1].pq == 1.0
    assert np.isfinite(accumulator.result().vpq)
