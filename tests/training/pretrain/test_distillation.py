"""Both terms against values worked out another way, and the teacher."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from videocups.pretrain.config import ImageTermConfig, ScheduleConfig
from videocups.pretrain.distillation import SelfDistillation, teacher_temperature
from videocups.pretrain.encoder import Encoder
from videocups.pretrain.task import rate_factor, teacher_momentum


def softmax(values, temperature):
    raised = np.exp((values - values.max()) / temperature)
    return raised / raised.sum()


@pytest.fixture
def model(small):
    torch.manual_seed(0)
    return SelfDistillation(small())


def test_the_guided_term_is_a_cross_entropy_of_cosines(model, small):
    config = small().pixel
    cells = torch.randn(1, 8, 2, 2)
    labels = torch.tensor([[[3, -1], [0, 5]]])
    classes = model.student.pixel_head.classes.detach().numpy()
    expected = []
    for row, column, label in ((0, 0, 3), (1, 0, 0), (1, 1, 5)):
        cell = cells[0, :, row, column].numpy()
        cosines = np.array([cell @ c / np.linalg.norm(cell) / np.linalg.norm(c) for c in classes])
        expected.append(-np.log(softmax(cosines, config.student_temperature)[label]))
    assert model.guided_term(cells, labels, config).item() == pytest.approx(np.mean(expected), rel=1e-5)
    nowhere = model.guided_term(cells, torch.full((1, 2, 2), -1), config)
    assert nowhere.item() == 0


def test_the_pixel_term_asks_the_linked_cell(model, small):
    config = small().pixel
    cells, seen = torch.randn(1, 8, 2, 2), torch.randn(1, 8, 2, 2)
    # the centres of 2 × 2 cells lie at ±0.5: cell (0, 0) is linked to (1, 1), cell (0, 1) to (0, 0), the others to none
    grid = torch.zeros(1, 2, 2, 2)
    grid[0, 0, 0] = torch.tensor([0.5, 0.5])
    grid[0, 0, 1] = torch.tensor([-0.5, -0.5])
    linked = torch.tensor([[[True, True], [False, False]]])
    model.pixel_center.copy_(torch.linspace(-0.1, 0.1, 6))
    center = model.pixel_center.clone().numpy()
    classes = model.teacher.pixel_head.classes.numpy()

    def cosines(cell):
        return np.array([cell @ c / np.linalg.norm(cell) / np.linalg.norm(c) for c in classes])

    expected, opinions = [], []
    for mine, its in (((0, 0), (1, 1)), ((0, 1), (0, 0))):
        opinions.append(cosines(seen[0, :, its[0], its[1]].numpy()))
        wanted = softmax(opinions[-1] - center, config.teacher_temperature)
        found = softmax(cosines(cells[0, :, mine[0], mine[1]].numpy()), config.student_temperature)
        expected.append(-(wanted * np.log(found)).sum())
    term = model.pixel_term(cells, seen, grid, linked, config)
    assert term.item() == pytest.approx(np.mean(expected), rel=1e-4)
    np.testing.assert_allclose(model.pixel_center.numpy(), 0.9 * center + 0.1 * np.mean(opinions, axis=0), atol=1e-6)
    nothing = model.pixel_term(cells, seen, grid, torch.zeros_like(linked), config)
    assert nothing.item() == 0


def test_the_image_term_is_dinos(model):
    model.eval()
    vectors, seen = torch.randn(2, 3, 64), torch.randn(2, 3, 64)
    small = [torch.randn(3, 64)]
    with torch.no_grad():
        wanted = [torch.softmax(model.teacher.image_head(vector) / 0.05, dim=1) for vector in seen]
        found = [model.student.image_head(vector) for vector in (*vectors, *small)]
        logs = [torch.log_softmax(vector / 0.1, dim=1) for vector in found]
    # no view predicts itself: of 2 × 3 pairs, 4 are left
    pairs = [(0, 1), (0, 2), (1, 0), (1, 2)]
    expected = sum(-(wanted[t] * logs[s]).sum(dim=1).mean() for t, s in pairs) / len(pairs)
    term = model.image_term((vectors[0], vectors[1]), small, (seen[0], seen[1]), 0.05)
    assert term.item() == pytest.approx(expected.item(), rel=1e-5)
    assert model.image_loss.center.abs().sum() > 0


def test_the_teacher_starts_equal_follows_slowly_and_is_not_trained(model):
    names = [name for name, _ in model.named_parameters()]
    assert len(names) == len(set(names))
    assert not any(p.requires_grad for n, p in model.named_parameters() if n.startswith(("backbone.", "dense.")))
    before = model.teacher.encoder.backbone.conv1.weight.clone()
    assert torch.equal(before, model.student.encoder.backbone.conv1.weight)
    with torch.no_grad():
        model.student.encoder.backbone.conv1.weight.add_(1)
        model.student.encoder.backbone.bn1.running_mean.fill_(7)
    model.follow(0.9)
    torch.testing.assert_close(model.backbone.conv1.weight, before + 0.1)
    assert (model.backbone.bn1.running_mean == 7).all()


def test_only_the_student_is_in_training_mode(model):
    assert model.student.encoder.backbone.bn1.training
    assert not model.backbone.bn1.training
    assert not model.train().teacher.encoder.dense.norm.training


def test_schedules_by_hand():
    image = ImageTermConfig(teacher_start=0.04, teacher_temperature=0.06, warmup=0.2)
    assert [teacher_temperature(share, image) for share in (0, 0.1, 0.2, 1)] == pytest.approx([0.04, 0.05, 0.06, 0.06])
    schedule = ScheduleConfig(momentum=0.9, warmup=0.1, final_rate=0.2)
    assert [teacher_momentum(share, schedule) for share in (0, 0.5, 1)] == pytest.approx([0.9, 0.95, 1])
    assert [rate_factor(share, schedule) for share in (0.05, 0.1, 0.55, 1)] == pytest.approx([0.5, 1, 0.6, 0.2])
    assert rate_factor(0, schedule) > 0


@pytest.mark.parametrize("kind", ["resnet", "vit"])
def test_encoders_give_a_vector_and_a_map(small, kind):
    encoder = Encoder(small(encoder={"kind": kind, "vit": {"dim": 12, "heads": 3, "depth": 2}}).encoder)
    vector, cells = encoder(torch.randn(2, 3, 64, 96))
    stride = {"resnet": 4, "vit": 8}[kind]
    assert vector.shape == (2, encoder.width)
    assert cells.shape == (2, 8, 64 // stride, 96 // stride)
    assert encoder.width == {"resnet": 64, "vit": 12}[kind]
