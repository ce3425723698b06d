from __future__ import annotations

import numpy as np
import pytest

from videocups.fusion.instance_classes import (
    InstanceClassConfig,
    classify_tracks,
    describe_segments,
    describe_tracks,
    find_instance_classes,
)
from videocups.fusion.panoptic_clip import PanopticConfig, class_table, panoptic_frames, write_panoptic_clip
from videocups_core.panoptic.storage import PanopticClip

SHAPE = (40, 60)


def scene(t):
    """Sky 0, ground 1, a moving thing of class 2, parked pixels of class 2, a moving patch that is ground."""
    classes, tracks = np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.int32)
    classes[20:] = 1
    classes[22:30, 5 + t : 15 + t], tracks[22:30, 5 + t : 15 + t] = 2, 1
    classes[24:28, 40:50] = 2
    tracks[32:36, 30 + t : 40 + t] = 2
    return classes, tracks


def build(config=None, frames=3):
    maps = [scene(t) for t in range(frames)]
    table = class_table([False, False, True])
    classes, tracks = zip(*maps, strict=True)
    return list(panoptic_frames(classes, tracks, table, [100 * t for t in range(frames)], config)), table


def test_ignored_regions_are_neither_void_nor_plain():
    (first, *_, last), _ = build()
    assert (last.segment_ids > 0).all()
    rows = {(row.class_id, row.ignore): row for row in last.segments}
    assert set(rows) == {(0, False), (1, False), (2, False), (1, True), (2, True)}
    thing = rows[2, False]
    assert (thing.track_id, thing.is_thing, thing.area_px, thing.age) == (1, True, 80, 2)
    assert first.segment(thing.segment_id).age == 0
    parked, unsure = rows[2, True], rows[1, True]
    assert (parked.track_id, parked.area_px, parked.is_thing) == (0, 40, True)
    assert (unsure.track_id, unsure.area_px, unsure.is_thing) == (0, 40, False)
    assert unsure.bbox_xywh == (32, 32, 10, 4)
    assert rows[1, False].area_px == 20 * 60 - 80 - 40 - 40
    assert (last.class_map() == scene(2)[0]).all()


def test_stuff_instances_may_stay_plain_stuff():
    (frame, *_), _ = build(PanopticConfig(ignore_stuff_instances=False))
    assert {(row.class_id, row.ignore) for row in frame.segments} == {(0, False), (1, False), (2, False), (2, True)}


def test_the_clip_on_disk_is_the_clip(tmp_path):
    frames, table = build()
    assert write_panoptic_clip(tmp_path, frames, table) == 3
    clip = PanopticClip(tmp_path)
    assert clip.classes == table
    assert clip.stamps_ns == (0, 100, 200)
    for written, read in zip(frames, clip, strict=True):
        np.testing.assert_array_equal(written.segment_ids, read.segment_ids)
        assert written.segments == read.segments


def test_segments_are_described_by_shape_and_pooled_features():
    track_map = np.zeros((100, 200), np.int32)
    track_map[60:80, 40:80] = 3
    features = np.zeros((25, 50, 2), np.float32)
    features[15:20, 10:20] = [5, -1]
    vector = describe_segments(track_map, features)[3]
    below = 0.3
    wanted = [np.log(0.08), np.log(2), 1.0, 0.8, 0.7, np.log(0.08) - 2 * np.log(below), 5, -1]
    np.testing.assert_allclose(vector, wanted, rtol=1e-4)


def test_instances_are_told_apart_by_shape_not_by_paint():
    rng = np.random.default_rng(1)
    clips = []
    for _ in range(4):
        maps = []
        boxes = [(60, 5, 12, 26), (60, 50, 12, 26), (50, 100, 26, 9), (50, 130, 26, 9)]
        for t in range(3):
            track_map = np.zeros((100, 160), np.int32)
            for n, (top, left, height, width) in enumerate(boxes):
                track_map[top : top + height + int(rng.integers(3)), left + t : left + t + width] = n + 1
            maps.append(track_map)
        paint = rng.normal(0, 1, (5, 3)).astype(np.float32)  # every object has its own colour
        features = [paint[frame[::4, ::4]] for frame in maps]
        clips.append(describe_tracks(maps, features))
    config = InstanceClassConfig(classes=2)
    clusters = find_instance_classes(clips, config)
    for described in clips:
        labels = classify_tracks(described, clusters, first_class=27)
        assert set(labels.values()) == {27, 28}
        assert labels[1] == labels[2] != labels[3] == labels[4]
    assert classify_tracks({}, clusters, 27) == {}


def test_one_class_takes_all_and_too_few_tracks_are_named():
    track_map = np.zeros((40, 40), np.int32)
    track_map[20:30, 5:15] = 1
    clip = describe_tracks([track_map] * 2, [np.zeros((10, 10, 2), np.float32)] * 2)
    clusters = find_instance_classes([clip], InstanceClassConfig(classes=1))
    assert classify_tracks(clip, clusters, 5) == {1: 5}
    with pytest.raises(ValueError, match="or label more recordings"):
        find_instance_classes([clip], InstanceClassConfig(classes=2))
