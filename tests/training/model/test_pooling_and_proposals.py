from __future__ import annotations

import pytest
import torch
from torchvision.ops import roi_align

from videocups.model.boxes import clip, decode, iou
from videocups.model.config import STRIDES, RpnConfig
from videocups.model.pooling import align, level_of, pool_boxes
from videocups.model.rpn import RegionProposals, level_anchors

CONFIG = RpnConfig(anchor_sizes=(16, 32, 64, 128, 256), pre_nms=30)


def pyramid(channels, height=64, width=96, images=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.randn(images, channels, -(-height // s), -(-width // s), generator=generator)
        for name, s in STRIDES.items()
    }


def test_the_level_of_a_box():
    side = torch.tensor([1.0, 111, 112, 223, 224, 447, 448, 5000])
    boxes = torch.stack([0 * side, 0 * side, side, side], dim=1)
    assert level_of(boxes, 224).tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert level_of(boxes[:1] * 0, 224).tolist() == [0], "a box without area has a level too"


def test_each_box_is_pooled_from_its_level_of_its_image():
    features = pyramid(3)
    boxes = [torch.tensor([[3.0, 4, 20, 30], [0, 0, 90, 60]]), torch.tensor([[10.0, 5, 50, 40]])]
    found = pool_boxes(features, boxes, 7, 2, canonical_px=64)
    rows = [(0, boxes[0][0]), (0, boxes[0][1]), (1, boxes[1][0])]
    for pooled, (image, box), name in zip(found, rows, ("p2", "p4", "p3"), strict=True):
        alone = roi_align(features[name][image : image + 1], [box[None]], 7, 1 / STRIDES[name], 2, aligned=True)
        torch.testing.assert_close(pooled, alone[0], rtol=0, atol=1e-5)


@pytest.mark.parametrize("samples", [1, 2])
@pytest.mark.parametrize("size", [7, 14])
def test_rows_give_what_torchvisions_roi_align_gives(size, samples):
    generator = torch.Generator().manual_seed(1)
    field = torch.randn(3, 8, 9, 13, generator=generator, dtype=torch.float64, requires_grad=True)
    corner = torch.rand(60, 2, generator=generator, dtype=torch.float64) * torch.tensor([70.0, 50.0]) - 10
    boxes = torch.cat([corner, corner + torch.rand(60, 2, generator=generator, dtype=torch.float64) * 60], dim=1)
    boxes[0], boxes[1], boxes[2] = torch.tensor([[-90.0, -90, -80, -80], [0, 0, 52, 36], [5, 5, 5, 5]])
    places = torch.cat([torch.randint(0, 3, (60, 1), generator=generator).double(), boxes], dim=1)
    voice = torch.randn(60, 8, size, size, generator=generator, dtype=torch.float64)
    ours = align(field, places, size, 1 / 4, samples)
    theirs = roi_align(field, places, size, 1 / 4, samples, aligned=True)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)
    assert torch.equal(ours[0], torch.zeros_like(ours[0])), "a box outside of the image reads nothing"
    ours_back, theirs_back = (torch.autograd.grad((found * voice).sum(), field)[0] for found in (ours, theirs))
    torch.testing.assert_close(ours_back, theirs_back, rtol=0, atol=1e-4)


def test_half_precision_is_summed_in_full():
    field = torch.ones(1, 4, 8, 8, dtype=torch.bfloat16)
    pooled = align(field, torch.tensor([[0.0, 3, 3, 20, 20]]), 7, 1 / 4, 2)
    assert pooled.dtype == torch.bfloat16
    assert torch.equal(pooled, torch.ones_like(pooled))


def test_no_box_is_fine():
    assert pool_boxes(pyramid(3), [torch.zeros(0, 4)] * 2, 7, 2, 64).shape == (0, 3, 7, 7)


def test_anchors_by_hand():
    found = level_anchors(32, (0.5, 1.0, 2.0), 8, 2, 3)
    assert found.shape == (18, 4)
    assert found[1].tolist() == [-16, -16, 16, 16]
    # second row, third column, height twice the width
    wide, high = 32 / 2**0.5, 32 * 2**0.5
    expected = [16 - wide / 2, 8 - high / 2, 16 + wide / 2, 8 + high / 2]
    assert found[3 * 5 + 2].tolist() == pytest.approx(expected)


def test_the_heads_order_is_that_of_the_anchors():
    rpn = RegionProposals(CONFIG, 8)
    features = {name: torch.zeros_like(field) for name, field in pyramid(8).items()}
    torch.nn.init.constant_(rpn.head.conv.weight, 0.0)
    with torch.no_grad():
        rpn.head.conv.weight[:, :, 1, 1] = torch.eye(8)
        rpn.head.objectness.weight.zero_()
        rpn.head.objectness.weight[1, 0] = 1.0  # the square anchor answers to channel 0
        rpn.head.deltas.weight.zero_()
        rpn.head.deltas.weight[4 + 2, 0] = 1.0  # and its width too
    features["p3"][1, 0, 5, 7] = 9.0
    logits, deltas = rpn.head(features)
    anchors = torch.cat(rpn.anchors(64, 96))
    assert logits.shape == (2, len(anchors))
    place = int(logits[1].argmax())
    assert anchors[place].tolist() == [7 * 8 - 16, 5 * 8 - 16, 7 * 8 + 16, 5 * 8 + 16]
    assert torch.nonzero(deltas).tolist() == [[1, place, 2]]
    assert logits[0].sigmoid().unique().tolist() == pytest.approx([CONFIG.prior])


@pytest.mark.parametrize("count", [5, 1000])
def test_proposals_against_plain_loops(count):
    rpn = RegionProposals(CONFIG, 8)
    anchors = rpn.anchors(64, 96)
    generator = torch.Generator().manual_seed(3)
    total = sum(map(len, anchors))
    logits, deltas = torch.randn(1, total, generator=generator), torch.randn(1, total, 4, generator=generator) * 0.2
    found = rpn.proposals(logits, deltas, anchors, 64, 96, count)[0]
    expected, start = [], 0
    for level in anchors:
        scores, moved = logits[0, start : start + len(level)], deltas[0, start : start + len(level)]
        start += len(level)
        kept: list[int] = []
        for index in scores.argsort(descending=True)[: CONFIG.pre_nms].tolist():
            box = clip(decode(moved, level, (1, 1, 1, 1)), 64, 96)[index]
            if (box[2:] <= box[:2]).any():
                continue
            others = clip(decode(moved, level, (1, 1, 1, 1)), 64, 96)[kept]
            if len(kept) == 0 or iou(box[None], others).max() <= CONFIG.nms_iou:
                kept.append(index)
        expected += [(scores[i].item(), clip(decode(moved, level, (1, 1, 1, 1)), 64, 96)[i].tolist()) for i in kept]
    best = sorted(expected, reverse=True)[:count]
    assert found.tolist() == [box for _, box in best]


def test_proposals_may_be_none():
    rpn = RegionProposals(CONFIG, 8)
    anchors = [level + 1000 for level in rpn.anchors(64, 96)]  # all outside of the image
    total = sum(map(len, anchors))
    assert rpn.proposals(torch.zeros(1, total), torch.zeros(1, total, 4), anchors, 64, 96, 10)[0].shape == (0, 4)
