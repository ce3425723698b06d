"""Frames far away in time: chained views, and what they show that near ones do not."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from videocups.cues.classical import iter_frames, survey
from videocups.cues.classical_config import QUALITY, THOROUGH
from videocups.cues.ego_motion import UNKNOWN, EgoMotion
from videocups.cues.epipolar import pixel_rays
from videocups.cues.far_view import far_view, with_own_ground
from videocups.cues.flow import FlowPair, lands_inside, warp
from videocups.cues.frame_cues import look_at_frame
from videocups.cues.frame_in_time import FrameInTime, Neighbour, frame_in_time
from videocups.cues.frame_pair import FramePair, View
from videocups.cues.ground_plane import Ground, GroundConfig

CAMERA_M = 1.5
STEPS_M = (0.5, 0.8, 0.3)  # a vehicle that does not keep its speed


def step_view(road, rotation, way_m, wall_m):
    """See the next frame after a turn and some way ahead, from ``wall_m`` before the wall."""
    translation = rotation @ np.array([0.0, 0.0, -way_m])
    flow = road.exact_flow(np.minimum(road.depth, wall_m), rotation, translation)
    motion = EgoMotion(rotation, translation / way_m, "moving", 1.0)
    return View(flow, lands_inside(flow), motion, Ground(np.array([0.0, way_m / CAMERA_M, 0.0]), 1.0))


@pytest.fixture(scope="module")
def drive(road):
    """Three views one after the other, and that from the first to the last."""
    steps, left = [], 30.0
    for way in STEPS_M:
        steps.append(step_view(road, np.eye(3), way, left))
        left -= way
    return steps, step_view(road, np.eye(3), sum(STEPS_M), 30.0)


def test_chained_steps_are_the_long_step(drive):
    steps, whole = drive
    found = far_view(steps)
    assert found is not None
    np.testing.assert_allclose(found.motion.rotation, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(found.motion.direction, (0, 0, -1), atol=1e-12)
    assert found.ground.camera_height == pytest.approx(CAMERA_M / sum(STEPS_M))
    seen = found.visible
    assert seen.sum() > 0.93 * whole.visible.sum()
    assert (seen & ~whole.visible).mean() < 0.01  # rounding at the edge
    assert np.abs(found.flow_px - whole.flow_px)[seen].max() < 0.3  # steps are read between pixels


def test_turns_add_up(road):
    turn = road.turn(0, 2, 0)
    found = far_view([step_view(road, turn, 0.5, 30.0), step_view(road, turn, 0.5, 29.5)])
    np.testing.assert_allclose(found.motion.rotation, turn @ turn, atol=1e-12)
    way = turn @ turn @ np.array([0, 0, -0.5]) + turn @ np.array([0, 0, -0.5])
    np.testing.assert_allclose(found.motion.direction, way / np.linalg.norm(way), atol=1e-12)


def test_a_step_that_stands_adds_nothing_and_an_unknown_one_ends_it(drive):
    first, second, _ = drive[0]
    still = EgoMotion(np.eye(3), np.zeros(3), "standing", 1.0)
    stop = View(np.zeros_like(first.flow_px), np.ones_like(first.visible), still, None)
    found = far_view([first, stop])
    np.testing.assert_array_equal(found.flow_px, first.flow_px)
    assert found.ground.camera_height == pytest.approx(first.ground.camera_height)
    assert far_view([stop, stop]).motion.kind == "standing"
    assert far_view([first, replace(second, motion=UNKNOWN)]) is None


def test_a_pixel_is_seen_only_where_every_step_shows_it(drive):
    first, second, third = drive[0]
    hidden = second.visible.copy()
    hidden[60:70, 40:120] = False
    seen = far_view([first, replace(second, visible=hidden), third]).visible
    whole = far_view(drive[0]).visible
    lost = whole & ~seen
    assert lost.sum() > 300
    assert warp((~hidden).astype(np.float32), first.flow_px)[lost].min() > 0


def test_a_ground_that_drifted_is_fitted_anew(road, drive):
    found = far_view(drive[0])
    drifted = replace(found, ground=Ground(found.ground.normal * 1.15, 1.0))
    hood = np.zeros(found.visible.shape, bool)
    settled = with_own_ground(drifted, hood, pixel_rays(road.camera), road.camera, GroundConfig())
    assert settled.ground.camera_height == pytest.approx(CAMERA_M / sum(STEPS_M), rel=0.02)
    nowhere = replace(drifted, visible=hood)
    assert with_own_ground(nowhere, hood, pixel_rays(road.camera), road.camera, GroundConfig()).ground is drifted.ground


def test_neighbours_are_those_whose_steps_are_all_known(drive):
    steps, _ = drive
    flow = FlowPair(steps[0].flow_px, -steps[0].flow_px, steps[0].visible, steps[0].visible)
    pair = FramePair(flow, steps[0].motion, steps[0].ground)
    images = {number: np.full((96, 160, 3), number, np.uint8) for number in range(7)}
    ground = np.zeros((96, 160), np.float32)

    def around(missing: int) -> FrameInTime:
        pairs = {number: pair for number in range(6) if number != missing}
        return frame_in_time(3, images, pairs, 3, ground)

    def shown(neighbours: tuple[Neighbour, ...]) -> list[int]:
        return [int(one.rgb[0, 0, 0]) for one in neighbours]

    assert (shown(around(-1).near), shown(around(-1).far)) == ([4, 2], [6, 0])
    assert (shown(around(4).near), shown(around(4).far)) == ([4, 2], [0])
    assert (shown(around(2).near), shown(around(2).far)) == ([4], [6])
    assert around(3).pair is None
    assert frame_in_time(3, images, {2: pair, 3: pair}, 0, ground).far == ()


def slow_walker(road, frames: int, step_px: float):
    """Return images before a standing camera with a thing that creeps sideways."""
    rng = np.random.default_rng(0)
    still, thing = (cv2.GaussianBlur(rng.integers(0, 255, (96, 160, 3)).astype(np.uint8), (0, 0), 2) for _ in range(2))
    images = []
    for number in range(frames):
        shift = np.array([[1, 0, number * step_px], [0, 1, 0]])
        mask = np.zeros((96, 160), np.float32)
        mask[50:78, 70:90] = 1
        moved, mask = (cv2.warpAffine(field, shift, (160, 96)) for field in (thing, mask))
        images.append(np.where(mask[..., None] > 0.5, moved, still).astype(np.uint8))
    return images


def test_what_creeps_shows_over_a_longer_time_and_nothing_else_does(road):
    images = slow_walker(road, 11, 0.3)
    geometry = survey(images.__getitem__, 11, road.camera, QUALITY)
    rays, shares = pixel_rays(road.camera), {}
    for name, config in (("near", QUALITY), ("far", replace(THOROUGH, caution=1.0))):
        frames = list(iter_frames(images.__getitem__, 11, road.camera, geometry, config))
        assert len(frames) == 11
        look = look_at_frame(frames[5], geometry.hood, rays, road.camera, config)
        moves = look.motion > 0.15
        inside = np.zeros_like(moves)
        inside[50:78, 74:90] = True
        shares[name] = moves[inside].mean(), moves[:, :60].mean()
    assert shares["near"][0] < 0.2
    assert shares["far"][0] > 0.7
    assert shares["far"][1] < 0.01


def test_less_caution_expects_smaller_errors_everywhere():
    bold = replace(QUALITY, caution=0.5).expecting()
    assert QUALITY.expecting() is QUALITY
    assert bold.static.noise_px == 0.5 * QUALITY.static.noise_px
    assert bold.static.standing_noise_px == 0.5 * QUALITY.static.standing_noise_px
    assert 1 < bold.static.doubt_from < QUALITY.static.doubt_from
    assert bold.known.least_error == 0.5 * QUALITY.known.least_error
    assert bold.expecting() is bold  # once
