"""What a teacher keeps: votes of the views, and semantics that are sure."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.training.train.film import CLASSES

from videocups.model.classes import IGNORE, THING, ClassTable
from videocups.model.detections import Detections
from videocups.model.network import PanopticNetwork
from videocups.train.network_engine import NetworkEngine, evaluating
from videocups.train.pair import IGNORED, FrameLabels
from videocups.train.panoptic_config import TeacherConfig
from videocups.train.teacher import look, sure_labels, vote
from videocups_core.engine.base import InputSpec


def detections(boxes, scores, first=0):
    count = len(boxes)
    marks = torch.arange(first, first + count)
    masks = marks.reshape(-1, 1, 1).float().expand(count, 2, 2)
    return Detections(
        torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4), torch.tensor(scores), marks, masks, masks[:, 0]
    )


def test_an_object_keeps_the_mean_of_its_best_scores_and_the_best_ones_mask():
    first = detections([[0, 0, 10, 10], [50, 50, 60, 60]], [0.8, 0.9])
    second = detections([[0, 0, 10, 9], [0, 1, 10, 10]], [0.9, 0.3], first=10)
    third = detections([], [], first=20)
    found = vote([first, second, third], overlap=0.5)
    # the car: (.8 + .9 + 0) / 3, from the second view; the other one: .9 / 3
    by_class = dict(zip(found.classes.tolist(), found.scores.tolist(), strict=True))
    assert by_class == pytest.approx({10: 1.7 / 3, 1: 0.3})
    assert found.boxes[found.classes == 10].tolist() == [[0, 0, 10, 9]]
    assert found.masks[found.classes == 10].unique().tolist() == [10]


def test_classes_count_where_they_are_half_as_sure_as_at_their_best():
    # channels: thing, sky, road; four pixels
    semantic = torch.tensor([[[0.1, 0.1, 0.6, 0.5]], [[0.8, 0.15, 0.2, 0.1]], [[0.1, 0.39, 0.2, 0.4]]])
    semantic = torch.cat([semantic, torch.tensor([[[0.0]], [[0.0]], [[1.0]]])], dim=2)
    objects = np.array([[0, 0, 0, 1, 0]], np.uint16)
    labels = sure_labels(FrameLabels(np.zeros((1, 5), np.uint8), objects, (7,), (0,)), semantic, share=0.5)
    # sky is sure; road is .39 of 1.0; a thing without an object is ignored; the object stays; road is sure
    assert labels.semantic.tolist() == [[1, IGNORE, THING, THING, 2]]
    assert labels.objects.tolist() == [[0, 0, IGNORED, 1, 0]]
    assert labels.tracks == (7,)


@pytest.fixture(scope="module")
def network():
    from tests.training.train.conftest import TINY

    from videocups.train.config_file import read_config
    from videocups.train.panoptic_config import PanopticTraining

    torch.manual_seed(0)
    return PanopticNetwork(read_config(PanopticTraining, None, TINY).model, ClassTable.of(CLASSES)).eval()


def test_a_mirrored_image_gives_mirrored_answers(network):
    images = torch.randint(0, 255, (1, 3, 64, 128), dtype=torch.uint8)
    config = TeacherConfig(scales=(1.0,), flip=True)
    plain, mirrored = (look(network, view, config)[0] for view in (images, images.flip(-1)))
    # both views are looked at either way, so the mean is the same picture, mirrored
    assert torch.allclose(plain.semantic, mirrored.semantic.flip(-1), atol=1e-5)
    assert len(plain.objects.boxes) == len(mirrored.objects.boxes)
    centres = [
        torch.sort((seen.objects.boxes[:, 0] + seen.objects.boxes[:, 2]) / 2).values for seen in (plain, mirrored)
    ]
    assert torch.allclose(centres[0], (128 - centres[1]).flip(0), atol=0.01)


def test_looking_at_one_view_is_detecting(network):
    images = torch.randint(0, 255, (1, 3, 64, 128), dtype=torch.uint8)
    seen = look(network, images, TeacherConfig(scales=(1.0,), flip=False))[0]
    found, _ = network.detect(images)
    order = seen.objects.scores.argsort(descending=True)
    assert torch.allclose(seen.objects.scores[order], found[0].scores.sort(descending=True).values)
    assert torch.allclose(seen.semantic.sum(dim=0), torch.ones(64, 128), atol=1e-5)


def test_other_sizes_come_back_to_the_images(network):
    images = torch.randint(0, 255, (1, 3, 64, 128), dtype=torch.uint8)
    seen = look(network, images, TeacherConfig(scales=(0.5, 1.5), flip=False))[0]
    assert seen.semantic.shape[-2:] == (64, 128)
    assert seen.objects.boxes[:, 2].max() <= 128.01
    assert seen.objects.boxes[:, 3].max() <= 64.01


def test_the_engine_keeps_every_parts_mode_and_the_contract(network):
    network.train()
    network.backbone.eval()
    engine = NetworkEngine(network, InputSpec(64, 128))
    raw = engine.infer(np.random.default_rng(0).integers(0, 255, (1, 64, 128, 3)).astype(np.uint8))
    assert network.training
    assert not network.backbone.training
    assert raw.semantic.shape == (64, 128)
    assert set(np.unique(raw.semantic)) <= {0, 1}
    assert set(np.unique(raw.classes)) <= {2, 3}
    assert raw.masks.dtype == np.uint8
    assert engine.describe().precision == "fp32"
    with evaluating(network):
        assert not network.training
    network.eval()
