from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from videocups_core.engine.base import RawOutputs
from videocups_core.panoptic.merge import MergeConfig, MergeTable, merge_panoptic
from videocups_core.types import ClassInfo

SIZE = (24, 32)
CLASSES = (
    ClassInfo(0, "road", False, (1, 1, 1)),
    ClassInfo(1, "car", True, (2, 2, 2)),
    ClassInfo(2, "sky", False, (3, 3, 3)),
    ClassInfo(3, "person", True, (4, 4, 4)),
)
TABLE = MergeTable.from_classes(CLASSES)
STUFF_LABEL = {0: 1, 2: 2}


def brute_force(raw: RawOutputs, config: MergeConfig) -> tuple[np.ndarray, list[int]]:
    """The merge pixel by pixel; for full masks only, where pasting is just "centre inside the box"."""
    height, width = SIZE
    owner = {
        (y, x): STUFF_LABEL[int(raw.semantic[y * len(raw.semantic) // height, x * raw.semantic.shape[1] // width])]
        for y in range(height)
        for x in range(width)
    }
    rows = [row for row in range(len(raw.scores)) if raw.scores[row] >= config.score_threshold and raw.scores[row] > 0]
    rows.sort(key=lambda row: (-raw.scores[row], *raw.boxes[row], raw.classes[row]))
    accepted: list[int] = []
    for row in rows:
        if len(accepted) == config.max_detections:
            break
        x0, y0, x1, y1 = raw.boxes[row]
        mine = [(y, x) for y, x in owner if x0 <= x + 0.5 < x1 and y0 <= y + 0.5 < y1]
        free = [place for place in mine if owner[place] <= 2]
        covered = len(mine) - len(free)
        if len(free) < config.min_thing_area_px or covered > config.overlap_threshold * len(mine):
            continue
        accepted.append(row)
        for place in free:
            owner[place] = 2 + len(accepted)
    labels = np.array([[owner[y, x] for x in range(width)] for y in range(height)], np.uint8)
    return labels, accepted


edge = st.integers(-3, 128).map(lambda value: value / 4)


@st.composite
def raw_outputs(draw: st.DrawFn) -> RawOutputs:
    count = draw(st.integers(1, 7))
    boxes = np.zeros((count, 4), np.float32)
    for row in range(count):
        x = sorted([draw(edge), draw(edge)])
        y = sorted([min(draw(edge), 24.5), min(draw(edge), 24.5)])
        boxes[row] = (x[0], y[0], x[1], y[1])
    stride = draw(st.sampled_from([1, 2, 4]))
    return RawOutputs(
        semantic=np.array(draw(st.lists(st.sampled_from([0, 2]), min_size=12, max_size=12)), np.uint8)
        .reshape(3, 4)
        .repeat(8 // stride, 0)
        .repeat(8 // stride, 1),
        masks=np.full((count, 7, 7), 255, np.uint8),
        boxes=boxes,
        scores=np.array(draw(st.lists(st.integers(0, 8), min_size=count, max_size=count)), np.float32) / 8,
        classes=np.array(draw(st.lists(st.sampled_from([1, 3]), min_size=count, max_size=count)), np.int64),
        embeddings=np.arange(count, dtype=np.float32)[:, None],
    )


@settings(max_examples=150, deadline=None)
@given(
    raw_outputs(),
    st.sampled_from([0.0, 0.25, 0.5, 1.0]),
    st.sampled_from([0.0, 0.3, 0.5, 1.0]),
    st.integers(1, 40),
    st.integers(1, 4),
)
def test_agrees_with_brute_force(raw: RawOutputs, score: float, overlap: float, area: int, most: int) -> None:
    config = MergeConfig(score, 0.5, overlap, area, most)
    merged = merge_panoptic(raw, TABLE, config, SIZE)
    labels, accepted = brute_force(raw, config)
    assert merged.source.tolist() == accepted
    np.testing.assert_array_equal(merged.labels, labels)
    assert merged.labels.min() >= 1  # every pixel has an owner
    assert merged.areas_px.tolist() == [int((labels == 3 + rank).sum()) for rank in range(len(accepted))]
    assert (merged.areas_px >= area).all()


@settings(max_examples=60, deadline=None)
@given(raw_outputs(), st.randoms(use_true_random=False))
def test_the_order_of_detections_does_not_matter(raw: RawOutputs, random: np.random.RandomState) -> None:
    order = list(range(len(raw.scores)))
    random.shuffle(order)
    shuffled = RawOutputs(
        raw.semantic, raw.masks[order], raw.boxes[order], raw.scores[order], raw.classes[order], raw.embeddings[order]
    )
    one, other = (merge_panoptic(item, TABLE, MergeConfig(0.2), SIZE) for item in (raw, shuffled))
    np.testing.assert_array_equal(one.labels, other.labels)
    np.testing.assert_array_equal(one.boxes, other.boxes)
    np.testing.assert_array_equal(one.scores, other.scores)


def test_a_mask_keeps_its_shape_when_pasted(make_raw: Callable[..., RawOutputs]) -> None:
    masks = np.zeros((8, 14, 14), np.uint8)
    masks[0, :, :7] = 255  # the left half of the box
    raw = make_raw(np.zeros(SIZE), [((2, 3, 30, 17), 0.9)], masks=masks)
    labels = merge_panoptic(raw, TABLE, MergeConfig(), SIZE).labels
    expected = np.ones(SIZE, np.uint8)
    expected[3:17, 2:16] = 3
    np.testing.assert_array_equal(labels, expected)


def test_the_mask_threshold_is_a_probability(make_raw: Callable[..., RawOutputs]) -> None:
    masks = np.full((8, 14, 14), 153, np.uint8)  # 0.6
    raw = make_raw(np.zeros(SIZE), [((2, 3, 30, 17), 0.9)], masks=masks)
    assert len(merge_panoptic(raw, TABLE, MergeConfig(mask_threshold=0.6), SIZE)) == 1
    assert len(merge_panoptic(raw, TABLE, MergeConfig(mask_threshold=0.61), SIZE)) == 0


def test_padding_is_cut_off_and_counts_as_taken(make_raw: Callable[..., RawOutputs]) -> None:
    """The content is 16 rows of 24 columns: 3/4, 1/9 and nothing of three boxes lie in it."""
    raw = make_raw(np.zeros(SIZE), [((18, 2, 26, 10), 0.9), ((23, 2, 32, 10), 0.8), ((25, 17, 32, 24), 0.7)])
    merged = merge_panoptic(raw, TABLE, MergeConfig(), SIZE, content_hw=(16, 24))
    assert merged.labels.shape == (16, 24)
    assert merged.source.tolist() == [0]
    assert merged.areas_px.tolist() == [6 * 8]
    sliver = make_raw(np.zeros(SIZE), [((23, 2, 32, 10), 0.8)])
    assert len(merge_panoptic(sliver, TABLE, MergeConfig(), SIZE, content_hw=(16, 24))) == 0
    assert len(merge_panoptic(sliver, TABLE, MergeConfig(overlap_threshold=0.9), SIZE, content_hw=(16, 24))) == 1
    assert len(merge_panoptic(sliver, TABLE, MergeConfig(), SIZE)) == 1  # where it is no padding, it is an object


@pytest.mark.parametrize("field", ["scores", "boxes", "embeddings"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_broken_network_is_said_not_hidden(make_raw: Callable[..., RawOutputs], field: str, value: float) -> None:
    raw = make_raw(np.zeros(SIZE), [((2, 3, 30, 17), 0.9)])
    getattr(raw, field)[3] = value
    with pytest.raises(ValueError, match="NaN or infinite"):
        merge_panoptic(raw, TABLE, MergeConfig(), SIZE)


@pytest.mark.parametrize("score", [-0.1, 1.01])
def test_scores_are_probabilities(make_raw: Callable[..., RawOutputs], score: float) -> None:
    with pytest.raises(ValueError, match=r"they must be in 0\.\.1"):
        merge_panoptic(make_raw(np.zeros(SIZE), [((1, 1, 9, 9), score)]), TABLE, MergeConfig(), SIZE)


def test_a_class_of_the_wrong_kind_is_refused(make_raw: Callable[..., RawOutputs]) -> None:
    with pytest.raises(ValueError, match="'semantic' holds class 1"):
        merge_panoptic(make_raw(np.ones(SIZE), []), TABLE, MergeConfig(), SIZE)
    with pytest.raises(ValueError, match="detected class 2"):
        merge_panoptic(make_raw(np.zeros(SIZE), [((1, 1, 9, 9), 0.9)], class_id=2), TABLE, MergeConfig(), SIZE)


def test_a_box_outside_of_the_input_is_refused(make_raw: Callable[..., RawOutputs]) -> None:
    with pytest.raises(ValueError, match="box outside"):
        merge_panoptic(make_raw(np.zeros(SIZE), [((1, 1, 1e9, 9), 0.9)]), TABLE, MergeConfig(), SIZE)


def test_a_frame_without_things_is_all_stuff(make_raw: Callable[..., RawOutputs]) -> None:
    merged = merge_panoptic(make_raw(np.full(SIZE, 2), []), TABLE, MergeConfig(score_threshold=0), SIZE)
    assert (merged.labels == 2).all()
    assert len(merged) == 0
    assert merged.embeddings.shape == (0, 4)
