from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from videocups_core.panoptic.merge import Merged
from videocups_core.tracking import AssociationConfig, Tracker, TrackerConfig
from videocups_core.tracking.track import FIRST_THING_SEGMENT, SegmentIds
from videocups_core.types import MAX_SEGMENT_ID, SegmentState

FIRST = 2
IDENTITY = np.eye(12) * 12 - 1


def frame(things: Sequence[tuple[int, int]], class_ids: Sequence[int] | None = None, score: float = 0.9) -> Merged:
    """One thing for each (look, column): a 4×4 square at that column with that look's embedding."""
    count = len(things)
    labels = np.ones((8, 64), np.uint8)
    boxes = np.zeros((count, 4), np.float32)
    for row, (_, column) in enumerate(things):
        labels[2:6, column : column + 4] = FIRST + row
        boxes[row] = (column, 2, column + 4, 6)
    return Merged(
        labels=labels,
        first_thing_label=FIRST,
        source=np.arange(count),
        boxes=boxes,
        scores=np.full(count, score, np.float32),
        class_ids=np.array(class_ids if class_ids is not None else [1] * count, np.int64),
        embeddings=IDENTITY[[look for look, _ in things]].astype(np.float32).reshape(count, 12),
        areas_px=np.array([(labels == FIRST + row).sum() for row in range(count)], np.int64),
    )


def ids(tracker: Tracker, merged: Merged) -> list[int]:
    return [row.track_id for row in tracker.update(merged)[0]]


def test_things_that_swap_places_keep_their_ids() -> None:
    tracker = Tracker()
    assert ids(tracker, frame([(0, 10), (1, 20)])) == [1, 2]
    assert ids(tracker, frame([(1, 10), (0, 20)])) == [2, 1]


def test_without_embeddings_the_overlap_decides() -> None:
    tracker = Tracker(TrackerConfig(association=AssociationConfig(embedding_weight=0)))
    assert ids(tracker, frame([(0, 10), (0, 20)])) == [1, 2]
    assert ids(tracker, frame([(0, 21), (0, 11)])) == [2, 1]


def test_a_coasting_track_is_found_where_its_motion_leads() -> None:
    tracker = Tracker(TrackerConfig(association=AssociationConfig(embedding_weight=0)))
    for column in (4, 6, 8, 10, 12):
        tracker.update(frame([(0, column)]))
    for _ in range(3):
        tracker.update(frame([]))
    velocity = 2 * (1 - 0.5**4)  # exponential mean of four steps of 2 px, from 0
    assert 12 + 4 * velocity == 19.5
    assert ids(tracker, frame([(0, 12), (0, 19)])) == [2, 1]


def test_small_fast_things_are_found_by_proximity() -> None:
    """Two things that jump by more than their size, without a telling embedding."""
    blind = AssociationConfig(embedding_weight=0)
    tracker, masktrack = (
        Tracker(TrackerConfig(association=blind)),
        Tracker(TrackerConfig(association=replace(blind, proximity_weight=0))),
    )
    for step in range(4):
        merged = frame([(0, 5 + 5 * step), (0, 35 + 5 * step)])
        assert ids(tracker, merged) == [1, 2]
        assert ids(masktrack, merged) == [2 * step + 1, 2 * step + 2]


def test_the_predicted_box_follows_the_motion_per_frame() -> None:
    tracker = Tracker(TrackerConfig(association=AssociationConfig(embedding_weight=0)))
    tracker.update(frame([(0, 10)]))
    tracker.update(frame([]))
    tracker.update(frame([(0, 12)]))  # 2 px in 2 frames: half of 1 px a frame is believed at first
    (track,) = tracker._tracks
    assert track.track_id == 1
    np.testing.assert_allclose(track.predicted_box(), [12.5, 2, 16.5, 6])
    tracker.update(frame([]))
    np.testing.assert_allclose(track.predicted_box(), [13, 2, 17, 6])


def test_life_of_a_track_that_disappears() -> None:
    tracker = Tracker(TrackerConfig(coast_frames=2, memory_frames=4))
    tracker.update(frame([(0, 10)]))
    states = []
    for _ in range(5):
        _, absent = tracker.update(frame([]))
        states.append([(row.state, row.age, row.track_id) for row in absent])
    assert states == [
        [(SegmentState.COASTED, 1, 1)],
        [(SegmentState.COASTED, 2, 1)],
        [(SegmentState.LOST, 3, 1)],
        [],
        [],
    ]
    assert len(tracker) == 0


@pytest.mark.parametrize(("gap", "expected"), [(1, 1), (3, 1), (4, 1), (5, 2)])
def test_reborn_within_the_memory_under_the_old_ids(gap: int, expected: int) -> None:
    tracker = Tracker(TrackerConfig(coast_frames=2, memory_frames=4))
    (first,), _ = tracker.update(frame([(0, 10)]))
    for _ in range(gap):
        tracker.update(frame([]))
    (again,), _ = tracker.update(frame([(0, 50)]))
    assert again.track_id == expected
    assert (again.segment_id == first.segment_id) == (expected == 1)
    assert again.state == (SegmentState.TRACKED if expected == 1 else SegmentState.NEW)
    assert again.age == (gap + 1 if expected == 1 else 0)


def test_live_tracks_come_before_the_memory() -> None:
    tracker = Tracker(TrackerConfig(coast_frames=0, memory_frames=9))
    tracker.update(frame([(0, 10)]))  # track 1, soon only remembered
    tracker.update(frame([]))
    tracker.update(frame([(1, 10)]))  # track 2
    # A thing that resembles both, the remembered one more: the live one gets it.
    both = frame([(0, 10)])
    both.embeddings[0] = IDENTITY[0] * 1.1 + IDENTITY[1]
    assert ids(tracker, both) == [2]


def test_the_class_is_voted_by_score() -> None:
    tracker = Tracker(TrackerConfig(association=AssociationConfig(class_weight=0)))
    seen = []
    for class_id, score in [(3, 0.5), (1, 0.9), (3, 0.3), (3, 0.3)]:
        (row,), _ = tracker.update(frame([(0, 10)], [class_id], score))
        seen.append((row.track_id, row.class_id))
    assert seen == [(1, 3), (1, 1), (1, 1), (1, 3)]  # votes 3: .5 .5 .8 1.1, votes 1: 0 .9 .9 .9


def test_reset_bumps_the_epoch_and_never_reuses_ids() -> None:
    tracker = Tracker()
    (before,), _ = tracker.update(frame([(0, 10)]))
    tracker.reset()
    (after,), absent = tracker.update(frame([(0, 10)]))
    assert tracker.epoch == 1
    assert after.track_id == before.track_id + 1
    assert after.segment_id != before.segment_id
    assert after.state is SegmentState.NEW
    assert absent == []


def test_embeddings_of_another_width_are_refused() -> None:
    tracker = Tracker()
    tracker.update(frame([(0, 10)]))
    other = replace(frame([(0, 10)]), embeddings=np.zeros((1, 3), np.float32))
    with pytest.raises(ValueError, match="reset the tracker when the model changes"):
        tracker.update(other)


films = st.lists(
    st.lists(st.tuples(st.integers(0, 11), st.integers(0, 14)), max_size=6, unique_by=lambda thing: thing[1]),
    min_size=1,
    max_size=25,
)


@settings(max_examples=120, deadline=None)
@given(films, st.integers(0, 2), st.integers(0, 4))
def test_ids_are_never_doubled_and_never_come_back(film: list, coast: int, more: int) -> None:
    config = TrackerConfig(coast_frames=coast, memory_frames=coast + more)
    tracker, twin = Tracker(config), Tracker(config)
    last_seen: dict[int, int] = {}
    segment_of: dict[int, int] = {}
    for index, things in enumerate(film):
        merged = frame([(look, 4 * place) for look, place in things])
        result = tracker.update(merged)
        assert result == twin.update(merged)  # deterministic
        rows, absent = result
        everyone = [row.track_id for row in rows] + [row.track_id for row in absent]
        assert len(everyone) == len(set(everyone))
        segments = [row.segment_id for row in rows] + [row.segment_id for row in absent]
        assert len(segments) == len(set(segments))
        for row in rows:
            if row.state is SegmentState.NEW:
                assert row.track_id not in last_seen
                assert row.track_id == max(last_seen, default=0) + 1
            else:
                assert index - last_seen[row.track_id] <= config.memory_frames + 1
            last_seen[row.track_id] = index
            assert segment_of.setdefault(row.track_id, row.segment_id) == row.segment_id
        alive = sum(index - seen <= config.memory_frames for seen in last_seen.values())
        assert len(tracker) == alive


@settings(max_examples=60, deadline=None)
@given(films, st.randoms(use_true_random=False))
def test_the_order_of_detections_only_names_the_newborn(film: list, random: np.random.RandomState) -> None:
    one, other = Tracker(), Tracker()
    name: dict[int, int] = {}
    for things in film:
        # Distinct looks: two equal things would be a tie that no rule can break without an order.
        things = list({look: (look, 4 * place) for look, place in things}.values())
        order = list(range(len(things)))
        random.shuffle(order)
        first = ids(one, frame(things))
        second = ids(other, frame([things[index] for index in order]))
        for position, index in enumerate(order):
            assert name.setdefault(first[index], second[position]) == second[position]
    assert len(set(name.values())) == len(name)


def test_the_table_is_bounded_and_the_longest_unseen_die_first() -> None:
    config = TrackerConfig(coast_frames=0, memory_frames=10_000, max_tracks=255)
    tracker = Tracker(replace(config, association=AssociationConfig(embedding_weight=0)))
    for index in range(300):
        tracker.update(frame([(0, 8 * (index % 2)), (0, 20 + 8 * (index % 2)), (0, 40 + 8 * (index % 2))], [index] * 3))
        assert len(tracker) == min(3 * (index + 1), 255)
    assert tracker.track_ids == tuple(range(900 - 255 + 1, 901))


def test_late_frames_cost_what_early_ones_do() -> None:
    tracker = Tracker(TrackerConfig(coast_frames=1, memory_frames=3))
    sizes = {}
    for index in range(4_000):
        # One thing stays, one flickers, one is new all the time.
        things = [(0, 0), (2 + index % 9, 30)] + ([(1, 10)] if index % 3 else [])
        tracker.update(frame(things, [1 + index % 2, 1 + index % 3, 1][: len(things)]))
        sizes[index] = (
            len(tracker),
            len(tracker._segment_ids._used),
            sum(len(track.votes) for track in tracker._tracks),
        )
    late = {size for index, size in sizes.items() if index >= 3_000}
    early = {size for index, size in sizes.items() if 500 <= index < 1_500}
    assert late == early
    assert tracker.next_track_id > 500


def test_segment_ids_rest_before_they_come_back() -> None:
    pool = SegmentIds()
    kept = pool.take()
    span = MAX_SEGMENT_ID - FIRST_THING_SEGMENT + 1
    taken = []
    for _ in range(span):
        taken.append(pool.take())
        pool.give_back(taken[-1])
    assert kept == FIRST_THING_SEGMENT
    assert taken[: span - 1] == list(range(kept + 1, MAX_SEGMENT_ID + 1))
    assert taken[-1] == kept + 1  # round once, and past the one still in use
