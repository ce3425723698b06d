"""What a whole clip knows of its camera: the ground's normal and the direction it drives in, pair by pair.

A first, cheap look at all pairs finds motion and ground where they show. A second look at each pair then has its
neighbours' knowledge: a creeping or waiting vehicle still knows where ahead is and how its camera is mounted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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
from videocups.cues.ground_plane import Ground, GroundConfig, ground_of_flow, steady_grounds
from videocups_core.types import CameraModel

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
    """Find motion and ground from one pair's flow alone."""
    motion = estimate_ego_motion(flow, camera, ego, ignore)
    pair = PairGeometry(motion, _ground_of(flow, motion, rays, camera, ground, ignore, None))
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
    sure = np.array([pair.ground is not None and pair.ground.share > 0.5 for pair in pairs], bool)
    directions = np.array([pair.motion.direction for pair in pairs]).reshape(-1, 3)
    found = []
    for index, normal in enumerate(normals):
        near = np.zeros(len(pairs), bool)
        near[max(0, index - config.window) : index + config.window + 1] = True
        chosen = directions[near & sure] if (near & sure).any() else directions[sure]
        axis = np.median(chosen, axis=0) if len(chosen) else None
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

    A stand that only part of the image shows is corrected to creeping where the ground moves as that would move it.
    """
    if habit.normal is None or habit.axis is None:
        return pair
    if pair.motion.kind == "standing":
        return _creeping(habit, flow, rays, camera, ego, ground, ignore) or pair if _doubtful(pair, ego) else pair
    odd = pair.motion.kind == "moving" and float(pair.motion.direction @ habit.axis) < np.cos(
        np.radians(ego.max_odd_deg)
    )
    if pair.ground is not None and not odd:
        return pair
    usual = along_axis(habit.axis, flow, camera, ego, ignore)
    if usual.support < ego.min_support:
        return pair
    there = _ground_of(flow, usual, rays, camera, ground, ignore, habit.normal)
    known = 0.0 if pair.ground is None else pair.ground.share
    return PairGeometry(usual, there) if there is not None and there.share >= 0.9 * known else pair


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
    shown = static_flow_px(there.inverse_depth(rays), usual.rotation, usual.direction, camera)
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
