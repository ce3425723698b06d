from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from videocups.cues.compensated_flow import compensated_flow_px
from videocups.cues.continuity import ContinuityConfig, match_exposure, shows_nothing
from videocups.cues.depth import (
    DepthConfig,
    Measured,
    dense_inverse_depth,
    fuse,
    metres_per_height,
    stand_on_ground,
)
from videocups.cues.ego_motion import EgoMotion
from videocups.cues.epipolar import pixel_rays
from videocups.cues.floating import floating_surprise
from videocups.cues.flow import DisFlow, DisFlowConfig, warp
from videocups.cues.frame_cues import blown_out
from videocups.cues.frame_pair import View
from videocups.cues.ground_plane import Ground
from videocups.cues.hood import HoodConfig, HoodFinder
from videocups.cues.motion import agree_on_floating, combine_neighbours, hint, motion_probability
from videocups.cues.photometric import appearance, match_cost
from videocups.cues.static_world import StaticTestConfig, static_surprise

AHEAD = EgoMotion(np.eye(3), np.array([0.0, 0.0, -1.0]), "moving", 1.0)
GROUND = Ground(np.array([0.0, 1 / 3, 0.0]), 1.0)  # the camera is 1.5 m high and moves 0.5 m


def textured(seed=0):
    noise = np.random.default_rng(seed).integers(0, 255, (96, 160, 3)).astype(np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), 1.5)


@pytest.fixture
def drive(road):
    """Flow, and two images that fit it, of half a metre ahead."""
    flow = road.exact_flow(road.depth, np.eye(3), np.array([0.0, 0.0, -0.5]))
    second = textured()
    first = np.clip(warp(second.astype(np.float32), flow), 0, 255).astype(np.uint8)
    return flow, first, second


def surprise(road, flow, first, second, motion=AHEAD, **settings):
    view = View(flow, np.ones(flow.shape[:2], bool), motion, GROUND)
    config = StaticTestConfig(**settings)
    looks = [appearance(image, config.scale) for image in (first, second)]
    return static_surprise(view, *looks, pixel_rays(road.camera), road.camera, config)


@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_a_static_street_surprises_nobody_and_a_thing_that_crosses_does(road, drive, scale):
    flow, first, second = drive
    assert np.nanmax(surprise(road, flow, first, second, scale=scale).surprise) < 1.7
    moving = flow.copy()
    moving[50:75, 60:100] += (4.0, 0.0)
    first = np.clip(warp(second.astype(np.float32), moving), 0, 255).astype(np.uint8)
    found = surprise(road, moving, first, second, scale=scale).surprise
    assert np.median(found[54:71, 64:96]) > 3
    assert np.nanmedian(found[80:, :]) < 0.5


def test_wrong_flow_is_not_believed_where_a_static_world_fits_the_images_as_well(road, drive):
    flow, first, second = drive
    wrong = flow.copy()
    wrong[50:75, 60:100] += (4.0, 0.0)  # the images say otherwise
    found = surprise(road, wrong, first, second)
    assert np.median(found.raw_surprise[54:71, 64:96]) > 3
    assert np.nanmax(found.surprise[54:71, 64:96]) < 1.7


def test_what_lies_below_the_ground_moves(road, drive):
    flow, first, second = drive
    sunk = flow.copy()
    sunk[70:90, 60:100] *= 0.4  # flow of a road more than twice as deep: a car ahead that drives off
    first = np.clip(warp(second.astype(np.float32), sunk), 0, 255).astype(np.uint8)
    assert np.median(surprise(road, sunk, first, second).surprise[74:86, 64:96]) > 1.7


def test_before_a_standing_camera_flow_itself_is_motion(road, drive):
    flow, first, second = drive
    standing = EgoMotion(np.eye(3), np.zeros(3), "standing", 1.0)
    found = surprise(road, np.full_like(flow, 0.1), second, second, standing)
    assert np.nanmax(found.surprise) < 1.7
    assert found.parallax is None
    found = surprise(road, flow, first, second, standing)
    assert np.median(found.surprise[70:90]) > 3


@pytest.mark.parametrize("enough_px", [640, 80])  # as it is, and thinned
@pytest.mark.parametrize(("factor", "sign"), [(1.8, 1), (0.5, -1)])
def test_an_oncoming_car_floats_and_a_slow_car_ahead_sinks(road, drive, monkeypatch, factor, sign, enough_px):
    monkeypatch.setattr("videocups.cues.floating.ENOUGH_PX", enough_px)
    flow, first, second = drive
    inverse = (0.5 / road.depth).astype(np.float32)
    inverse[66:80, 110:140] = factor * inverse[80, 0]  # a box whose lower edge is at row 80
    test = surprise(road, flow, first, second)
    seen = replace(test.parallax, inverse_depth=inverse)
    found = floating_surprise(seen, np.ones(inverse.shape, bool), GROUND, test.ground, road.camera)
    assert (sign * found[66:80, 110:140] > 2).mean() > 0.95
    found[66:80, 110:140] = 0
    assert not found.any()


def test_neighbours_must_agree():
    nan = np.float32(np.nan)
    first, second = np.array([[5, nan, 2, nan]], np.float32), np.array([[1, 3, nan, nan]], np.float32)
    assert combine_neighbours([first, second]).tolist() == [[1, 3, 2, 0]]
    up, down = np.array([[3.0, 2.0, 0.0]], np.float32), np.array([[2.0, -2.0, -4.0]], np.float32)
    assert agree_on_floating([up, down]).tolist() == [[2, 0, 0]]


def test_probability_follows_its_formula_and_a_hint_never_moves_a_pixel():
    assert motion_probability(np.array([[1.7]], np.float32))[0, 0] == pytest.approx(0.15, abs=0.005)
    seen = np.ones((40, 80), bool)
    strong = hint([np.full((40, 80), 100, np.float32)], [seen])
    weak = hint([np.full((40, 80), 1, np.float32)], [seen])
    assert (motion_probability(strong) < 0.15).all()
    assert (strong > weak).all()
    half = np.ones((160, 320), bool)
    half[:, 160:] = False
    spread = hint([np.full((160, 320), 5, np.float32)], [half])
    assert spread[80, 163] > 0.5  # pixels that nobody shows take after those beside them


def test_compensation_finds_flow_that_is_too_large_for_a_plain_search():
    second = textured(3)
    shift = np.zeros((96, 160, 2), np.float32)
    shift[..., 0] = 30.0
    first = np.clip(warp(second.astype(np.float32), shift + np.float32(0.6)), 0, 255).astype(np.uint8)
    found = compensated_flow_px(DisFlow(DisFlowConfig()), first, second, shift)
    np.testing.assert_allclose(np.median(found[20:-20, 20:100], axis=(0, 1)), [30.6, 0.6], atol=0.2)
    np.testing.assert_array_equal(found[:, 140:], shift[:, 140:])  # outside of the image the prediction stands


def test_match_cost_is_least_at_the_true_flow():
    image = textured(1)
    looks = appearance(image), appearance(np.roll(image, 3, axis=1))
    right, wrong = np.zeros((96, 160, 2), np.float32), np.zeros((96, 160, 2), np.float32)
    right[..., 0] = 3
    inner = (slice(10, -10), slice(10, -10))
    assert match_cost(*looks, right, 7)[inner].max() < 0.5
    assert np.median(match_cost(*looks, wrong, 7)[inner]) > 10


def test_exposure_is_matched_only_where_it_jumped():
    image, config = textured(2), ContinuityConfig()
    darker = (image * 0.6 + 10).astype(np.uint8)
    assert np.abs(match_exposure(image, darker, config).astype(int) - image).mean() < 2
    nearly = np.clip(image.astype(int) + 2, 0, 255).astype(np.uint8)
    assert match_exposure(image, nearly, config) is nearly
    assert shows_nothing(np.zeros_like(image), config)
    assert shows_nothing(np.full_like(image, 255), config)
    assert not shows_nothing(image, config)


def test_the_hood_is_what_stays_at_the_lower_edge():
    flow, expected = np.full((60, 100, 2), 4, np.float32), np.full((60, 100, 2), 5, np.float32)
    flow[50:, 20:80] = 0.1
    flow[20:25, 40:50] = 0.1  # a car ahead is still as well, but not at the edge
    finder = HoodFinder((60, 100), HoodConfig())
    for _ in range(4):
        finder.add(flow, expected)
    assert not finder.mask().any()  # too few pairs
    finder.add(flow, expected)
    hood = finder.mask()
    assert hood[52:, 22:78].all()
    assert not hood[:45].any()
    assert not hood[:, :15].any()


def test_measurements_are_fused_by_their_weight_and_holes_lie_on_the_ground():
    config = DepthConfig()
    ground = np.zeros((60, 80), np.float32)
    ground[30:] = np.linspace(0.01, 0.5, 30)[:, None]
    one = Measured(np.full((60, 80), 0.2, np.float32), np.full((60, 80), 1e4, np.float32))
    two = Measured(np.full((60, 80), 0.3, np.float32), np.full((60, 80), 3e4, np.float32))
    np.testing.assert_allclose(fuse([one, two]).inverse_depth, 0.275, rtol=1e-5)
    nothing = Measured(np.zeros((60, 80), np.float32), np.zeros((60, 80), np.float32))
    dense = dense_inverse_depth(nothing, ground, config)
    np.testing.assert_allclose(dense, np.maximum(ground, 1 / config.max_heights), rtol=1e-5)


def test_what_moves_stands_on_the_ground():
    ground = np.zeros((20, 30), np.float32)
    ground[10:] = np.linspace(0.05, 0.5, 10)[:, None]
    regions = np.zeros((20, 30), np.int32)
    regions[5:15, 3:9] = 1
    regions[12:20, 15:25] = 2  # its wheels are outside of the image: nothing is known
    depth = stand_on_ground(np.full((20, 30), 0.02, np.float32), regions, ground)
    np.testing.assert_allclose(depth[5:15, 3:9], ground[14, 5])
    np.testing.assert_allclose(depth[12:20, 15:25], 0.02)


def test_the_scale_comes_from_height_or_speed_or_nothing():
    assert metres_per_height(DepthConfig(camera_height_m=1.6), [], [], [], 9.0) == (1.6, "height")
    # 5 m/s for 0.1 s is 0.5 m; the camera is 3 of these steps high
    scale, source = metres_per_height(DepthConfig(), [5.0, 5.0, 0.0], [0.1] * 3, [3.0, 3.0, np.nan], 9.0)
    assert (scale, source) == (pytest.approx(1.5), "speed")
    assert metres_per_height(DepthConfig(typical_m=15.0), [], [], [], 10.0) == (1.5, "typical")


def test_light_hides_what_is_beside_it_but_a_glint_hides_only_itself():
    rgb = np.full((120, 500, 3), 90, np.uint8)
    rgb[:40, :100] = 255  # sky: the rim is 3 px
    rgb[80:83, 300:303] = 255  # a glint
    hidden = blown_out(rgb)
    assert hidden[:43, :103].all()
    assert hidden.sum() == 43 * 103 + 9
