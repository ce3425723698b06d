"""Motion against a depth that is known: what moves along the camera's own way shows a parallax of another depth.

Triangulation takes a car that comes towards the camera for a nearer thing that stands. A depth that was learned from
appearance knows better where it is, so its parallax is too large, and that of a car ahead too small. The known depth
has errors of its own: some per cent, and some pixels at the edges of things. Within them nothing is called moving, and
beyond them only what the images confirm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from videocups.cues.epipolar import Parallax, static_flow_px
from videocups.cues.flow import FloatMap
from videocups.cues.frame_pair import View
from videocups.cues.static_world import StaticTestConfig, image_doubt
from videocups.instances.boxes import label_boxes
from videocups_core.config import setting
from videocups_core.types import CameraModel

SHARP = 0.15
"""relative error of parallax up to which a pixel helps to find the unit of the known depth"""
FEWEST_PX = 500
BASE = 85
"""percentile of the columns' lowest pixels that is a thing's lower edge"""


@dataclass(frozen=True)
class KnownDepth:
    """Depth that is right on what moves, too, (H, W) each.

    ``inverse_depth``: in 1/camera heights, up to some tens of per cent. ``error``: expected, relative.
    """

    inverse_depth: FloatMap
    error: FloatMap


@dataclass(frozen=True)
class KnownDepthConfig:
    """How far the known depth may be wrong, and where traffic can be."""

    # depth may be wrong by this many expected errors
    errors: float = setting(1.0, "the known depth may be wrong by this many expected errors", minimum=0.0)
    # and by this share at least
    least_error: float = setting(0.08, "relative error that the known inverse depth has at least", minimum=0.0)
    # edges of things may lie off by this share of the image's width
    edge_share: float = setting(0.008, "edges may lie off by this share of the width", minimum=0.0, maximum=0.1)
    # farther than this, in camera heights, is as far as can be told
    far_heights: float = setting(40.0, "farther than this, in camera heights, is infinitely far", minimum=1.0)
    # traffic is at most this high above the ground, in camera heights
    max_height: float = setting(2.2, "traffic is at most this high, in camera heights", minimum=0.1)
    # what meets the ground within this relative difference of its parallax stands there
    standing_error: float = setting(0.2, "what meets the ground this near to its parallax stands there", minimum=0.0)
    # what moves has its lower edge at most this high above the ground, in camera heights
    max_gap: float = setting(0.6, "what moves is at most this high above the ground, in camera heights", minimum=0.0)
    # expected error of flow
    flow_noise_px: float = setting(0.35, "expected error of flow", minimum=0.01)


def off_depth(
    view: View,
    seen: Parallax,
    known: KnownDepth,
    looks: FloatMap,
    neighbour_looks: FloatMap,
    rays: FloatMap,
    camera: CameraModel,
    config: KnownDepthConfig,
    static: StaticTestConfig,
) -> FloatMap:
    """Return (H, W): parallax beyond what ``known`` allows, over its expected error.

    Positive where a thing seems nearer than it is known to be, negative where farther, NaN where the neighbour does not
    show the pixel. ``looks``: ``appearance`` of both images at ``static.scale``.
    """
    scale = np.float32(unit_of(known.inverse_depth, seen, view))
    if not np.isfinite(scale):
        return np.where(view.visible, 0, np.nan).astype(np.float32)
    share = np.minimum(np.maximum(config.errors * known.error, config.least_error), 0.95)
    rim = 2 * round(config.edge_share * share.shape[1]) + 1
    around = np.ones((rim, rim), np.uint8)
    least, middle = np.asarray(cv2.erode(known.inverse_depth * (1 - share), around)), known.inverse_depth
    most = np.asarray(cv2.dilate(middle * (1 + share), around))
    is_far = np.asarray(cv2.erode(middle, around)) * config.far_heights < 1
    guesses = [np.where(is_far, 0, least) * scale, middle * scale, most * scale]
    rho, error = seen.inverse_depth, config.flow_noise_px * seen.noise
    short = np.where(is_far, 0, np.maximum(guesses[0] - rho, 0))
    surprise = np.clip((np.maximum(rho - guesses[2], 0) - short) / np.maximum(error, 1e-9), -50, 50)
    if view.ground is not None:  # nothing but traffic moves, and that stands on the ground
        height = 1 - (rays @ view.ground.normal.astype(np.float32)) / np.maximum(guesses[1], 1e-6)
        surprise = np.where(height > config.max_height, 0, surprise)
    motion = view.motion
    flows = [static_flow_px(guess.astype(np.float32), motion.rotation, motion.direction, camera) for guess in guesses]
    doubt = image_doubt(view, looks, neighbour_looks, flows, static)
    return np.where(view.visible, surprise * doubt, np.nan).astype(np.float32)


def unit_of(known: FloatMap, seen: Parallax, view: View) -> float:
    """Return what brings inverse depth ``known`` to 1/translations of the pair; NaN where too little is seen."""
    sharp = view.visible & (seen.noise * 0.35 < SHARP * seen.inverse_depth) & (np.abs(seen.across_px) < 0.8)
    if np.count_nonzero(sharp) < FEWEST_PX:
        return float("nan")
    return float(np.median(seen.inverse_depth[sharp] / known[sharp]))


def agree(surprises: Sequence[FloatMap]) -> FloatMap:
    """Return (H, W) >= 0: the least that all neighbours which show a pixel say, where they agree on its sign."""
    stack = np.stack(surprises)
    shown = np.isfinite(stack).any(axis=0)
    nearer = np.where(np.isnan(stack), np.inf, stack).min(axis=0)
    farther = np.where(np.isnan(stack), -np.inf, stack).max(axis=0)
    agreed = np.maximum(np.maximum(nearer, 0), np.maximum(-farther, 0))
    return np.where(shown, agreed, 0).astype(np.float32)


def deny_standing(
    surprise: FloatMap, known: KnownDepth, view: View, seen: Parallax, ground: FloatMap, config: KnownDepthConfig
) -> FloatMap:
    """Return ``surprise`` (H, W) without areas that are no traffic, but things whose depth is not known well.

    A thing that moves has the parallax of a place where it does not meet the ground; what meets it there stands. And
    traffic does not hang in the air. ``ground`` (H, W): inverse depth in 1/translations, 0 above its horizon.
    """
    areas = np.asarray(cv2.connectedComponents((surprise > 1).astype(np.uint8), connectivity=4)[1], np.int32)
    scale, left = unit_of(known.inverse_depth, seen, view), surprise.copy()
    for number, _, box in label_boxes(areas):
        inside = areas[box] == number
        columns = np.flatnonzero(inside.any(axis=0))
        lowest = inside.shape[0] - 1 - inside[::-1, columns].argmax(axis=0)
        base = round(float(np.percentile(lowest, BASE))) + box[0].start + 1
        if base >= len(ground) - 2:  # it stands outside the image
            continue
        middle = (box[1].start + box[1].stop - 1) // 2
        gap = 1 - float(ground[base, middle]) / max(scale * float(np.median(known.inverse_depth[box][inside])), 1e-6)
        shown = seen.inverse_depth[box][inside & view.visible[box]]
        apparent = float(np.median(shown)) if shown.size else 0.0
        below = np.median(seen.inverse_depth[base:, columns + box[1].start], axis=1)
        # the rest of the thing, as deep as its part that seemed to move, down to where it meets the ground
        differs = np.abs(below - apparent) > config.standing_error * apparent
        foot = base + int(differs.argmax()) if differs.any() else len(ground) - 1
        stands = abs(apparent - float(ground[foot, middle])) < config.standing_error * float(ground[foot, middle])
        if stands or gap > config.max_gap:
            left[box][inside] = 0
    return left
