"""What a whole clip knows of its camera: the ground's normal and the direction it drives in, pair by pair.

A first, cheap look at all pairs finds motion and ground where they show. A second look at each pair then has its
neighbours' knowledge: a creeping or waiting vehicle still knows where ahead is and how its camera is mounted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from videocups.cues.ego_motion import (
    UNKNOWN,
    EgoMotion,
    EgoMotionConfig,
    along_axis,
    estimate_ego_motion,
    other_motions,
)
from videocups.cues.epipolar import Matrix, static_flow_px
from videocups.cues.flow import FloatMap, FlowPair
from videocups.cues.ground_plane import Ground, GroundConfig, clearness, ground_of_flow, steady_grounds, weighted_median
from videocups_core.types import CameraModel

SURE_SHARE = 0.5
"""a ground that so many voters share is beyond doubt"""
CREEPING_SHARE, ROAD_SHARE = 0.5, 0.4
"""a creeping vehicle's ground holds this share of its voters, and moves visibly in this lowest share of the image."""


@dataclass(frozen=True)
class PairGeometry:
    """Motion of the camera from a frame to the next and the ground in the first camera, where it was found."""

    motion: EgoMotion
    ground: Ground | None


@dataclass(frozen=True)
class Habit:
    """What is usual around a pair: unit ``normal`` of the ground and unit ``axis`` of driving, None where unknown."""

    normal: Matrix | None
    axis: Matrix | None


def look_at_pair(
    flow: FlowPair,
    rays: FloatMap,
    camera: CameraModel,
    ego: EgoMotionConfig,
    ground: GroundConfig,
    ignore: NDArray[np.bool_] | None = None,
) -> PairGeometry:
    """Find motion and ground from one pair's flow alone.

    Epipolar lines are the same forwards and backwards. Which of both is true the ground tells better than a vote of all
    pixels, that a lorry which passes may win.
    """
    motion = estimate_ego_motion(flow, camera, ego, ignore)
    pair = PairGeometry(motion, _ground_of(flow, motion, rays, camera, ground, ignore, None))
    if motion.kind == "moving" and _share(pair) < SURE_SHARE:
        other_way = replace(motion, direction=-motion.direction)
        there = PairGeometry(other_way, _ground_of(flow, other_way, rays, camera, ground, ignore, None))
        pair = max(pair, there, key=_share)
    if pair.ground is not None or motion.kind == "standing":
        return pair
    for other in other_motions(motion, flow, camera, ego, ignore):
        below = _ground_of(flow, other, rays, camera, ground, ignore, None)
        if below is not None or other.kind == "standing":
            return PairGeometry(other, below)
    return pair


def habits(pairs: Sequence[PairGeometry], config: GroundConfig) -> list[Habit]:
    """Return what the neighbours in time of each pair agree on."""
    normals = steady_grounds([pair.ground for pair in pairs], config)
    trust = np.array([clearness(pair.ground, config) if _share(pair) > SURE_SHARE else 0.0 for pair in pairs])
    directions = np.array([pair.motion.direction for pair in pairs]).reshape(-1, 3)
    found = []
    for index, normal in enumerate(normals):
        near = slice(max(0, index - config.window), index + config.window + 1)
        chosen = near if trust[near].any() else slice(None)
        axis = weighted_median(directions[chosen], trust[chosen]) if trust.any() else None
        found.append(Habit(normal, None if axis is None else axis / np.linalg.norm(axis)))
    return found


def settle_pair(
    pair: PairGeometry,
    habit: Habit,
    flow: FlowPair,
    rays: FloatMap,
    camera: CameraModel,
    ego: EgoMotionConfig,
    ground: GroundConfig,
    ignore: NDArray[np.bool_] | None = None,
) -> PairGeometry:
    """Correct a pair without ground or with an odd direction by what is usual around it, where that explains it.

    Nothing but a ground makes a vehicle go backwards between pairs that go ahead.

    A stand that only part of the image shows is corrected to creeping where the ground moves as that would move it.
    """
    if habit.normal is None or habit.axis is None:
        return pair
    if pair.motion.kind == "standing":
        return _creeping(habit, flow, rays, camera, ego, ground, ignore) or pair if _doubtful(pair, ego) else pair
    usually = np.cos(np.radians(ego.max_odd_deg))
    odd = pair.motion.kind == "moving" and float(pair.motion.direction @ habit.axis) < usually
    if pair.ground is not None and not odd:
        return pair
    usual = along_axis(habit.axis, flow, camera, ego, ignore)
    if usual.support < ego.min_support:
        return pair
    below = _ground_of(flow, usual, rays, camera, ground, ignore, habit.normal)
    there = PairGeometry(usual, below or _ground_of(flow, usual, rays, camera, ground, ignore, None))
    clearer = _trust(there, ground) >= 0.9 * _trust(pair, ground)
    if there.ground is not None and (clearer or _share(there) >= 0.9 * _share(pair)):
        return there
    backwards = pair.motion.kind == "moving" and float(pair.motion.direction @ habit.axis) < -usually
    return there if pair.ground is None and backwards else pair


def _share(pair: PairGeometry) -> float:
    return 0.0 if pair.ground is None else pair.ground.share


def _trust(pair: PairGeometry, config: GroundConfig) -> float:
    return _share(pair) * clearness(pair.ground, config)


def _doubtful(pair: PairGeometry, ego: EgoMotionConfig) -> bool:
    return pair.motion.support <= ego.still_share


def _creeping(
    habit: Habit,
    flow: FlowPair,
    rays: FloatMap,
    camera: CameraModel,
    ego: EgoMotionConfig,
    ground: GroundConfig,
    ignore: NDArray[np.bool_] | None,
) -> PairGeometry | None:
    """Return slow motion along the usual axis, if most of the road moves by it and more than a stand allows."""
    assert habit.axis is not None
    usual = along_axis(habit.axis, flow, camera, ego, ignore)
    there = _ground_of(flow, usual, rays, camera, ground, ignore, habit.normal)
    if there is None or there.share < CREEPING_SHARE:
        return None
    below = there.inverse_depth(rays)
    turn = static_flow_px(np.zeros_like(below), usual.rotation, usual.direction, camera)
    shown = static_flow_px(below, usual.rotation, usual.direction, camera) - turn
    road = shown[round((1 - ROAD_SHARE) * len(shown)) :]
    return PairGeometry(usual, there) if np.median(np.hypot(road[..., 0], road[..., 1])) > ego.still_px else None


def refit_pair(
    pair: PairGeometry,
    motion: EgoMotion,
    flow: FlowPair,
    rays: FloatMap,
    camera: CameraModel,
    ground: GroundConfig,
    ignore: NDArray[np.bool_] | None = None,
) -> PairGeometry:
    """Return the pair with a better motion, and the ground fitted anew with it."""
    return PairGeometry(motion, _ground_of(flow, motion, rays, camera, ground, ignore, None) or pair.ground)


def no_pair() -> PairGeometry:
    """Return the geometry of two frames that do not belong together."""
    return PairGeometry(UNKNOWN, None)


def _ground_of(
    flow: FlowPair,
    motion: EgoMotion,
    rays: FloatMap,
    camera: CameraModel,
    config: GroundConfig,
    ignore: NDArray[np.bool_] | None,
    normal: Matrix | None,
) -> Ground | None:
    usable = flow.visible_forward if ignore is None else flow.visible_forward & ~ignore
    return ground_of_flow(flow.forward_px, usable, motion, rays, camera, config, normal)
