from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from videocups.model.boxes import area, clip, decode, encode, integral, intersection, iou, share_inside


def random_boxes(count, seed=0, size=60.0):
    corner = torch.rand(count, 2, generator=torch.Generator().manual_seed(seed)) * size
    sides = torch.rand(count, 2, generator=torch.Generator().manual_seed(seed + 1)) * size + 1
    return torch.cat([corner, corner + sides], dim=1)


def test_overlap_by_hand():
    first = torch.tensor([[0, 0, 10, 10], [0, 0, 0, 0], [5, 5, 3, 9]]).float()
    second = torch.tensor([[5, 0, 15, 10], [10, 0, 20, 10], [2, 2, 4, 4]]).float()
    assert area(first).tolist() == [100, 0, 0]
    assert intersection(first, second)[0].tolist() == [50, 0, 4]
    assert iou(first, second)[0].tolist() == pytest.approx([50 / 150, 0, 4 / 100])
    assert iou(first, second)[1:].abs().max() == 0, "a box without area overlaps nothing"
    assert iou(first[1:2], first[1:2]).item() == 0


def test_deltas_by_hand():
    box, target = torch.tensor([[10.0, 20, 30, 60]]), torch.tensor([[20.0, 20, 60, 40]])
    # centre (20, 40) → (40, 30), size (20, 40) → (40, 20)
    assert encode(target, box, (1, 1, 1, 1)).tolist()[0] == pytest.approx([1, -0.25, math.log(2), math.log(0.5)])
    assert encode(target, box, (10, 10, 5, 5)).tolist()[0] == pytest.approx(
        [10, -2.5, 5 * math.log(2), -5 * math.log(2)]
    )
    assert decode(torch.tensor([[1, -0.25, math.log(2), -math.log(2)]]), box, (1, 1, 1, 1))[
        0
    ].tolist() == pytest.approx(target[0].tolist())


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), stage=st.integers(1, 3))
def test_round_trip(seed, stage):
    boxes, targets, weights = (
        random_boxes(20, seed),
        random_boxes(20, seed + 7),
        tuple(stage * w for w in (10, 10, 5, 5)),
    )
    assert torch.allclose(decode(encode(targets, boxes, weights), boxes, weights), targets, atol=1e-3)


def test_a_box_cannot_explode():
    grown = decode(torch.tensor([[0, 0, 1e9, 1e9]]), torch.tensor([[0.0, 0, 16, 16]]), (1, 1, 1, 1))
    assert (grown[0, 2:] - grown[0, :2]).tolist() == pytest.approx([1000, 1000], rel=1e-4)


def test_clip():
    boxes = torch.tensor([[-5.0, -6, 300, 40], [500, 500, 600, 600]])
    assert clip(boxes, 100, 200).tolist() == [[0, 0, 200, 40], [200, 100, 200, 100]]


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_share_inside_counts_pixels(seed):
    masks = torch.rand(40, 50, 2, generator=torch.Generator().manual_seed(seed)) > 0.6
    boxes = random_boxes(12, seed) - 15
    found = share_inside(integral(masks), boxes)
    for shares, (x0, y0, x1, y1) in zip(found.tolist(), boxes.tolist(), strict=True):
        inside = masks[max(0, math.floor(y0)) : max(0, math.ceil(y1)), max(0, math.floor(x0)) : max(0, math.ceil(x1))]
        expected = inside.float().mean(dim=(0, 1)).tolist() if inside.numel() else [0, 0]
        assert shares == pytest.approx(expected, abs=1e-6)
