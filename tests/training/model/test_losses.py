"""Each loss against values worked out by hand, and its gradient against differences."""

from __future__ import annotations

import math

import pytest
import torch
from torch.autograd import gradcheck

from videocups.model.classes import IGNORE
from videocups.model.losses import (
    box_loss,
    class_loss,
    mask_loss,
    objectness_loss,
    row_weights,
    semantic_loss,
    track_loss,
)
from videocups.model.tracks import association_logits

WEIGHTS = torch.tensor([0.5, 0.0, 0.25], dtype=torch.float64)


def random(*shape, seed=0):
    values = torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return values.requires_grad_()


def test_every_image_counts_alike_and_its_rows_share():
    kept, image = torch.tensor([1, 1, 0, 1, 0], dtype=torch.bool), torch.tensor([0, 0, 0, 1, 2])
    assert row_weights(kept, image, 4).tolist() == pytest.approx([1 / 8, 1 / 8, 0, 1 / 4, 0])


def test_objectness():
    logits = torch.tensor([0.0, 50.0, 2.0], dtype=torch.float64)
    objects = torch.tensor([True, False, False])
    expected = 0.5 * math.log(2) + 0.25 * math.log(1 + math.exp(2))
    assert objectness_loss(logits, objects, WEIGHTS).item() == pytest.approx(expected)
    assert gradcheck(lambda x: objectness_loss(x, objects, WEIGHTS), random(3))


def test_class():
    logits = torch.tensor([[0.0, 0, 0], [9, 0, 0], [math.log(2), 0, 0]], dtype=torch.float64)
    classes = torch.tensor([2, 1, 0])
    expected = 0.5 * math.log(3) + 0.25 * math.log(2)
    assert class_loss(logits, classes, WEIGHTS).item() == pytest.approx(expected)
    assert gradcheck(lambda x: class_loss(x, classes, WEIGHTS), random(3, 3))


def test_box():
    deltas = torch.tensor([[1.0, 0, -2, 0.5], [9, 9, 9, 9], [0, 0, 0, 4]], dtype=torch.float64)
    expected = 0.5 * (1 + 2 + 0.5) + 0.25 * 4
    assert box_loss(deltas, torch.zeros_like(deltas), WEIGHTS).item() == pytest.approx(expected)
    assert gradcheck(lambda x: box_loss(x, torch.zeros_like(deltas), WEIGHTS), random(3, 4))


def test_mask():
    logits = torch.zeros(3, 2, 2, dtype=torch.float64)
    logits[2, 0, 0] = math.log(3)  # probability 3/4
    targets = torch.tensor([[[1.0, 0], [1, 1]], [[0, 0], [0, 0]], [[1, 0], [0, 0]]])
    expected = 0.5 * math.log(2) + 0.25 * (3 * math.log(2) + math.log(4 / 3)) / 4
    assert mask_loss(logits, targets, WEIGHTS).item() == pytest.approx(expected)
    assert gradcheck(lambda x: mask_loss(x, targets, WEIGHTS), random(3, 2, 2))


def test_semantic_is_the_mean_of_each_images_known_pixels():
    semantic = torch.tensor([[[0, 1], [2, IGNORE]], [[1, IGNORE], [IGNORE, IGNORE]]])
    logits = torch.zeros(2, 3, 2, 2, dtype=torch.float64)
    logits[1, 1] = math.log(2)  # probability 1/2
    expected = (math.log(3) + math.log(2)) / 2
    assert semantic_loss(logits, semantic).item() == pytest.approx(expected)
    assert gradcheck(lambda x: semantic_loss(x, semantic), random(2, 3, 2, 2))


def test_semantic_logits_are_enlarged():
    logits = torch.tensor([[[[0.0, 4.0]], [[0.0, 0.0]]]], dtype=torch.float64)
    wide = torch.tensor([0.0, 1.0, 3.0, 4.0], dtype=torch.float64)  # between pixel centres; the ends stay
    expected = torch.log(1 + torch.exp(-wide)).mean().item()
    assert semantic_loss(logits, torch.zeros(1, 2, 4, dtype=torch.int64)).item() == pytest.approx(expected)


def test_nothing_known_is_no_loss():
    logits = random(2, 3, 2, 2)
    loss = semantic_loss(logits, torch.full((2, 4, 4), IGNORE))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad.abs().max() == 0


def test_association_knows_new_and_old():
    keys, references = torch.tensor([[1.0, 2], [0, -1]]), torch.tensor([[3.0, 1], [1, 1], [0, 5]])
    assert association_logits(keys, references).tolist() == [[0, 5, 3, 10], [0, -1, -1, -5]]
    assert association_logits(keys, references[:0]).tolist() == [[0], [0]]


def test_track():
    first = torch.tensor([[0.0, math.log(2), 0], [7, 7, 7]], dtype=torch.float64)
    second = torch.tensor([[0.0, math.log(3)]], dtype=torch.float64)
    targets, kept = [torch.tensor([1, 0]), torch.tensor([0])], [torch.tensor([True, False]), torch.tensor([True])]
    expected = (math.log(2) + math.log(4)) / 2
    assert track_loss([first, second], targets, kept).item() == pytest.approx(expected)
    keys, references = random(2, 3), random(2, 3, seed=1)

    def loss(keys, references):
        return track_loss([association_logits(keys, references)], targets[:1], [torch.tensor([True, True])])

    assert gradcheck(loss, (keys, references))


@pytest.mark.parametrize("loss", [objectness_loss, class_loss, box_loss, mask_loss])
def test_rows_of_weight_0_have_no_gradient_and_cannot_poison(loss):
    shapes = {objectness_loss: (3,), class_loss: (3, 4), box_loss: (3, 4), mask_loss: (3, 2, 2)}
    targets = {
        objectness_loss: torch.ones(3, dtype=torch.bool),
        class_loss: torch.tensor([1, 1, 1]),
        box_loss: torch.ones(3, 4),
        mask_loss: torch.ones(3, 2, 2),
    }
    values = random(*shapes[loss])
    poisoned = values.detach().clone()
    poisoned[1] = math.nan
    poisoned.requires_grad_()
    found = loss(poisoned, targets[loss], WEIGHTS)
    found.backward()
    assert found.item() == pytest.approx(loss(values, targets[loss], WEIGHTS).item())
    assert poisoned.grad[1].abs().max() == 0
    assert poisoned.grad[0].abs().max() > 0
    assert loss(values, targets[loss], WEIGHTS * 0).item() == 0


def test_half_precision_is_computed_in_full():
    logits = torch.tensor([[8.0, 0.0], [0.0, 8.0]])
    classes, weights = torch.tensor([0, 1]), torch.tensor([0.5, 0.5])
    assert class_loss(logits.bfloat16(), classes, weights).item() == class_loss(logits, classes, weights).item()
