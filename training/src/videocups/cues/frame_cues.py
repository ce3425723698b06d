"""Depth and motion of one frame from its neighbours in time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from videocups.cues.classical_config import ClassicalConfig
from videocups.cues.clip_geometry import Habit
from videocups.cues.depth import DepthConfig, Measured, fuse, ground_in_heights, measure
from videocups.cues.far_view import with_own_ground
from videocups.cues.flow import FloatMap
from videocups.cues.frame_in_time import FrameInTime
from videocups.cues.frame_pair import FramePair, View
from videocups.cues.known_depth import KnownDepth
from videocups.cues.motion import motion_probability
from videocups.cues.static_world import StaticTest
from videocups.cues.surprise import against_neighbours
from videocups_core.types import CameraModel

BLOWN_OUT, HALO_SHARE = 253, 0.006
"""from this value on in all channels a pixel shows nothing, and light spills over a rim of this share of the width."""
LEVEL = np.array([0.0, 1.0, 0.0])
"""normal of the ground below a camera that is mounted level"""
FAR_ERRORS = 4 / 3
"""of a chain of steps, in errors expected of one step that is as long"""

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
    ``held``: what ``remember`` keeps for the next frame.
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
    held: Measured | None


@dataclass(frozen=True)
class FrameLook:
    """What a frame and its neighbours tell, without any memory of earlier frames; fields as in ``FrameCues``.

    ``measured``: parallax towards all neighbours to which the camera moves; ``steady``: without those to which it only
    crept, None where no other is left. Both None where nothing was measured.
    """

    index: int
    known: bool
    flow_px: FloatMap
    rest_px: FloatMap
    motion: FloatMap
    may_move: Mask
    pair: FramePair | None
    measured: Measured | None
    steady: Measured | None


def cues_of_look(look: FrameLook, inverse_depth: FloatMap, ground: FloatMap, held: Measured | None) -> FrameCues:
    """Return the cues of a frame with its dense inverse depth and what the next frame may know of it."""
    depth = np.float32(1) / inverse_depth
    told = look.flow_px, look.rest_px, depth, look.motion, ground, look.may_move, look.pair
    return FrameCues(look.index, look.known, *told, held)


def look_at_frame(
    frame: FrameInTime,
    hood: Mask,
    rays: FloatMap,
    camera: CameraModel,
    config: ClassicalConfig,
    known: KnownDepth | None = None,
) -> FrameLook:
    """Hold a frame against its neighbours: what moves, and the parallax of what stands.

    ``known``: depth from elsewhere that is right on what moves, too.
    """
    if not frame.near:
        still, nothing = np.zeros((*rays.shape[:2], 2), np.float32), np.zeros(rays.shape[:2], np.float32)
        return FrameLook(frame.index, False, still, still, nothing, nothing > 0, frame.pair, None, None)
    surprise, tests = against_neighbours(frame.rgb, frame.near, rays, camera, config, known)
    if frame.far:
        far = [replace(one, view=with_own_ground(one.view, hood, rays, camera, config.ground)) for one in frame.far]
        cautious = replace(config, caution=FAR_ERRORS * config.caution)
        surprise = np.maximum(surprise, against_neighbours(frame.rgb, far, rays, camera, cautious, known)[0])
    nothing_shown = hood | blown_out(frame.rgb)
    motion = motion_probability(np.where(nothing_shown, 0, surprise).astype(np.float32))
    views = [neighbour.view for neighbour in frame.near]
    flow, static = views[0].flow_px, tests[0].static_flow_px
    if frame.pair is None or frame.pair.motion.kind == "unknown":  # only the last frame shows it: look backwards
        flow, static = -flow, -static
    may_move = views[0].visible & ~tests[0].is_ground & ~nothing_shown
    parallax = _parallax(views, tests, config.depth)
    return FrameLook(frame.index, True, flow, flow - static, motion, may_move, frame.pair, *parallax)


def ground_of_habit(habit: Habit, rays: FloatMap) -> FloatMap:
    """Return inverse depth of the ground in 1/camera heights, 0 above its horizon or where it is not known."""
    return np.zeros(rays.shape[:2], np.float32) if habit.normal is None else ground_in_heights(habit.normal, rays)


def ground_or_level(ground: FloatMap, rays: FloatMap) -> FloatMap:
    """Return the ground, or that below a level camera where none is known."""
    return ground if ground.any() else ground_in_heights(LEVEL, rays)


def blown_out(rgb: Image) -> Mask:
    """Return (H, W): areas against the light and the rim that they outshine; glints and thin lines are none."""
    white = (rgb.min(axis=2) >= BLOWN_OUT).astype(np.uint8)
    areas = cv2.morphologyEx(white, cv2.MORPH_OPEN, np.ones((5, 5), np.uint8))
    rim = 2 * round(HALO_SHARE * rgb.shape[1]) + 1
    hidden: Mask = (cv2.dilate(areas, np.ones((rim, rim), np.uint8)) | white) > 0
    return hidden


def _parallax(
    views: Sequence[View], tests: Sequence[StaticTest], config: DepthConfig
) -> tuple[Measured | None, Measured | None]:
    """Return what neighbours measured to which the camera moved at all, and to which it moved enough; None if none."""
    measured = [
        (measure(test.parallax, view.ground, view.visible & ~(test.raw_surprise > 1.7), config), view.ground)
        for view, test in zip(views, tests, strict=True)
        if test.parallax is not None and view.ground is not None and view.ground.camera_height < config.standing_height
    ]
    steady = [one for one, ground in measured if ground.camera_height < config.max_camera_height]
    every = fuse([one for one, _ in measured]) if measured else None
    if len(steady) == len(measured):
        return every, every
    return every, fuse(steady) if steady else None
