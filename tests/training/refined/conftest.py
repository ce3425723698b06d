from __future__ import annotations

from pathlib import Path

import pytest
import torch

from videocups.cues.refined.config import RefinedConfig
from videocups.cues.refined.training import train_refined
from videocups.synthetic import World, WorldConfig
from videocups.synthetic.storage import write_clip
from videocups.train.checkpoint import Checkpoint
from videocups.train.settings import LoopConfig, WindowConfig


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_config() -> RefinedConfig:
    return RefinedConfig(
        data=WindowConfig(height=96, width=160),
        crop_height=64,
        crop_width=96,
        loop=LoopConfig(steps=4, learning_rate=2e-3, log_every=1, checkpoint_every=2),
    )


@pytest.fixture(scope="session")
def street(tmp_path_factory) -> Path:
    world = World(WorldConfig(seed=2, num_frames=3, scenario="drive", height=96, width=160))
    return write_clip(world, tmp_path_factory.mktemp("clips") / "street")


@pytest.fixture(scope="session")
def trained(street, tiny_config, tmp_path_factory) -> Checkpoint:
    torch.set_num_threads(1)
    return train_refined([street], tmp_path_factory.mktemp("runs") / "flow", tiny_config)
