from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from videocups_core.tracking.association import AssociationConfig, Candidates, associate
from videocups_core.tracking.overlap import box_overlap, iou_from_overlaps, label_overlaps_px


def gain(candidates: Candidates, config: AssociationConfig, row: int, column: int) -> float:
    """MaskTrack's score of one pair and the proximity, column −1 = new, straight from the formula."""
    exponentials = [1.0, *np.exp(candidates.similarity[row])]
    p = exponentials[column + 1] / sum(exponentials)
    if column < 0:
        return config.embedding_weight * np.log(p) + config.class_weight
    return (
        config.embedding_weight * np.log(p)
        + config.score_weight * np.log(candidates.scores[row])
        + config.iou_weight * candidates.iou[row, column]
        + config.class_weight * candidates.same_class[row, column]
        + config.proximity_weight * candidates.proximity[row, column]
    )


@st.composite
def problems(draw: st.DrawFn) -> Candidates:
    count, tracks = draw(st.integers(0, 4)), draw(st.integers(0, 4))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    return Candidates(
        similarity=rng.normal(0, 4, (count, tracks)),
        iou=rng.choice([0.0, 0.3, 1.0], (count, tracks)),
        proximity=rng.choice([0.0, 0.5, 1.0], (count, tracks)),
        same_class=rng.random((count, tracks)) < 0.7,
        scores=rng.uniform(0.3, 1, count),
    )


weights = st.sampled_from([0.0, 1.0, 2.0, 10.0])


@settings(max_examples=150, deadline=None)
@given(problems(), st.builds(AssociationConfig, weights, weights, weights, weights, weights))
def test_is_the_best_of_all_assignments(candidates: Candidates, config: AssociationConfig) -> None:
    count, tracks = candidates.similarity.shape
    result = associate(candidates, config)
    claimed = [column for column in result.tolist() if column >= 0]
    assert len(claimed) == len(set(claimed))
    total = sum(gain(candidates, config, row, column) for row, column in enumerate(result))
    best = max(
        sum(gain(candidates, config, row, column) for row, column in enumerate(choice))
        for choice in itertools.product(range(-1, tracks), repeat=count)
        if len({column for column in choice if column >= 0}) == sum(column >= 0 for column in choice)
    )
    assert total == pytest.approx(best, abs=1e-9)


def test_the_better_detection_wins_a_contest_for_one_track() -> None:
    same = np.ones((2, 1))
    candidates = Candidates(5 * same, 0.5 * same, 0 * same, same.astype(bool), np.array([0.6, 0.9]))
    assert associate(candidates, AssociationConfig()).tolist() == [-1, 0]
    assert associate(candidates, AssociationConfig(score_weight=0)).tolist().count(0) == 1


def test_the_class_weight_decides_whether_a_class_may_change() -> None:
    candidates = Candidates(
        np.array([[4.0]]), np.array([[0.8]]), np.array([[0.9]]), np.array([[False]]), np.array([0.9])
    )
    assert associate(candidates, AssociationConfig(class_weight=10)).tolist() == [-1]
    assert associate(candidates, AssociationConfig(class_weight=0)).tolist() == [0]


def test_large_embeddings_do_not_overflow() -> None:
    candidates = Candidates(
        np.array([[9e3, -9e3], [-9e3, 9e3]]),
        np.zeros((2, 2)),
        np.zeros((2, 2)),
        np.ones((2, 2), bool),
        np.array([0.9, 0.9]),
    )
    assert associate(candidates, AssociationConfig()).tolist() == [0, 1]


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
def test_weights_are_checked(value: float) -> None:
    with pytest.raises(ValueError, match=r"association\.iou_weight"):
        AssociationConfig(iou_weight=value)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 5), st.integers(1, 5))
def test_overlaps_agree_with_mask_products(seed: int, count: int, previous_count: int) -> None:
    rng = np.random.default_rng(seed)
    first = 4
    labels = rng.integers(1, first + count, (9, 13)).astype(np.uint8)
    previous = rng.integers(1, first + previous_count, (9, 13)).astype(np.uint8)
    shared = label_overlaps_px(labels, previous, first, count, previous_count)
    masks = [labels == first + row for row in range(count)]
    others = [previous == first + row for row in range(previous_count)]
    assert shared.tolist() == [[int((mask & other).sum()) for other in others] for mask in masks]
    iou = iou_from_overlaps(
        shared, np.array([mask.sum() for mask in masks]), np.array([other.sum() for other in others])
    )
    expected = [[(m & o).sum() / (m | o).sum() if (m | o).any() else 0 for o in others] for m in masks]
    np.testing.assert_allclose(iou, expected)


def test_box_overlap_by_hand() -> None:
    boxes = np.array([[0, 0, 4, 2], [1, 1, 1, 1]], float)
    others = np.array([[2, 0, 6, 2], [8, 0, 10, 2], [0, 0, 4, 2], [1, 1, 1, 1]], float)
    iou, proximity = box_overlap(boxes, others)
    np.testing.assert_allclose(iou, [[4 / 12, 0, 1, 0], [0, 0, 0, 0]])
    # (iou + union / hull) / 2: the hull of the first pair is filled, that of the second is 20 px with 12 in use.
    np.testing.assert_allclose(proximity[0, :3], [(4 / 12 + 1) / 2, 12 / 20 / 2, 1])


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32))
def test_box_overlap_is_symmetric_bounded_and_falls_with_distance(seed: int) -> None:
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, 50, (6, 2))
    boxes = np.hstack([corner, corner + rng.uniform(0.5, 20, (6, 2))])
    iou, proximity = box_overlap(boxes, boxes)
    for values in (iou, proximity):
        np.testing.assert_allclose(values, values.T)
        np.testing.assert_allclose(np.diag(values), 1)
        assert values.min() >= 0
        assert values.max() <= 1 + 1e-12
    far = [box_overlap(boxes[:1], boxes[:1] + shift)[1][0, 0] for shift in (60, 90, 200)]
    assert far[0] > far[1] > far[2] > 0
