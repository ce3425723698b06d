from __future__ import annotations

import numpy as np
import pytest

from videocups.fusion.alignment import ClassCounts
from videocups.fusion.instance_classes import InstanceClassConfig, TrackDescription
from videocups.fusion.likeness import likeness
from videocups.fusion.panoptic_clip import class_table, panoptic_frames
from videocups.fusion.split import SplitConfig
from videocups.fusion.things import ClipTracks, ThingsConfig, find_things

WALL, ROAD, PAINT, GLASS = range(4)


def one_by_one(votes, inside, everywhere, prior):
    """The same figure for one track after another, in plain sums."""
    found = []
    for own in votes:
        rest_in = [i - v for i, v in zip(inside, own, strict=True)]
        rest_all = [a - v for a, v in zip(everywhere, own, strict=True)]
        chance = sum(rest_in) / sum(rest_all)
        weight = prior * sum(rest_all) / len(own)
        shares = [(i + weight * chance) / (a + weight) for i, a in zip(rest_in, rest_all, strict=True)]
        found.append(sum(v * s for v, s in zip(own, shares, strict=True)) / sum(own) / chance)
    return found


def test_likeness_leaves_each_track_out_of_its_own_judgement():
    votes = np.array([[0, 10, 300, 90], [0, 0, 250, 40], [0, 500, 0, 0], [800, 0, 0, 0]])
    everywhere = np.array([90_000, 60_000, 900, 400])
    found = likeness(votes, votes.sum(axis=0), everywhere, 0.3)
    np.testing.assert_allclose(found, one_by_one(votes.tolist(), votes.sum(axis=0), everywhere, 0.3), rtol=1e-9)
    assert (found[:2] > 1.5).all()
    assert (found[2:] < 0.8).all()


def test_a_single_track_is_not_judged():
    votes = np.array([[0, 50, 0]])
    assert likeness(votes, votes[0], np.array([100, 100, 100]), 0.3).tolist() == [1.0]
    assert likeness(np.zeros((0, 3), np.int64), np.zeros(3), np.full(3, 9), 0.3).shape == (0,)


def clip_of(seed, *, with_wall):
    """Cars (wide, of paint and glass), people (tall), and a segment of wall that an error of flow made."""
    rng = np.random.default_rng(seed)
    kinds = {"car": ([0, 20, 400, 80], [1.0, 0.0]), "person": ([0, 10, 40, 60], [-1.0, 3.0])}
    rows = [kinds["car"], kinds["car"], kinds["person"], kinds["person"]]
    rows += [([900, 0, 0, 0], [9.0, 9.0])] * with_wall
    ids = np.arange(1, len(rows) + 1)
    described = {
        int(track): TrackDescription((np.repeat(shape, 4) + rng.normal(0, 0.05, 8)).astype(np.float32), 4)
        for track, (_, shape) in zip(ids, rows, strict=True)
    }
    return ClipTracks(ids, np.array([votes for votes, _ in rows]), described)


def find(clips, **changes):
    config = ThingsConfig(instances=InstanceClassConfig(classes=2), **changes)
    inside = sum(clip.votes.sum(axis=0) for clip in clips)
    everywhere = inside + np.array([400_000, 300_000, 2_000, 900])
    return find_things(clips, ClassCounts(inside, everywhere), SplitConfig(), config), config


def test_tracks_become_things_by_their_looks_and_walls_do_not():
    clips = [clip_of(seed, with_wall=seed == 0) for seed in range(4)]
    things, config = find(clips)
    assert things.split.is_thing.tolist() == [False, False, True, True]
    assert (things.stuff, things.things) == (2, 2)
    classes, dropped = things.classes_of(clips[0], config)
    assert dropped == {5}
    assert classes.keys() == {1, 2, 3, 4}
    assert classes[1] == classes[2] != classes[3] == classes[4]
    assert set(classes.values()) == {2, 3}
    # walls and roads keep their order, paint belongs to the cars, in which most of its pixels are
    assert things.class_of_pixel_class[[WALL, ROAD]].tolist() == [0, 1]
    assert things.class_of_pixel_class[PAINT] == classes[1]
    kept_all, config = find(clips, min_likeness=0.0)
    assert kept_all.classes_of(clips[0], config)[1] == frozenset()


def test_few_tracks_make_few_classes_and_none_makes_stuff_alone():
    alone = ClipTracks(np.array([1]), np.array([[0, 0, 90, 10]]), {1: TrackDescription(np.ones(8, np.float32), 3)})
    things, config = find([alone])
    assert (things.things, things.classes_of(alone, config)) == (1, ({1: things.stuff}, frozenset()))
    empty = ClipTracks(np.zeros(0, np.int64), np.zeros((0, 4), np.int64))
    nothing, config = find([empty])
    assert (nothing.stuff, nothing.things, nothing.clusters) == (4, 0, None)
    assert nothing.class_of_pixel_class.tolist() == [0, 1, 2, 3]
    assert nothing.classes_of(empty, config) == ({}, frozenset())


@pytest.mark.parametrize("below", [0, 2])
def test_a_track_that_is_no_thing_is_ignored_whatever_lies_below(below):
    classes, tracks = np.full((6, 9), below, np.uint8), np.zeros((6, 9), np.int32)
    classes[:2] = 0
    tracks[3:5, 2:6] = 7
    table = class_table([False, False], 1)
    (frame,) = panoptic_frames([classes], [tracks], table, [0], no_things=frozenset({7}))
    assert not any(row.track_id for row in frame.segments)
    ignored = [row.segment_id for row in frame.segments if row.ignore]
    assert np.isin(frame.segment_ids[3:5, 2:6], ignored).all()
