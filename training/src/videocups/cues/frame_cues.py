"""Depth and motion of one frame from its neighbours in time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from videocups.cues.classical_config import ClassicalConfig
from videocups.cues.clip_geometry import Habit
from videocups.cues.continuity import match_exposure
from videocups.cues.depth import Measured, dense_inverse_depth, fuse, ground_in_heights, measure
from videocups.cues.floating import floating_surprise
from videocups.cues.flow import FloatMap
from videocups.cues.frame_pair import FramePair, View
from videocups.cues.motion import (
    agree_on_floating,
    combine_neighbours,
    hint,
    motion_probability,
    raise_floating,
    smooth,
)
from videocups.cues.photometric import appearance
from videocups.cues.static_world import StaticTest, static_surprise
from videocups_core.types import CameraModel

BLOWN_OUT = 253
"""from this value on in all channels a pixel shows nothing: sky against the light moves as its edges seem to."""

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class FrameCues:
    """The cues of one frame, (H, W) each.

    ``known``: False where no neighbour could be compared: nothing is said of motion then, which is not "no motion".
    ``flow_px`` (H, W, 2): to the next frame; at the end of a clip or before a cut, the reverse of that to the last.
    ``rest_px`` (H, W, 2): ``flow_px`` without what the camera's motion and the depth explain.
    ``depth_heights``: in camera heights. ``motion``: probability in [0, 1].
    ``ground``: inverse depth of the ground in 1/camera heights, 0 above its horizon or where it is not known.
    ``may_move``: visible and not the ground itself. ``pair``: to the next frame, None at the end.
    """

    index: int
    known: bool
    flow_px: FloatMap
    rest_px: FloatMap
    depth_heights: FloatMap
    motion: FloatMap
    ground: FloatMap
    may_move: Mask
    pair: FramePair | None
    held_inverse_depth: FloatMap | None


def cues_of_frame(
    index: int,
    rgb: Image,
    before: tuple[Image, FramePair] | None,
    after: tuple[Image, FramePair] | None,
    habit: Habit,
    hood: Mask,
    held: FloatMap | None,
    rays: FloatMap,
    camera: CameraModel,
    config: ClassicalConfig,
) -> FrameCues:
    """Compute the cues of a frame; ``before`` and ``after``: the neighbours' images and pairs.

    ``held``: inverse depth kept from the last frame; a standing camera sees the static world at the same depth.
    """
    neighbours: list[tuple[Image, View]] = []
    if after is not None and after[1].motion.kind != "unknown":
        neighbours.append((after[0], after[1].from_first()))
    if before is not None and before[1].motion.kind != "unknown":
        neighbours.append((before[0], before[1].from_second()))
    pair = None if after is None else after[1]
    ground = np.zeros(rays.shape[:2], np.float32) if habit.normal is None else ground_in_heights(habit.normal, rays)
    if not neighbours:
        depth = np.float32(1) / dense_inverse_depth(_nothing(ground), ground, config.depth, held)
        still = np.zeros((*ground.shape, 2), np.float32)
        nothing = np.zeros_like(ground)
        return FrameCues(index, False, still, still, depth, nothing, ground, nothing > 0, pair, held)
    looks = appearance(rgb, config.static.scale)
    tests = [_test(rgb, looks, image, view, rays, camera, config) for image, view in neighbours]
    views = [view for _, view in neighbours]
    nothing_shown = hood | (rgb.min(axis=2) >= BLOWN_OUT)
    motion = motion_probability(_surprise(views, tests, nothing_shown, camera, config))
    inverse, held = _depth(views, tests, ground, held, config)
    flow, static = views[0].flow_px, tests[0].static_flow_px
    if pair is None or pair.motion.kind == "unknown":  # only the last frame shows it: look backwards
        flow, static = -flow, -static
    may_move = views[0].visible & ~tests[0].is_ground & ~nothing_shown
    return FrameCues(index, True, flow, flow - static, np.float32(1) / inverse, motion, ground, may_move, pair, held)


def _test(
    rgb: Image,
    looks: FloatMap,
    neighbour: Image,
    view: View,
    rays: FloatMap,
    camera: CameraModel,
    config: ClassicalConfig,
) -> StaticTest:
    neighbour_looks = appearance(match_exposure(rgb, neighbour, config.continuity), config.static.scale)
    return static_surprise(view, looks, neighbour_looks, rays, camera, config.static)


def _surprise(
    views: Sequence[View],
    tests: Sequence[StaticTest],
    nothing_shown: Mask,
    camera: CameraModel,
    config: ClassicalConfig,
) -> FloatMap:
    surprise = smooth(combine_neighbours([test.surprise for test in tests]), config.motion.median_px)
    if config.floating_test:
        floating = [
            floating_surprise(test.parallax, view.visible, view.ground, test.ground, camera, config.floating)
            for view, test in zip(views, tests, strict=True)
            if test.parallax is not None and view.ground is not None
        ]
        if len(floating) == len(views):
            surprise = raise_floating(surprise, agree_on_floating(floating), config.motion)
    surprise = np.maximum(surprise, hint([test.raw_surprise for test in tests], [view.visible for view in views]))
    return np.where(nothing_shown, 0, surprise).astype(np.float32)


def _depth(
    views: Sequence[View],
    tests: Sequence[StaticTest],
    ground: FloatMap,
    held: FloatMap | None,
    config: ClassicalConfig,
) -> tuple[FloatMap, FloatMap | None]:
    """Return dense inverse depth and what a standing camera may keep of it."""
    measured = [
        measure(test.parallax, view.ground, view.visible & ~(test.raw_surprise > 1.7), config.depth)
        for view, test in zip(views, tests, strict=True)
        if test.parallax is not None
        and view.ground is not None
        and (held is None or view.ground.camera_height < config.depth.max_camera_height)
    ]
    if measured:
        inverse = dense_inverse_depth(fuse(measured), ground, config.depth, held)
        return inverse, inverse
    if held is not None:  # the camera stands or creeps
        return held, held
    return dense_inverse_depth(_nothing(ground), ground, config.depth, held), held


def _nothing(ground: FloatMap) -> Measured:
    return Measured(np.zeros_like(ground), np.zeros_like(ground))
