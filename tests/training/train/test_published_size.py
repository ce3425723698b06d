"""The published size builds and takes steps: ResNet-50, 640×1280."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from videocups.train.config_file import read_config
from videocups.train.loop import run_training
from videocups.train.panoptic_config import PanopticTraining
from videocups.train.panoptic_task import PanopticTask

CONFIG = Path(__file__).parents[3] / "training" / "configs" / "panoptic.yaml"


@pytest.mark.slow
def test_two_steps_of_resnet_50_on_large_images(tmp_path, films):
    changes = ["loop.batch_size=1", "loop.accumulate=1", "loop.workers=0", "loop.steps=2", "loop.picture_every=0"]
    settings = read_config(PanopticTraining, CONFIG, [*changes, "augment.scales=[1, 1]", "loop.log_every=1"])
    task = PanopticTask(films, settings)
    assert task.model.config.backbone.kind == "resnet50"
    before = {name: value.clone() for name, value in task.model.named_parameters()}
    done = run_training(task, settings.loop, tmp_path)
    assert (done.step, done.skipped_steps) == (2, 0)
    moved = [name for name, value in task.model.named_parameters() if not torch.equal(value, before[name])]
    assert {name.split(".")[0] for name in moved} == {
        *("backbone", "fpn", "rpn", "cascade", "mask_head", "semantic_head", "track_head")
    }
