"""Small rules that decide numbers: averages over scored classes, stuff without ids, matching with present classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from videocups.evaluate.choose_mapping import PredictedClasses, match
from videocups.evaluate.counting import agreement, read_scratch, without_stuff_ids
from videocups.evaluate.datasets import TableDataset, open_dataset, resize_nearest
from videocups.evaluate.run import default_workers


def test_stuff_is_one_segment_a_class() -> None:
    pairs = {(3, 1, 0, 0): 5, (3, 2, 0, 0): 6, (3, 2, 1, 9): 7, (4, 2, 0, 0): 8}
    assert without_stuff_ids(pairs, frozenset({4})) == {(3, 0, 0, 0): 11, (3, 0, 1, 9): 7, (4, 2, 0, 0): 8}


def test_agreement_leaves_void_out() -> None:
    assert agreement({(1, 0, 1, 0): 3, (2, 0, 1, 0): 1, (2, 0, 255, 0): 90}, 255) == 0.75
    assert np.isnan(agreement({(2, 0, 255, 0): 90}, 255))


def test_scratch_round_trip_keeps_64_bit_ids(tmp_path: Path) -> None:
    from videocups.evaluate.counting import _to_array

    tables = [{(1, 2**63 + 5, 3, 4): 7}, {}, {(255, 0, 255, 0): 9, (0, 1, 0, 0): 2}]
    with (tmp_path / "x.npy").open("wb") as file:
        for table in tables:
            np.save(file, _to_array(table), allow_pickle=False)
    assert list(read_scratch(tmp_path / "x.npy")) == tables


def test_nearest_takes_the_pixel_under_the_centre() -> None:
    assert resize_nearest(np.array([[1, 2, 3, 4]]), (1, 2)).tolist() == [[2, 4]]
    assert resize_nearest(np.array([[1, 2]]), (2, 4)).tolist() == [[1, 1, 2, 2], [1, 1, 2, 2]]
    wide = np.array([[2**40, 7]], dtype=np.uint64)
    assert resize_nearest(wide, (1, 4)).tolist() == [[2**40, 2**40, 7, 7]]


@pytest.mark.parametrize(("sequences", "frames", "most"), [(1, 10_000, 1), (50, 59, 1), (50, 120, 2), (3, 10**6, 3)])
def test_workers_are_started_only_where_they_pay(sequences: int, frames: int, most: int) -> None:
    assert 1 <= default_workers(sequences, frames) <= most


@pytest.fixture
def waymo(tmp_path: Path) -> TableDataset:
    import cv2

    folder = tmp_path / "validation" / "one"
    folder.mkdir(parents=True)
    for kind in ("semantic", "instance"):
        assert cv2.imwrite(str(folder / f"0_{kind}.png"), np.zeros((1, 1), np.uint16))
    return open_dataset("waymo-vps", tmp_path)


def test_classes_without_truth_take_no_part_in_the_matching(waymo: TableDataset) -> None:
    """Three pseudo-stuff classes on two true ones: the third goes by overlap, not to some absent class."""
    overlap = np.zeros((4, 19), np.int64)
    overlap[0, 0], overlap[1, 10], overlap[2, 0], overlap[2, 10] = 90, 80, 7, 3
    predicted = PredictedClasses(3, frozenset({0, 1, 2}), frozenset(), {})
    mapping = match(waymo, predicted, overlap)
    assert mapping.targets == (0, 10, 0)
    assert mapping.methods == ("hungarian", "hungarian", "overlap")
    assert mapping.class_names[10] == "sky"


def test_a_class_seen_only_by_predicted_void_still_counts_as_present(waymo: TableDataset) -> None:
    overlap = np.zeros((2, 19), np.int64)
    overlap[1, 10] = 5  # the last row is void
    mapping = match(waymo, PredictedClasses(1, frozenset({0}), frozenset(), {}), overlap)
    assert mapping.targets == (10,)
