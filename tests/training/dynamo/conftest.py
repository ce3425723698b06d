from __future__ import annotations

from pathlib import Path

import pytest
import torch

from videocups.synthetic import World, WorldConfig, write_clip


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def world() -> World:
    """A drive through a city, small and short."""
    return World(WorldConfig(seed=4, num_frames=6, setting="city", scenario="drive", height=64, width=128))


@pytest.fixture(scope="session")
def clip(world, tmp_path_factory) -> Path:
    return write_clip(world, tmp_path_factory.mktemp("clips") / "drive", image_suffix=".png")
