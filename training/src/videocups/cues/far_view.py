"""A frame several frames away, seen through those between.

What moves by itself gets ahead of a static world by as much again with every frame, while the errors of flow, which
has been estimated from frame to frame, partly cancel. So slow and small things show over a longer time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from videocups.cues.ego_motion import EgoMotion
from videocups.cues.flow import FloatMap, warp, warp_labels
from videocups.cues.frame_pair import View
from videocups.cues.ground_plane import Ground, GroundConfig, ground_of_flow
from videocups_core.types import CameraModel


def far_view(steps: Sequence[View]) -> View | None:
    """Chain views from a frame to its neighbour, from that to the next, and so on; None where one step is unknown.

    A pixel is visible where every step shows it. Lengths of the result are in translations from the first to the last.
    """
    if any(step.motion.kind == "unknown" for step in steps):
        return None
    flow, seen = steps[0].flow_px, steps[0].visible
    for step in steps[1:]:
        seen = seen & (warp_labels(step.visible.astype(np.int32), flow) > 0)
        flow = flow + warp(step.flow_px, flow)
    motion, heights = _chained_motion(steps)
    ground = steps[0].ground
    if ground is not None and motion.kind == "moving":
        ground = Ground(ground.normal * ground.camera_height * heights, ground.share)
    return View(flow, seen, motion, ground if motion.kind == "moving" else None)


def with_own_ground(
    view: View, hood: NDArray[np.bool_], rays: FloatMap, camera: CameraModel, config: GroundConfig
) -> View:
    """Fit the ground anew where the far frame shows it: errors of single steps' heights add up, and all road moves."""
    found = ground_of_flow(view.flow_px, view.visible & ~hood, view.motion, rays, camera, config)
    return view if found is None else replace(view, ground=found)


def _chained_motion(steps: Sequence[View]) -> tuple[EgoMotion, float]:
    """Return the motion over all steps and its length in camera heights; without a ground all steps are alike long."""
    known = [1 / step.ground.camera_height for step in steps if step.ground is not None]
    usual = float(np.median(known)) if known else 1.0
    rotation, way = np.eye(3), np.zeros(3)
    for step in steps:
        heights = usual if step.ground is None else 1 / step.ground.camera_height
        own = heights * step.motion.direction if step.motion.kind == "moving" else np.zeros(3)
        rotation, way = step.motion.rotation @ rotation, step.motion.rotation @ way + own
    length, support = float(np.linalg.norm(way)), min(step.motion.support for step in steps)
    if length == 0:
        return EgoMotion(rotation, way, "standing", support), 0.0
    return EgoMotion(rotation, way / length, "moving", support), length
