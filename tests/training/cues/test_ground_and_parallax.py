from __future__ import annotations

import numpy as np
import pytest

from videocups.cues.ego_motion import EgoMotion
from videocups.cues.epipolar import parallax, pinhole, pixel_rays, static_flow_px
from videocups.cues.ground_plane import Ground, GroundConfig, fit_ground, steady_grounds, voters_every
from videocups_core.types import CameraModel

CONFIG = GroundConfig(min_pixels=100)


@pytest.fixture
def drive(road):
    """0.5 m straight ahead; translations are 0.5 m, so the camera is 3 of them above the road."""
    flow = road.exact_flow(road.depth, np.eye(3), np.array([0.0, 0.0, -0.5]))
    return flow, parallax(flow, np.eye(3), np.array([0.0, 0.0, -1.0]), road.camera)


def test_parallax_gives_back_the_depth_in_translations(road, drive):
    _, seen = drive
    away = np.ones(road.depth.shape, bool)
    away[30:50, 70:90] = False  # around the way ahead there is no parallax
    np.testing.assert_allclose(seen.inverse_depth[away], (0.5 / road.depth)[away], rtol=2e-2, atol=1e-4)
    assert np.abs(seen.across_px).max() < 1e-2
    assert seen.noise[40, 79] > 20 * seen.noise[90, 5]


def test_static_flow_is_the_inverse_of_parallax(road, drive):
    flow, _ = drive
    made = static_flow_px((0.5 / road.depth).astype(np.float32), np.eye(3), np.array([0.0, 0.0, -1.0]), road.camera)
    np.testing.assert_allclose(made, flow, atol=2e-3)


def test_flow_across_the_epipolar_line_is_told_apart(road, drive):
    flow, _ = drive
    flow = flow.copy()
    flow[80, 80] += (2.0, 0.0)  # below the way ahead the epipolar line runs straight down
    seen = parallax(flow, np.eye(3), np.array([0.0, 0.0, -1.0]), road.camera)
    # the point is 40 px below the way ahead, its target 45: seen from there, 2 px at 45 are 1.78 at 40
    down = flow[80, 80, 1]
    assert abs(seen.across_px[80, 80]) == pytest.approx(2.0 * 40 / (40 + down), abs=0.02)


@pytest.mark.parametrize("known", [None, np.array([0.0, 1.0, 0.0])])
def test_the_ground_is_found_below_objects(road, drive, known):
    _, seen = drive
    seen.inverse_depth[60:90, 100:150] *= 1.6  # a thing that stands on the road
    ground = fit_ground(seen, np.ones(road.depth.shape, bool), pixel_rays(road.camera), CONFIG, known)
    assert ground is not None
    assert ground.camera_height == pytest.approx(3.0, rel=0.02)
    np.testing.assert_allclose(ground.normal * 3.0, [0.0, 1.0, 0.0], atol=0.02)


def test_a_part_of_the_pixels_finds_the_same_ground(road, drive):
    flow, seen = drive
    thin = parallax(flow, np.eye(3), np.array([0.0, 0.0, -1.0]), road.camera, every=2)
    np.testing.assert_array_equal(thin.inverse_depth, seen.inverse_depth[::2, ::2])
    np.testing.assert_array_equal(thin.across_px, seen.across_px[::2, ::2])
    usable = np.ones(road.depth.shape, bool)
    ground = fit_ground(thin, usable, pixel_rays(road.camera), CONFIG, every=2)
    assert ground.camera_height == pytest.approx(3.0, rel=0.02)
    assert voters_every((640, 1280)) == 4


def test_no_ground_without_pixels_or_without_a_plane(road, drive):
    _, seen = drive
    rays = pixel_rays(road.camera)
    assert fit_ground(seen, np.zeros(road.depth.shape, bool), rays, CONFIG) is None
    seen.inverse_depth[:] = np.random.default_rng(0).lognormal(0, 3, seen.inverse_depth.shape)
    assert fit_ground(seen, np.ones(road.depth.shape, bool), rays, CONFIG) is None


def test_the_second_camera_stands_as_high_and_pitches_with_the_rotation(road):
    ground = Ground(np.array([0.0, 0.4, 0.0]), 1.0)
    rotation = road.turn(1.0, 0.0, 0.0)
    motion = EgoMotion(rotation, np.array([0.0, 0.0, -1.0]), "moving")
    there = ground.in_second_camera(motion)
    point = np.array([0.3, 2.5, 4.0])  # on the ground: 2.5 translations below
    seen = rotation @ point + motion.direction
    assert there.normal @ seen == pytest.approx(1.0)


def test_steady_normal_outvotes_an_outlier_and_bridges_a_stand():
    level, tilted = Ground(np.array([0.0, 0.5, 0.0]), 0.9), Ground(np.array([0.3, 0.5, 0.0]), 0.9)
    normals = steady_grounds([level] * 4 + [tilted] + [level] * 4 + [None] * 40, GroundConfig(window=5))
    assert all(normal is not None for normal in normals)
    np.testing.assert_allclose(np.array(normals), [[0.0, 1.0, 0.0]] * 49, atol=1e-9)
    assert steady_grounds([None, None]) == [None, None]


def test_a_distorted_camera_is_refused_with_the_way_out():
    camera = CameraModel(64, 48, (50.0, 0.0, 32.0, 0.0, 50.0, 24.0, 0.0, 0.0, 1.0), "plumb_bob", (-0.3, 0.1, 0.0, 0.0))
    with pytest.raises(ValueError, match="--undistort"):
        pinhole(camera)
