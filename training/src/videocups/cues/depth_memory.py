"""Depth from frame to frame: a vehicle that creeps adds up what single steps hardly show, one that stands keeps it.

What is kept moves along with the flow, comes nearer as the camera does, and ends where the image shows something else:
a thing that drives off takes its depth with it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from videocups.cues.depth import DepthConfig, Measured, dense_inverse_depth, fuse
from videocups.cues.flow import FloatMap, warp
from videocups.cues.frame_pair import FramePair, View
from videocups.cues.upright import upright

LookBack = Callable[[], View | None]
"""how a frame sees the one before it; None where that is another scene"""


def remember(
    measured: Measured | None,
    steady: Measured | None,
    ground: FloatMap,
    held: Measured | None,
    config: DepthConfig,
    look_back: LookBack | None = None,
) -> tuple[FloatMap, Measured | None]:
    """Return a frame's dense inverse depth and what the next one may know of it.

    ``steady``: parallax towards neighbours to which the camera moved enough; ``measured``: also to those to which it
    crept. ``held``: what the frame before returned. ``look_back`` is asked for only where the camera creeps or stands.
    """
    known = steady
    if known is None:
        behind = None if held is None or look_back is None else look_back()
        parts = [] if measured is None else [measured]
        if held is not None and behind is not None:
            parts.append(carried(held, behind, 1.0 if measured is None else config.fade))
        known = fuse(parts) if parts else None
    standing = upright(known, ground, config, creeps=steady is None)
    return dense_inverse_depth(standing, ground, config), known


def looking_back(pair: FramePair | None) -> LookBack:
    """Return how the second frame of a pair sees the first."""
    return lambda: None if pair is None or pair.motion.kind == "unknown" else pair.from_second()


def carried(held: Measured, behind: View, fade: float) -> Measured:
    """Return what the frame behind knew as this one sees it; it counts ``fade`` times as much as it did there."""
    weight = warp(held.weight, behind.flow_px)
    there = warp(held.weight * held.inverse_depth, behind.flow_px) / np.maximum(weight, np.float32(1e-12))
    ahead = 0.0
    if behind.motion.kind == "moving" and behind.ground is not None:
        ahead = float(behind.motion.direction[2]) / behind.ground.camera_height
    here = there / np.maximum(1 - np.float32(ahead) * there, np.float32(0.2))
    return Measured(here.astype(np.float32), np.where(behind.visible, np.float32(fade) * weight, 0).astype(np.float32))
