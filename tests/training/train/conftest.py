"""Small films as clips, and settings of a training that takes seconds."""

from __future__ import annotations

import pytest
from tests.training.train.film import write_film

from videocups.train.config_file import read_config
from videocups.train.panoptic_config import PanopticTraining

TINY = [
    "model.backbone={kind: resnet18, width: 0.25, norm: group}",
    "model.fpn_channels=32",
    "model.canonical_px=32",
    "model.rpn={anchor_sizes: [8, 16, 32, 64, 128], pre_nms: 100, post_nms_train: 100, post_nms_test: 60, batch: 64}",
    "model.roi={batch: 32, samples: 1, width: 64}",
    "model.mask={channels: 32, convs: 1}",
    "model.semantic={channels: 32}",
    "model.track={width: 64, dim: 16}",
    "data={height: 64, width: 128, min_area_px: 16}",
    "augment={flip: 0, crop_area: [1, 1], scales: [1, 1], blur: 0, jitter: 0, grey: 0}",
    "paste={enabled: false, min_side_px: 8}",
    "loop={batch_size: 2, learning_rate: 2.0e-3, steps: 6, tensorboard: false, picture_every: 0, log_every: 1}",
]


@pytest.fixture(scope="session")
def films(tmp_path_factory):
    """Two clips of four frames."""
    root = tmp_path_factory.mktemp("films")
    return [write_film(root / f"film_{seed}", seed) for seed in (1, 2)]


@pytest.fixture
def tiny():
    """Return settings of a tiny training, changed by ``key=value`` texts."""

    def build(*changes: str, kind=PanopticTraining):
        return read_config(kind, None, [*TINY, *changes])

    return build
