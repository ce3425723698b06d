from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torchvision.ops import nms

from videocups.model.pooling import pool_boxes
from videocups.model.static_ops import FeatureTable, keep_best


def random_boxes(count: int, spread_px: float, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    center = torch.randn(count, 2, generator=generator) * spread_px + 200
    size = torch.exp(torch.randn(count, 2, generator=generator) * 0.5 + 3)
    return torch.cat([center - size / 2, center + size / 2], dim=1)


def native(boxes: Tensor, threshold: float) -> Tensor:
    kept = torch.zeros(len(boxes))
    kept[nms(boxes, torch.linspace(1, 0, len(boxes)), threshold)] = 1
    return kept


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.65, 0.9])
@pytest.mark.parametrize(("count", "spread_px"), [(1, 10), (7, 5), (300, 12), (1300, 30), (1300, 300)])
def test_suppression_is_torchvisions(count: int, spread_px: float, threshold: float) -> None:
    boxes = random_boxes(count, spread_px, seed=count)
    kept = keep_best(boxes[None], threshold)[0]
    assert torch.equal(kept, native(boxes, threshold))


def test_groups_do_not_see_each_other() -> None:
    groups = torch.stack([random_boxes(400, 15, seed) for seed in (1, 2)])
    kept = keep_best(groups, 0.5, block=64)
    assert torch.equal(kept, torch.stack([native(boxes, 0.5) for boxes in groups]))


def test_boxes_without_area_neither_drop_nor_are_dropped() -> None:
    boxes = torch.tensor([[5.0, 5, 5, 5], [5, 5, 5, 5], [0, 0, 10, 10], [5, 0, 5, 10], [0, 0, 10, 9.9]])
    assert keep_best(boxes[None], 0.5)[0].tolist() == [1, 1, 1, 1, 0]


@pytest.mark.parametrize(("rounds", "exact"), [(12, 12), (24, 24)])
def test_a_chain_is_settled_as_far_as_there_are_rounds(rounds: int, exact: int) -> None:
    """Boxes of which each overlaps the next alone are the worst case; greedy suppression keeps every second."""
    left = torch.arange(40) * 6.0  # a step of 6 px of 16: IoU 10 / 22 with the next, 4 / 28 with the one after
    boxes = torch.stack([left, left * 0, left + 16, left * 0 + 16], dim=1)
    kept = keep_best(boxes[None], 0.4, rounds=rounds)[0]
    assert torch.equal(kept[:exact], native(boxes, 0.4)[:exact])
    assert not torch.equal(kept, native(boxes, 0.4))
    blocks = keep_best(boxes[None], 0.4, block=10, rounds=10)[0]  # blocks no longer than the rounds are always exact
    assert torch.equal(blocks, native(boxes, 0.4))


@pytest.mark.parametrize(("size", "samples"), [(7, 2), (14, 2), (5, 3), (7, 1)])
def test_pooling_is_torchvisions(size: int, samples: int) -> None:
    generator = torch.Generator().manual_seed(0)
    features = {
        f"p{level}": torch.randn(1, 6, 128 >> level, 256 >> level, generator=generator) for level in range(2, 6)
    }
    corner = torch.rand(200, 2, generator=generator) * torch.tensor([256.0, 128.0])
    side = torch.exp(torch.rand(200, 2, generator=generator) * 5)
    boxes = torch.cat([corner - side / 2, corner + side / 2], dim=1)  # some reach out of the image
    boxes[0] = torch.tensor([0.0, 0, 256, 128])
    boxes[1] = torch.tensor([-300.0, -300, -200, -200])  # nothing of it is inside
    boxes[2] = torch.tensor([30.0, 30, 30, 30])  # no area
    found = FeatureTable(features).pool(boxes, size, samples, canonical_px=60)
    wanted = pool_boxes(features, [boxes], size, samples, canonical_px=60)
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=0)
    assert found[1].abs().max() == 0


def test_pooling_in_pieces_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    features = {f"p{level}": torch.randn(1, 4, 64 >> level, 64 >> level) for level in range(2, 6)}
    boxes = torch.rand(9, 4) * 20 + torch.tensor([0.0, 0, 25, 25])
    whole = FeatureTable(features).pool(boxes, 7, 2, 30)
    monkeypatch.setattr("videocups.model.static_ops._GATHERED_VALUES", 7 * 7 * 16 * 4 * 2)
    assert torch.equal(FeatureTable(features).pool(boxes, 7, 2, 30), whole)


def test_one_image_at_a_time() -> None:
    with pytest.raises(ValueError, match="one image at a time, got 2"):
        FeatureTable({f"p{level}": torch.zeros(2, 4, 8, 8) for level in range(2, 6)})
