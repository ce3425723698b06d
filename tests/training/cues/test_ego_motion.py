from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from videocups.cues.clip_geometry import Habit, PairGeometry, habits, look_at_pair, settle_pair
from videocups.cues.ego_motion import EgoMotion, EgoMotionConfig, along_axis, estimate_ego_motion, refine_ego_motion
from videocups.cues.epipolar import pixel_rays
from videocups.cues.flow import FlowPair
from videocups.cues.ground_plane import Ground, GroundConfig

CONFIG = EgoMotionConfig(samples=3000)


def degrees_between(first, second):
    return np.degrees(np.arccos(np.clip(first @ second, -1, 1)))


def rotation_error_deg(first, second):
    return np.degrees(np.arccos(np.clip((np.trace(first.T @ second) - 1) / 2, -1, 1)))


@pytest.mark.parametrize("way", [(0.0, 0.0, -0.8), (0.1, 0.02, -0.6), (-0.2, 0.0, -0.3), (0.0, 0.0, 0.5)])
@pytest.mark.parametrize("turn", [(0.0, 0.0, 0.0), (0.3, -0.9, 0.1)])
def test_motion_is_found_from_noisy_flow(road, way, turn):
    rotation, translation = road.turn(*turn), np.array(way)
    motion = estimate_ego_motion(road.exact_pair(rotation, translation, noise_px=0.1), road.camera, CONFIG)
    assert motion.kind == "moving"
    assert rotation_error_deg(motion.rotation, rotation) < 0.05
    assert degrees_between(motion.direction, translation / np.linalg.norm(translation)) < 3.0


def test_a_mover_over_a_third_of_the_image_does_not_change_the_answer(road):
    translation = np.array([0.0, 0.0, -0.8])
    pair = road.exact_pair(np.eye(3), translation)
    for flow in (pair.forward_px, pair.backward_px):
        flow[20:70, 40:130] += (4.0, 0.0)
    motion = estimate_ego_motion(pair, road.camera, CONFIG)
    assert degrees_between(motion.direction, np.array([0.0, 0.0, -1.0])) < 1.0


@pytest.mark.parametrize("turn", [(0.0, 0.0, 0.0), (0.2, 0.8, -0.1)])
def test_a_camera_that_only_turns_has_no_direction(road, turn):
    motion = estimate_ego_motion(road.exact_pair(road.turn(*turn), np.zeros(3), noise_px=0.05), road.camera, CONFIG)
    assert motion.kind == "standing"
    assert not motion.direction.any()
    assert rotation_error_deg(motion.rotation, road.turn(*turn)) < 0.02


def test_a_standing_vehicle_with_traffic_in_front_still_stands(road):
    pair = road.exact_pair(np.eye(3), np.zeros(3))
    for flow in (pair.forward_px, pair.backward_px):
        flow[25:55, 20:80] += (6.0, 0.0)
    assert estimate_ego_motion(pair, road.camera, CONFIG).kind == "standing"


def test_a_plane_alone_is_enough(road):
    """A road that fills the image is planar: two motions explain it, the robust fit must take the true one."""
    translation = np.array([0.0, 0.0, -0.8])
    pair = road.exact_pair(np.eye(3), translation)
    hidden = np.zeros((96, 160), bool)
    hidden[:46] = True
    motion = estimate_ego_motion(pair, road.camera, CONFIG, ignore=hidden)
    assert motion.kind == "moving"
    assert degrees_between(motion.direction, np.array([0.0, 0.0, -1.0])) < 5.0


def test_nothing_seen_in_both_frames_is_unknown(road):
    pair = road.exact_pair(np.eye(3), np.array([0.0, 0.0, -0.8]))
    nowhere = np.zeros((96, 160), bool)
    blind = FlowPair(pair.forward_px, pair.backward_px, nowhere, nowhere)
    assert estimate_ego_motion(blind, road.camera, CONFIG).kind == "unknown"


def test_creeping_along_a_known_axis_gives_the_turn(road):
    translation = np.array([0.0, 0.0, -0.05])
    rotation = road.turn(0.05, 0.2, 0.0)
    pair = road.exact_pair(rotation, translation, noise_px=0.05)
    motion = along_axis(np.array([0.0, 0.0, -1.0]), pair, road.camera, CONFIG)
    assert rotation_error_deg(motion.rotation, rotation) < 0.02
    assert motion.direction.tolist() == [0.0, 0.0, -1.0]


def test_refinement_repairs_a_rough_motion_and_reversing_undoes_it(road):
    translation = np.array([0.1, 0.0, -0.8])
    pair = road.exact_pair(road.turn(0.0, 0.5, 0.0), translation)
    exact = estimate_ego_motion(pair, road.camera, CONFIG)
    rough = replace(exact, rotation=road.turn(0.1, 0.1, 0.0) @ exact.rotation)
    again = refine_ego_motion(rough, pair, road.camera, CONFIG)
    assert rotation_error_deg(again.rotation, exact.rotation) < 0.01
    back = exact.reversed()
    point = np.array([1.0, 2.0, 9.0])
    there = exact.rotation @ point + exact.direction
    np.testing.assert_allclose(back.rotation @ there + back.direction, point, atol=1e-9)


@pytest.mark.parametrize(
    ("step_m", "support", "kind"), [(0.1, 0.6, "moving"), (0.0, 0.6, "standing"), (0.1, 0.9, "standing")]
)
def test_a_stand_behind_traffic_may_be_creeping(road, step_m, support, kind):
    """Only where part of the image stands is it asked whether the road moves after all."""
    pair = road.exact_pair(np.eye(3), np.array([0.0, 0.0, -step_m]), noise_px=0.03)
    standing = PairGeometry(EgoMotion(np.eye(3), np.zeros(3), "standing", support), None)
    usual = Habit(normal=np.array([0.0, 1.0, 0.0]), axis=np.array([0.0, 0.0, -1.0]))
    rays, ground = pixel_rays(road.camera), GroundConfig(min_pixels=100)
    settled = settle_pair(standing, usual, pair, rays, road.camera, CONFIG, ground)
    assert settled.motion.kind == kind
    if kind == "moving":
        assert settled.ground.camera_height == pytest.approx(1.5 / step_m, rel=0.05)


def beside_a_lorry(road):
    """The vehicle drives ahead on a road; a lorry that overtakes it fills the image above the near road."""
    pair = road.exact_pair(np.eye(3), np.array([0.0, 0.0, -0.3]), noise_px=0.03)
    overtaking = road.exact_pair(np.eye(3), np.array([0.0, 0.0, 0.6]), noise_px=0.03)
    for flow, other in ((pair.forward_px, overtaking.forward_px), (pair.backward_px, overtaking.backward_px)):
        flow[:48] = 2 * other[:48]
    return pair


def test_a_lorry_that_overtakes_does_not_turn_the_vehicle_around(road):
    """Epipolar lines are the same both ways, and most of the flow votes for backwards: only the road tells."""
    pair, ground = beside_a_lorry(road), GroundConfig(min_pixels=100)
    assert estimate_ego_motion(pair, road.camera, CONFIG).direction[2] > 0.9
    found = look_at_pair(pair, pixel_rays(road.camera), road.camera, CONFIG, ground)
    assert found.motion.direction[2] < -0.99
    assert found.ground.camera_height == pytest.approx(1.5 / 0.3, rel=0.1)


def test_without_a_ground_a_vehicle_goes_the_way_it_always_goes(road):
    pair = beside_a_lorry(road)
    pair.forward_px[56:] = 0.5 * pair.forward_px[55:56]  # no road is seen
    pair.backward_px[56:] = 0.5 * pair.backward_px[55:56]
    backwards = PairGeometry(EgoMotion(np.eye(3), np.array([0.0, 0.0, 1.0]), "moving", 0.9), None)
    usual = Habit(normal=np.array([0.0, 1.0, 0.0]), axis=np.array([0.0, 0.0, -1.0]))
    rays, ground = pixel_rays(road.camera), GroundConfig(min_pixels=100, min_share=0.9)
    settled = settle_pair(backwards, usual, pair, rays, road.camera, CONFIG, ground)
    assert settled.motion.direction[2] < -0.99


def test_a_stand_says_nothing_of_the_habits():
    """Before a standing camera noise agrees with any ground, and so do many voters; a few pairs of a drive tell."""
    ahead = EgoMotion(np.eye(3), np.array([0.0, 0.0, -1.0]), "moving", 1.0)
    aside = EgoMotion(np.eye(3), np.array([1.0, 0.0, 0.0]), "moving", 1.0)
    level, leaning = np.array([0.0, 1.0, 0.0]), np.array([-0.14, 0.99, 0.0])
    driven = PairGeometry(ahead, Ground(level / 5.0, 0.6))
    stood = PairGeometry(aside, Ground(leaning / 400.0, 1.0))
    for habit in habits([driven] * 3 + [stood] * 9, GroundConfig()):
        np.testing.assert_allclose(habit.normal, level, atol=1e-6)
        np.testing.assert_allclose(habit.axis, (0, 0, -1), atol=1e-6)
