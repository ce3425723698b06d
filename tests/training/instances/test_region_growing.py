"""Region growing against a brute-force reading of Eq. 1: every pair compared, plain graph search."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from videocups.instances.region_growing import RegionGrowingConfig, grow_regions


def brute_force(motion, depth, flow, config):
    """Compare every pair of moving pixels, then flood the graph; numbers in raster order."""
    height, width = motion.shape
    active = [(y, x) for y in range(height) for x in range(width) if motion[y, x] > config.motion_threshold]

    def holds_from(a, b):
        length = max(float(np.hypot(*flow[a].astype(float))), config.flow_floor_px)
        near_depth = config.depth_tolerance == 0 or abs(
            float(depth[a]) - float(depth[b])
        ) < config.depth_tolerance * abs(float(depth[a]))
        gap = float(np.hypot(*(flow[a].astype(float) - flow[b].astype(float))))
        return near_depth and gap < config.flow_tolerance * length

    regions = np.zeros((height, width), np.int32)
    count = 0
    for seed in active:
        if regions[seed]:
            continue
        count += 1
        regions[seed] = count
        queue = [seed]
        while queue:
            a = queue.pop()
            for b in active:
                near = max(abs(a[0] - b[0]), abs(a[1] - b[1])) <= config.radius_px
                if near and not regions[b] and (holds_from(a, b) or holds_from(b, a)):
                    regions[b] = count
                    queue.append(b)
    return regions


def random_cues(seed, height=13, width=17):
    """Cues with few distinct values, so that both outcomes of every test occur and no value sits on a threshold."""
    rng = np.random.default_rng(seed)
    motion = rng.choice([0.05, 0.9], size=(height, width), p=[0.5, 0.5]).astype(np.float32)
    depth = rng.choice([10.0, 10.15, 10.25, 20.0], size=(height, width)).astype(np.float32)
    flow = rng.choice([0.3, 5.0, 5.15, 5.3, -8.0], size=(height, width, 2)).astype(np.float32)
    return motion, depth, flow


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), radius=st.sampled_from([1, 2, 3, 8]), tau_d=st.sampled_from([0.0, 0.02]))
def test_partition_equals_brute_force(seed, radius, tau_d):
    cues = random_cues(seed)
    config = RegionGrowingConfig(radius_px=radius, depth_tolerance=tau_d)
    np.testing.assert_array_equal(grow_regions(*cues, config), brute_force(*cues, config))


@pytest.mark.parametrize("seed", range(8))
def test_torch_twin_gives_the_same_numbers(seed):
    torch = pytest.importorskip("torch")
    from videocups.instances.region_growing_torch import grow_regions_torch

    batch = [random_cues(100 * seed + image, 24, 31) for image in range(3)]
    config = RegionGrowingConfig(radius_px=3)
    motion, depth, flow = (torch.from_numpy(np.stack(cue)) for cue in zip(*batch, strict=True))
    grown = grow_regions_torch(motion, depth, flow.permute(0, 3, 1, 2), config).numpy()
    for image, cues in enumerate(batch):
        np.testing.assert_array_equal(grown[image], grow_regions(*cues, config))


def test_the_relation_is_undirected_and_relative():
    """A gap of .206 is too much from either pixel; one of .202 holds only from the farther, which is enough."""
    motion = np.ones((1, 2), np.float32)
    flow = np.full((1, 2, 2), 3.0, np.float32)
    apart = grow_regions(motion, np.array([[10.0, 10.206]], np.float32), flow)
    joined = grow_regions(motion, np.array([[10.0, 10.202]], np.float32), flow)
    assert apart.tolist() == [[1, 2]]
    assert joined.tolist() == [[1, 1]]  # .202 < .02 · 10.202 = .20404, though not < .02 · 10


def test_flow_floor_keeps_a_car_at_our_own_speed_whole():
    motion, depth = np.ones((1, 2), np.float32), np.full((1, 2), 9.0, np.float32)
    flow = np.array([[[0.01, 0.0], [0.03, 0.0]]], np.float32)
    assert grow_regions(motion, depth, flow).max() == 1
    assert grow_regions(motion, depth, flow, RegionGrowingConfig(flow_floor_px=0.0)).max() == 2


def test_pixels_without_finite_cues_take_no_part():
    motion, depth = np.ones((2, 3), np.float32), np.full((2, 3), 5.0, np.float32)
    flow = np.ones((2, 3, 2), np.float32)
    depth[0, 1], flow[1, 2, 0], motion[0, 0] = np.nan, np.inf, np.nan
    assert grow_regions(motion, depth, flow).tolist() == [[0, 0, 1], [1, 1, 0]]


def test_no_motion_gives_no_region():
    still = np.zeros((5, 7), np.float32)
    assert grow_regions(still, still + 1, np.zeros((5, 7, 2), np.float32)).max() == 0


def test_cues_of_two_sizes_are_refused():
    with pytest.raises(ValueError, match=r"of one image, got \(4, 5\), \(4, 6\)"):
        grow_regions(np.zeros((4, 5), np.float32), np.zeros((4, 6), np.float32), np.zeros((4, 5, 2), np.float32))
