from __future__ import annotations

import pytest

from videocups.synthetic import World, WorldConfig, WorldFrame


@pytest.fixture(scope="session")
def city() -> World:
    """An ego that drives through a city with everything in it."""
    return World(WorldConfig(seed=5, num_frames=40, setting="city", scenario="turn"))


@pytest.fixture(scope="session")
def city_frames(city: World) -> tuple[WorldFrame, ...]:
    """Three frames in a row while the ego turns."""
    return tuple(city.frame(index) for index in (29, 30, 31))


@pytest.fixture(scope="session")
def suburb() -> World:
    """A suburb where everything moves, with a second camera."""
    return World(WorldConfig(seed=2, num_frames=40, setting="suburb", scenario="drive", stereo_baseline_m=0.5))
