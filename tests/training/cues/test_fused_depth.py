"""What a network sees and what parallax measured make one depth, each pixel by what either may be wrong."""

from __future__ import annotations

import numpy as np
import pytest

from videocups.cues.depth import DepthConfig, Measured
from videocups.cues.fused_depth import fused_inverse_depth
from videocups.cues.known_depth import KnownDepth

SHAPE = (64, 128)
CAR = (slice(40, 50), slice(60, 80))
NO_MOTION = NO_GROUND = np.zeros(SHAPE, np.float32)


@pytest.fixture
def street() -> np.ndarray:
    """Inverse depth of a road below the horizon and of what is far above it."""
    rows = np.maximum(np.arange(SHAPE[0]) - 24, 0) / 40 * 0.6 + 0.03
    return np.repeat(rows[:, None], SHAPE[1], axis=1).astype(np.float32)


def seen_by_network(true: np.ndarray, error: float = 0.2) -> KnownDepth:
    """Return a depth that is off smoothly, by about ``error``."""
    waves = np.sin(np.arange(SHAPE[1]) / 7)[None, :] * np.cos(np.arange(SHAPE[0]) / 5)[:, None]
    return KnownDepth((true * (1 + 1.5 * error * waves)).astype(np.float32), np.full(SHAPE, error, np.float32))


def measured(true: np.ndarray, noise: float, rng: np.random.Generator) -> Measured:
    """Return parallax with an error that is the same everywhere: good where things are near, nothing far away."""
    off = rng.normal(0, noise, SHAPE)
    return Measured((true + off).astype(np.float32), np.full(SHAPE, 1 / noise**2, np.float32))


def fused(known: KnownDepth, found: Measured | None, motion: np.ndarray) -> np.ndarray:
    return fused_inverse_depth(known, found, motion, NO_GROUND, DepthConfig())


def error_of(inverse: np.ndarray, true: np.ndarray) -> np.ndarray:
    return np.abs(inverse / true - 1)


def test_both_together_are_better_than_either(street):
    known, found = seen_by_network(street), measured(street, 0.02, np.random.default_rng(0))
    told = fused(known, found, NO_MOTION)
    assert told.dtype == np.float32
    network, parallax, both = (error_of(one, street) for one in (known.inverse_depth, found.inverse_depth, told))
    assert both.mean() < 0.8 * min(network.mean(), parallax.mean())
    near, far = slice(40, 64), slice(0, 20)  # parallax decides what is near, the network what is far
    assert both[near].mean() < 0.4 * network[near].mean()
    assert both[far].mean() < 1.1 * network[far].mean()
    assert parallax[far].mean() > 2 * network[far].mean()


def test_the_unit_is_that_of_the_network(street):
    known, found = seen_by_network(street), measured(street, 0.01, np.random.default_rng(1))
    longer = KnownDepth(known.inverse_depth / 4, known.error)
    told, scaled = (fused(one, found, NO_MOTION) for one in (known, longer))
    np.testing.assert_allclose(scaled, told / 4, rtol=1e-4)


def test_what_moves_keeps_what_the_network_sees(street):
    known = seen_by_network(street)
    apparent = street.copy()
    apparent[CAR] *= 2
    found, motion = measured(apparent, 0.01, np.random.default_rng(2)), NO_MOTION.copy()
    wrong = fused(known, found, motion)
    motion[CAR] = 0.9
    right = fused(known, found, motion)
    np.testing.assert_allclose(right[CAR], known.inverse_depth[CAR], rtol=1e-5)
    assert error_of(wrong, street)[CAR].mean() > 3 * error_of(right, street)[CAR].mean()
    np.testing.assert_allclose(
        right[39, 70], known.inverse_depth[39, 70], rtol=1e-5
    )  # its rim, too: flow is carried over edges


def test_a_frame_in_which_too_little_was_measured_is_the_networks(street):
    known = seen_by_network(street)
    np.testing.assert_array_equal(fused(known, None, NO_MOTION), known.inverse_depth)
    nothing = Measured(np.zeros(SHAPE, np.float32), np.zeros(SHAPE, np.float32))
    np.testing.assert_array_equal(fused(known, nothing, NO_MOTION), known.inverse_depth)


def test_noise_puts_nothing_behind_infinity(street):
    known, found = seen_by_network(street), measured(street, 0.02, np.random.default_rng(3))
    behind = Measured(np.where(street < 0.04, -0.5, found.inverse_depth).astype(np.float32), found.weight)
    told = fused(known, behind, NO_MOTION)
    assert told.min() >= known.inverse_depth.min() > 0
