"""Matching pseudo-classes with true ones, and the table that comes out."""

from __future__ import annotations

import json
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from videocups.evaluate import ClassMapping, OverlapAccumulator, count_pairs, match_classes, stq

VOID = 255


def test_overlap_is_counted_over_everything_but_void(frame_of):
    counts = OverlapAccumulator(num_pseudo=4, num_classes=4)
    counts.update("a", frame_of("r r s . c1", "r s s s ."))
    counts.update("b", frame_of("r p1", "r c1"))
    expected = np.zeros((4, 4), dtype=np.int64)
    expected[0, 0], expected[0, 1], expected[1, 1], expected[3, 2] = 2, 1, 1, 1
    np.testing.assert_array_equal(counts.pixels, expected)


def test_overlaps_merge_and_refuse_strangers(frame_of):
    frame = frame_of("r c1", "r c1")
    first, second = OverlapAccumulator(4, 4), OverlapAccumulator(4, 4)
    first.update("a", frame)
    second.update("b", frame)
    first.merge(second)
    assert first.pixels.sum() == 4
    with pytest.raises(ValueError, match="cannot merge overlaps"):
        first.merge(OverlapAccumulator(5, 4))
    with pytest.raises(ValueError, match="b: pseudo-class 2 on true class 2 is outside 2 pseudo-classes × 4 classes"):
        OverlapAccumulator(2, 4).update("b", frame)


def test_hungarian_beats_greedy():
    # Greedy would give 0 -> 0 (10) and leave 1 -> 1 (0); the best sum is 9 + 8.
    mapping = match_classes([[10, 9], [8, 0]], pseudo_things=[], things=[])
    assert mapping.targets == (1, 0)
    assert mapping.methods == ("hungarian", "hungarian")


def test_things_stay_things_whatever_they_cover():
    # Pseudo-class 1 is a thing and lies on road only; the only true thing is class 1.
    mapping = match_classes([[50, 0], [900, 1]], pseudo_things=[1], things=[1])
    assert mapping.targets == (0, 1)


def test_left_over_pseudo_classes_go_to_the_highest_raw_overlap():
    # 0 -> 0 and 1 -> 1 (100 + 90); class 2 lies more on 0 (60) than on 1 (55) although both are taken.
    mapping = match_classes([[100, 5], [80, 90], [60, 55]], pseudo_things=[], things=[])
    assert mapping.targets == (0, 1, 0)
    assert mapping.methods == ("hungarian", "hungarian", "overlap")
    assert mapping.unmatched_classes == ()


def test_fewer_pseudo_classes_than_classes_are_reported():
    mapping = match_classes([[5, 50, 0, 0]], pseudo_things=[], things=[3], class_names=["road", "sky", "wall", "car"])
    assert mapping.targets == (1,)
    assert mapping.pseudo_names == ("sky",)
    assert mapping.unmatched_classes == (0, 2, 3)


def test_no_overlap_is_defined_and_reported():
    # Row 1 shares nothing but is paired with the free class; row 2 is left over with nothing: the lowest class.
    mapping = match_classes([[7, 0], [0, 0], [0, 0]], pseudo_things=[], things=[])
    assert mapping.targets == (0, 1, 0)
    assert mapping.methods == ("hungarian", "hungarian", "overlap")
    assert mapping.without_overlap == (1, 2)


def test_a_kind_without_true_classes_becomes_void():
    mapping = match_classes([[7, 3], [5, 4]], pseudo_things=[0], things=[])
    assert mapping.targets == (VOID, 0)
    assert mapping.methods == ("none", "hungarian")
    assert mapping.pseudo_names[0] == "void"


def test_void_inside_the_range_is_matched_with_nothing():
    mapping = match_classes([[90, 5, 6], [80, 7, 1], [70, 1, 9]], pseudo_things=[2], things=[2], void=0)
    assert mapping.targets == (0, 1, 2)
    assert mapping.methods == ("none", "hungarian", "hungarian")


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_the_matching_is_the_best_of_all(data):
    """Brute force over all one-to-one assignments within things and within stuff."""
    pseudo, classes = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 5))
    overlap = data.draw(hnp.arrays(np.int64, (pseudo, classes), elements=st.integers(0, 9)))
    pseudo_things = data.draw(st.sets(st.integers(0, pseudo - 1)))
    things = data.draw(st.sets(st.integers(0, classes - 1)))
    mapping = match_classes(overlap, pseudo_things=pseudo_things, things=things)
    for kind in (True, False):
        rows = [p for p in range(pseudo) if (p in pseudo_things) == kind]
        columns = [c for c in range(classes) if (c in things) == kind]
        matched = [p for p in rows if mapping.methods[p] == "hungarian"]
        assert len(matched) == min(len(rows), len(columns)) == len({mapping.targets[p] for p in matched})
        assert sum(overlap[p, mapping.targets[p]] for p in matched) == best_sum(overlap, rows, columns)
        for p in set(rows) - set(matched):
            if columns:
                assert mapping.targets[p] == max(columns, key=lambda c, p=p: (overlap[p, c], -c))
            else:
                assert mapping.targets[p] == VOID


def best_sum(overlap, rows, columns):
    few, many, table = (rows, columns, overlap) if len(rows) <= len(columns) else (columns, rows, overlap.T)
    return max(sum(table[a, b] for a, b in zip(few, chosen, strict=True)) for chosen in permutations(many, len(few)))


@pytest.fixture
def mapping():
    return match_classes(
        [[9, 1, 0], [2, 8, 0], [0, 3, 7], [0, 0, 2]],
        pseudo_things=[2, 3],
        things=[2],
        class_names=["road", "sky", "car"],
    )


def test_apply_maps_pixels_and_keeps_void(mapping):
    pseudo = np.array([[0, 1, 2], [3, 255, 0]])
    mapped = mapping.apply(pseudo)
    np.testing.assert_array_equal(mapped, [[0, 1, 2], [2, 255, 0]])
    assert mapped.dtype == np.uint8
    assert mapping.apply(np.zeros((0, 4), dtype=np.uint8)).shape == (0, 4)


@pytest.mark.parametrize("bad", [4, 254, 256, 70_000, -1])
def test_apply_refuses_strangers(mapping, bad):
    with pytest.raises(ValueError, match=rf"pseudo-classes \[{bad}\] are not in this mapping of 4"):
        mapping.apply(np.array([[0, bad]]))


def test_mapping_pairs_is_mapping_the_map_first(mapping):
    rng = np.random.default_rng(2)
    pred_class = rng.choice([0, 1, 2, 3, 255], (20, 30))
    others = [rng.integers(0, 3, (20, 30)) for _ in range(3)]
    expected = count_pairs((mapping.apply(pred_class), *others))
    assert mapping.apply_pairs(count_pairs((pred_class, *others))) == expected
    with pytest.raises(ValueError, match="no pseudo-class 7"):
        mapping.apply_pairs({(7, 0, 0, 0): 1})


def test_many_pseudo_classes_need_another_void():
    overlap = np.eye(300, 3, dtype=np.int64)
    mapping = match_classes(overlap, pseudo_things=[], things=[], void=65535)
    mapped = mapping.apply(np.array([[0, 299, 65535]], dtype=np.uint16))
    np.testing.assert_array_equal(mapped, [[0, 0, 65535]])


def test_save_and_load(mapping, tmp_path):
    mapping.save(tmp_path / "mapping.json")
    loaded = ClassMapping.load(tmp_path / "mapping.json")
    assert loaded == mapping
    assert loaded.fingerprint == mapping.fingerprint
    assert [p.name for p in tmp_path.iterdir()] == ["mapping.json"]


def test_fingerprints_tell_tables_apart(mapping):
    others = [
        mapping.with_name(0, "asphalt"),
        mapping.with_target(0, 1),
        ClassMapping.identity(things=[2], num_classes=3),
    ]
    assert len({m.fingerprint for m in [mapping, *others]}) == 4


def test_a_tampered_or_foreign_file_is_refused(mapping, tmp_path):
    path = tmp_path / "mapping.json"
    mapping.save(path)
    document = json.loads(path.read_text())
    for change, words in (
        ({"targets": [1, 0, 2, 2]}, "was changed after it was written"),
        ({"format": "something"}, "is no class mapping"),
        ({"colour": 1}, r"keys \['colour'\] are missing or unknown"),
        ({"targets": [2, 0, 2, 2]}, "things stay things"),
    ):
        path.write_text(json.dumps({**document, **change}))
        with pytest.raises(ValueError, match=words):
            ClassMapping.load(path)


def test_editing_keeps_kinds(mapping):
    renamed = mapping.with_name(3, "delivery robot")
    assert renamed.pseudo_names == ("road", "sky", "car", "delivery robot")
    assert renamed.targets == mapping.targets
    moved = mapping.with_target(1, 0)
    assert (moved.targets, moved.methods[1], moved.pseudo_names[1]) == ((0, 0, 2, 2), "manual", "road")
    assert mapping.with_target(3, VOID).targets[3] == VOID
    for call, words in (
        (lambda: mapping.with_target(1, 2), "pseudo-class 1 is stuff but class 2 is a thing"),
        (lambda: mapping.with_target(3, 0), "pseudo-class 3 is a thing but class 0 is stuff"),
        (lambda: mapping.with_target(4, 0), "no pseudo-class 4"),
        (lambda: mapping.with_target(0, 3), r"must be in 0\.\.2, got 3"),
        (lambda: mapping.with_name(0, " "), "needs a name"),
    ):
        with pytest.raises(ValueError, match=words):
            call()


def test_identity_changes_nothing():
    identity = ClassMapping.identity(things=[1], num_classes=2, class_names=["road", "car"])
    pseudo = np.array([[0, 1, 255]], dtype=np.uint8)
    np.testing.assert_array_equal(identity.apply(pseudo), pseudo)
    assert identity.methods == ("identity", "identity")
    assert identity.without_overlap == ()
    assert identity.unmatched_classes == ()


def test_a_permuted_prediction_scores_as_before(frame_of):
    """Unsupervised classes carry arbitrary numbers; after the matching the score is that of the named ones."""
    frames = [frame_of("r r s c1 c1 p2", "r s s c1 c1 p2"), frame_of("r s s c1 r p2", "r s s c1 c1 p2")]
    order = np.array([3, 2, 0, 1])  # road -> 3, sky -> 2, car -> 0, person -> 1
    permuted = [(order[pc], pid, tc, tid) for pc, pid, tc, tid in frames]
    overlap = OverlapAccumulator(4, 4)
    for frame in permuted:
        overlap.update("v", frame)
    mapping = match_classes(overlap.pixels, pseudo_things=[0, 1], things=[2, 3])
    named = [(mapping.apply(pc), pid, tc, tid) for pc, pid, tc, tid in permuted]
    assert stq(named, things=(2, 3), num_classes=4).stq == stq(frames, things=(2, 3), num_classes=4).stq
