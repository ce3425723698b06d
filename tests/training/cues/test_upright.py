"""What parallax does not tell, or tells wrongly, stands on the ground below it."""

from __future__ import annotations

import numpy as np
import pytest

from videocups.cues.depth import DepthConfig, Measured, dense_inverse_depth
from videocups.cues.upright import upright

SHAPE, HORIZON = (120, 160), 40
CONFIG = DepthConfig()
LORRY = (slice(20, 80), slice(60, 100))
FOOT = (80 - HORIZON) / 100
"""inverse depth of the ground just below the lorry, in 1/camera heights"""


@pytest.fixture
def ground() -> np.ndarray:
    slope = (np.arange(SHAPE[0]) - HORIZON)[:, None] / 100
    return np.broadcast_to(np.maximum(slope, 0), SHAPE).astype(np.float32)


def parallax(inverse: np.ndarray, error: float = 0.001) -> Measured:
    return Measured(inverse.astype(np.float32), np.full(SHAPE, 1 / error**2, np.float32))


def dense(measured: Measured | None, ground: np.ndarray, *, creeps: bool) -> np.ndarray:
    return dense_inverse_depth(upright(measured, ground, CONFIG, creeps=creeps), ground, CONFIG)


@pytest.mark.parametrize("creeps", [True, False])
def test_a_lorry_that_keeps_pace_is_no_sky(ground, creeps):
    """It shows no parallax at all; its lower part would lie under the ground."""
    seen = ground.copy()
    seen[LORRY] = 0.0
    found = dense(parallax(seen), ground, creeps=creeps)
    np.testing.assert_allclose(found[25:55, 75:85], FOOT, rtol=0.15)
    np.testing.assert_allclose(found[:20, 10:40], 1 / CONFIG.max_heights, rtol=0.1)  # the sky beside it
    np.testing.assert_allclose(found[60:, :50], ground[60:, :50], rtol=0.1)


def test_what_is_seen_behind_a_thing_stays_there(ground):
    """A wall stands on the road, and a tower is seen beyond it."""
    seen = ground.copy()
    seen[25:55] = 0.15  # the wall stands where the ground has that inverse depth
    seen[:25] = 0.03
    found = dense(parallax(seen), ground, creeps=True)
    np.testing.assert_allclose(found[27:50], 0.15, rtol=0.1)
    np.testing.assert_allclose(found[:22], 0.03, rtol=0.15)


@pytest.mark.parametrize(("creeps", "expected"), [(True, FOOT), (False, 0.03)])
def test_a_creeping_vehicle_takes_silence_for_motion(ground, creeps, expected):
    """Flow of the lower part fits nothing that stands, the upper part seems far; driving, silence is common."""
    seen = ground.copy()
    seen[LORRY] = 0.03
    measured = parallax(seen)
    measured.weight[HORIZON:80, 60:100] = 0.0
    found = dense(measured, ground, creeps=creeps)
    np.testing.assert_allclose(found[23:28, 75:85], expected, rtol=0.15)


def test_what_was_not_measured_stands_up_to_the_height_of_things(ground):
    """A thing at inverse depth .1 and three camera heights high ends .2 of slope above the horizon: 20 rows."""
    measured = parallax(ground)
    measured.weight[:50] = 0.0
    found = dense(measured, ground, creeps=False)
    np.testing.assert_allclose(found[20:32], 0.1, rtol=0.12)
    high = upright(measured, ground, CONFIG, creeps=False).inverse_depth
    np.testing.assert_allclose(high[22:50], 0.1, rtol=0.12)
    np.testing.assert_allclose(high[:18], 1 / CONFIG.max_heights)


def test_a_thing_that_reaches_out_of_the_image_is_no_farther_than_the_nearest_ground_seen(ground):
    seen = ground.copy()
    seen[10:, 60:100] = 0.0
    found = dense(parallax(seen), ground, creeps=False)
    np.testing.assert_allclose(found[20:95, 75:85], ground[-1, 0], rtol=0.1)


def test_where_nothing_was_ever_measured_ground_is_taken_for_granted(ground):
    found = dense(None, ground, creeps=False)
    np.testing.assert_allclose(found[60:], ground[60:], rtol=0.05)
    np.testing.assert_allclose(found[:30], 1 / CONFIG.usual_heights, rtol=0.05)
    spot = Measured(np.full(SHAPE, 0.3, np.float32), np.zeros(SHAPE, np.float32))
    spot.weight[10:30, 10:30] = 1e6
    assert dense(spot, ground, creeps=False)[20, 20] == pytest.approx(0.3, rel=0.05)


def test_without_any_ground_nothing_fails():
    found = dense(None, np.zeros(SHAPE, np.float32), creeps=True)
    np.testing.assert_allclose(found, 1 / CONFIG.usual_heights, rtol=1e-3)
