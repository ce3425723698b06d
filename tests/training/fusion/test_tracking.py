from __future__ import annotations

import numpy as np
import pytest

from videocups.cues.flow import FlowPair
from videocups.fusion.tracking import TrackingConfig, drop_short_tracks, match_labels, track_instances

SHAPE = (20, 60)


def box(column, value=1, width=10):
    """A frame with one instance, 8 rows high."""
    frame = np.zeros(SHAPE, np.int32)
    frame[6:14, column : column + width] = value
    return frame


def uniform_flow(columns):
    """Everything moves ``columns`` px to the right and is seen in both frames."""
    forward = np.zeros((*SHAPE, 2), np.float32)
    forward[..., 0] = columns
    seen = np.ones(SHAPE, bool)
    return FlowPair(forward, -forward, seen, seen)


def ids(frames):
    return [sorted(set(np.unique(frame).tolist()) - {0}) for frame in frames]


def test_a_moving_object_keeps_its_id_though_its_number_changes():
    frames = [box(5, 3), box(9, 1), box(13, 7)]
    tracks = track_instances(frames, [uniform_flow(4)] * 2)
    for track, frame in zip(tracks, frames, strict=True):
        np.testing.assert_array_equal(track, (frame > 0).astype(np.int32))


def test_overlap_below_the_threshold_starts_a_new_track():
    # shifted by 4 of 10 columns after warping: IoU = 6 / 14 = .43 > .4; by 5: 5 / 15 = .33
    still = uniform_flow(0)
    config = TrackingConfig(min_frames=1)
    assert ids(track_instances([box(5), box(9)], [still], config)) == [[1], [1]]
    assert ids(track_instances([box(5), box(10)], [still], config)) == [[1], [2]]


def test_an_object_missed_for_one_frame_is_resurrected_where_flow_puts_it():
    frames = [box(5), np.zeros(SHAPE, np.int32), box(13)]
    flows = [uniform_flow(4)] * 2
    tracks = track_instances(frames, flows)
    np.testing.assert_array_equal(tracks[1], box(9))
    assert ids(tracks) == [[1], [1], [1]]
    assert ids(track_instances(frames, flows, TrackingConfig(resurrect=False, min_frames=1))) == [[1], [], [2]]


def test_a_resurrected_mask_never_covers_another_object():
    intruder = box(15, 2, width=4)
    frames = [box(5), intruder, box(13)]  # the lost object would lie at columns 9..18 in frame 1
    tracks = track_instances(frames, [uniform_flow(4)] * 2, TrackingConfig(min_frames=1))
    assert (tracks[1][intruder > 0] != tracks[0].max()).all()
    assert (tracks[1][6:14, 9:15] == 1).all()
    assert tracks[1][6:14, 19:].max() == 0


def test_occluded_pixels_do_not_count():
    """7 of 10 columns are hidden in frame 1: the IoU is 3/3 over what is seen, 3/10 over everything."""
    first, second = box(5), box(5, width=3)
    seen = np.ones(SHAPE, bool)
    seen[:, 8:15] = False
    flow = uniform_flow(0)
    flow = FlowPair(flow.forward_px, flow.backward_px, seen, flow.visible_backward)
    config = TrackingConfig(min_frames=1)
    assert ids(track_instances([first, second], [flow], config)) == [[1], [1]]
    blind = TrackingConfig(min_frames=1, ignore_occluded=False)
    assert ids(track_instances([first, second], [flow], blind)) == [[1], [2]]


def test_the_matching_is_one_to_one_and_maximal():
    # rows of 10: label 1 covers 0..5, label 2 covers 6..9 in one; 1 covers 0..4, 2 covers 5..9 in the other
    first = np.array([[1] * 6 + [2] * 4], np.int32)
    second = np.array([[8] * 5 + [9] * 5], np.int32)
    assert match_labels(first, second, np.ones((1, 10), bool), 0.4) == {1: 8, 2: 9}  # 5/6 and 4/5


def test_short_tracks_go_and_the_rest_is_renumbered():
    frames = [box(0, 4), box(0, 4) + box(30, 9), box(0, 4)]
    assert ids(drop_short_tracks(frames, 2)) == [[1], [1], [1]]


def test_empty_clips_and_wrong_numbers_of_flows():
    assert track_instances([], []) == []
    assert ids(track_instances([box(3)], [], TrackingConfig(min_frames=1))) == [[1]]
    with pytest.raises(ValueError, match="2 frames need 1 flows"):
        track_instances([box(3), box(4)], [])
