from __future__ import annotations

import numpy as np
import pytest

from videocups.cues.flow import FlowPair, visible
from videocups.fusion.alignment import align, count_classes, majority_classes, track_votes
from videocups.fusion.smoothing import smooth_clip
from videocups.fusion.split import SplitConfig, split_things

SHAPE = (6, 12)


def flat(value):
    return np.full(SHAPE, value, np.uint8)


def moving_flow(columns=0, hidden=None):
    """Everything moves ``columns`` px to the right; ``hidden``: columns of the later frame unseen in the earlier."""
    forward = np.zeros((*SHAPE, 2), np.float32)
    forward[..., 0] = columns
    seen, seen_back = visible(forward, -forward), visible(-forward, forward)
    if hidden is not None:
        seen_back[:, hidden] = False
    return FlowPair(forward, -forward, seen, seen_back)


def test_two_neighbours_outvote_a_frame_and_a_tie_keeps_it():
    still = [moving_flow()] * 3
    labels = [flat(1), flat(2), flat(1), flat(3)]
    smoothed = smooth_clip(labels, still)
    assert [frame[0, 0] for frame in smoothed] == [1, 1, 1, 3]  # frame 2 sees 2, 1, 3: a tie


def test_votes_follow_the_flow():
    labels = []
    for t in range(3):
        frame = flat(0)
        frame[:, 2 + 3 * t] = 7  # a post that moves 3 px a frame
        labels.append(frame)
    labels[1][:] = 0  # missed once
    smoothed = smooth_clip(labels, [moving_flow(3)] * 2)
    wanted = flat(0)
    wanted[:, 5] = 7
    np.testing.assert_array_equal(smoothed[1][:, 3:9], wanted[:, 3:9])


def test_a_hidden_neighbour_abstains():
    labels = [flat(1), flat(2), flat(1)]
    flows = [moving_flow(hidden=slice(0, 4)), moving_flow()]
    smoothed = smooth_clip(labels, flows)[1]
    assert (smoothed[:, :4] == 2).all()  # one vote against one: its own label stays
    assert (smoothed[:, 4:] == 1).all()


def test_what_enters_or_leaves_the_image_keeps_its_label():
    smoothed = smooth_clip([flat(0), flat(5), flat(0)], [moving_flow(2)] * 2)[1]
    assert (smoothed[:, 2:10] == 0).all()
    assert (smoothed[:, :2] == 5).all()  # not yet there in the frame before
    assert (smoothed[:, 10:] == 5).all()  # no longer there in the frame after


def test_flows_must_join_the_frames():
    with pytest.raises(ValueError, match="3 frames need 2 flows"):
        smooth_clip([flat(0)] * 3, [moving_flow()])
    assert smooth_clip([], []) == []


def clip():
    """Track 1 is class 4 for two frames and class 2 for one; track 2 is class 2; around them class 0."""
    classes, tracks = [], []
    for seen_as in (4, 2, 4):
        class_map, track_map = flat(0), np.zeros(SHAPE, np.int32)
        track_map[1:3, 1:5] = 1
        class_map[1:3, 1:5] = seen_as
        track_map[4:6, 6:9] = 2
        class_map[4:6, 6:9] = 2
        classes.append(class_map)
        tracks.append(track_map)
    return classes, tracks


def test_a_track_has_one_class_all_over_the_clip():
    classes, tracks = clip()
    votes = track_votes(classes, tracks, 5)
    assert votes[1].tolist() == [0, 0, 8, 0, 16]
    assert majority_classes(votes) == {1: 4, 2: 2}
    aligned = align(classes, tracks, majority_classes(votes))
    for class_map, track_map in zip(aligned, tracks, strict=True):
        assert set(class_map[track_map == 1].tolist()) == {4}
        assert set(class_map[track_map == 2].tolist()) == {2}
        assert set(class_map[track_map == 0].tolist()) == {0}


def test_a_track_without_a_class_keeps_its_pixels():
    classes, tracks = clip()
    aligned = align(classes, tracks, {1: 3})
    assert set(aligned[0][tracks[0] == 1].tolist()) == {3}
    np.testing.assert_array_equal(aligned[0][tracks[0] == 2], classes[0][tracks[0] == 2])


def test_alignment_of_other_sizes_is_refused():
    classes, tracks = clip()
    with pytest.raises(ValueError, match="same sizes"):
        align(classes, tracks[:2], {})
    with pytest.raises(ValueError, match="there are 3 classes"):
        track_votes(classes, tracks, 3)


def test_things_are_classes_that_lie_in_instances():
    classes, tracks = clip()
    classes[0][0, :] = 4  # 12 px of class 4 outside
    counts = count_classes(align(classes, tracks, {1: 4, 2: 2}), tracks, 5)
    assert counts.inside_px.tolist() == [0, 0, 18, 0, 24]
    assert counts.all_px.tolist() == [162, 0, 18, 0, 36]
    split = split_things(counts + counts, SplitConfig(threshold=0.5))  # ratios 1 and 2/3, normalised: .6 and .4
    np.testing.assert_allclose(split.ratios, [0, 0, 0.6, 0, 0.4])
    assert split.is_thing.tolist() == [False, False, True, False, False]
    assert split_things(counts).is_thing.tolist() == [False, False, True, False, True]  # .08
    table = split.table()
    assert table["threshold"] == 0.5
    assert [row["class_id"] for row in table["classes"]] == [2, 4, 0, 1, 3]  # best first
    assert table["classes"][1] == {"class_id": 4, "ratio": 0.4, "is_thing": False, "inside_px": 48, "all_px": 72}


def test_without_instances_there_are_no_things():
    classes, tracks = clip()
    empty = [np.zeros_like(frame) for frame in tracks]
    split = split_things(count_classes(classes, empty, 5))
    assert not split.is_thing.any()
    assert np.isfinite(split.ratios).all()
