from __future__ import annotations

import numpy as np
import pytest

from videocups.cues.quality import DepthQuality, FlowQuality, MotionQuality
from videocups.instances.boxes import label_boxes
from videocups.instances.completion import CompletionConfig, complete_regions
from videocups.instances.quality import MaskQuality, moving_objects, track_quality


def car(flow_above=(0.0, 0.0)):
    """A car at rows 20..40 whose lower half is known; above and beside it the background moves differently."""
    flow = np.zeros((60, 80, 2), np.float32)
    flow[:] = flow_above
    flow[20:40, 30:60] = (5.0, 1.0)
    seed = np.zeros((60, 80), np.int32)
    seed[30:40, 30:60] = 1
    return seed, flow


def test_an_object_grows_to_what_shares_its_flow_and_no_further():
    seed, flow = car()
    grown = complete_regions(seed, flow, np.ones((60, 80), bool), None, 100.0)
    expected = np.zeros((60, 80), bool)
    expected[20:40, 30:60] = True
    assert (grown > 0).tolist() == expected.tolist()


def test_background_that_moves_alike_is_not_swallowed():
    seed, flow = car(flow_above=(5.0, 1.0))
    grown = complete_regions(seed, flow, np.ones((60, 80), bool), None, 100.0)
    np.testing.assert_array_equal(grown, seed)


def test_growth_is_limited_by_size_and_by_closed_pixels():
    seed, flow = car()
    closed = np.ones((60, 80), bool)
    closed[:25] = False
    assert not complete_regions(seed, flow, closed, None, 100.0)[:25].any()
    slope = np.full((60, 80), 0.05, np.float32)  # 20 camera heights away: 2.2 of them are 11 px
    assert not complete_regions(seed, flow, np.ones((60, 80), bool), slope, 100.0)[:28].any()
    off = complete_regions(seed, flow, np.ones((60, 80), bool), None, 100.0, CompletionConfig(enabled=False))
    assert off is seed


def test_boxes_and_areas():
    labels = np.zeros((10, 12), np.int32)
    labels[2:5, 3:9] = 4
    labels[7, 0] = 2
    assert label_boxes(labels) == [
        (2, 1, (slice(7, 8), slice(0, 1))),
        (4, 18, (slice(2, 5), slice(3, 9))),
    ]
    assert [entry[0] for entry in label_boxes(labels, min_area_px=5)] == [4]
    assert label_boxes(np.zeros((3, 3), np.int32)) == []


def test_mask_recall_and_precision_by_hand():
    truth, found = np.zeros((20, 40), np.int32), np.zeros((20, 40), np.int32)
    truth[0:10, 0:20] = 7  # 200 px, found with IoU 160/200
    truth[12:18, 0:10] = 8  # 60 px: below the limit
    found[0:8, 0:20] = 1
    found[12:18, 0:10] = 2  # fits the small one: right, but not counted above 100 px
    found[0:10, 25:37] = 3  # 120 px of nothing
    quality = MaskQuality(areas_px=(100, 50))
    quality.add(found, truth)
    assert (quality.recall(100), quality.precision(100)) == (1.0, 0.5)
    assert (quality.recall(50), quality.precision(50)) == (1.0, pytest.approx(2 / 3))
    other = MaskQuality(areas_px=(100, 50))
    other.add(np.zeros_like(found), truth)
    quality.merge(other)
    assert quality.recall(100) == 0.5


def test_track_quality_by_hand():
    one = np.zeros((4, 4), np.int32)
    one[:2] = 5
    split = np.where(one > 0, 9, 0)
    # a tube of 16 px, followed for its first 8 px by track 1 and for the rest by track 9
    total, tubes = track_quality([np.where(one > 0, 1, 0), split], [one, one])
    assert tubes == 1
    assert total == pytest.approx(2 * (8 * 8 / 16) / 16)
    assert track_quality([one, one], [one, one]) == (1.0, 1)
    assert moving_objects(np.array([[1, 2, 3]]), {2}).tolist() == [[0, 2, 0]]


def test_cue_scores_by_hand():
    moving = np.array([[True, False, False, False]])
    motion = MotionQuality()
    motion.add(np.array([[0.9, 0.2, 0.1, 0.0]], np.float32), moving)
    assert (motion.precision(), motion.recall(), motion.f1()) == (0.5, 1.0, pytest.approx(2 / 3))
    assert motion.auc() == 1.0
    motion.add(np.array([[0.0, 0.9, 0.0, 0.0]], np.float32), moving)
    # pairs: the first mover beats all of 6 but ties with 0.9; the second ties with three zeros
    assert motion.auc() == pytest.approx((5.5 + 1.5) / 12)
    depth = DepthQuality()
    depth.add(np.array([[1, 2, 3, 9]], np.float32), np.array([[2, 4, 9, 0]], np.float32))  # scale 2
    assert depth.abs_rel == [pytest.approx(1 / 9)]
    assert depth.delta == [pytest.approx(2 / 3)]
    flow = FlowQuality()
    truth = np.zeros((1, 4, 2), np.float32)
    flow.add(truth + np.array([3, 4], np.float32), truth, np.array([[True, True, False, False]]), moving)
    assert (flow.all(), flow.movers()) == (5.0, 5.0)
