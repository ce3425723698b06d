"""Short rendered clips, made once."""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace

import pytest

from videocups.synthetic import World, WorldConfig


@cache
def rendered(seed: int, scenario: str, frames: int, first: int = 0) -> SimpleNamespace:
    world = World(WorldConfig(seed=seed, num_frames=first + frames, height=128, width=256, scenario=scenario))
    made = [world.frame(index) for index in range(first, first + frames)]
    return SimpleNamespace(frames=made, images=[frame.rgb for frame in made], camera=world.camera)


@pytest.fixture(scope="session")
def render():
    return rendered
