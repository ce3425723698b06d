"""How far a frame's neighbours in time contradict a world that stands still."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from videocups.cues.classical_config import ClassicalConfig
from videocups.cues.continuity import match_exposure
from videocups.cues.floating import floating_surprise
from videocups.cues.flow import FloatMap
from videocups.cues.frame_in_time import Neighbour
from videocups.cues.frame_pair import View
from videocups.cues.known_depth import KnownDepth, agree, deny_standing, off_depth
from videocups.cues.motion import agree_on_floating, combine_neighbours, hint, raise_floating, smooth
from videocups.cues.photometric import appearance
from videocups.cues.static_world import StaticTest, static_surprise
from videocups_core.types import CameraModel


def against_neighbours(
    rgb: NDArray[np.uint8],
    neighbours: Sequence[Neighbour],
    rays: FloatMap,
    camera: CameraModel,
    config: ClassicalConfig,
    known: KnownDepth | None,
) -> tuple[FloatMap, list[StaticTest]]:
    """Return (H, W) motion over its expected error, as far as all neighbours agree, and what each of them says."""
    config, scale = config.expecting(), config.static.scale
    looks = appearance(rgb, scale)
    others = [appearance(match_exposure(rgb, one.rgb, config.continuity), scale) for one in neighbours]
    tests = [
        static_surprise(one.view, looks, other, rays, camera, config.static)
        for one, other in zip(neighbours, others, strict=True)
    ]
    views = [one.view for one in neighbours]
    surprise = _off_static(views, tests, camera, config)
    if known is not None:
        surprise = np.maximum(surprise, _off_depth(known, views, tests, looks, others, rays, camera, config))
    return surprise, tests


def _off_static(
    views: Sequence[View],
    tests: Sequence[StaticTest],
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
    return np.maximum(surprise, hint([test.raw_surprise for test in tests], [view.visible for view in views]))


def _off_depth(
    known: KnownDepth,
    views: Sequence[View],
    tests: Sequence[StaticTest],
    looks: FloatMap,
    others: Sequence[FloatMap],
    rays: FloatMap,
    camera: CameraModel,
    config: ClassicalConfig,
) -> FloatMap:
    """Return what the known depth does not explain; the ground itself never moves."""
    found = []
    for view, test, other in zip(views, tests, others, strict=True):
        if test.parallax is not None:
            settings = camera, config.known, config.static
            surprise = off_depth(view, test.parallax, known, looks, other, rays, *settings)
            found.append(np.where(test.is_ground, 0, surprise))
    if not found:
        return np.zeros(rays.shape[:2], np.float32)
    surprise = smooth(agree(found), config.motion.median_px)
    for view, test in zip(views, tests, strict=True):
        if test.parallax is not None and view.ground is not None:
            surprise = deny_standing(surprise, known, view, test.parallax, test.ground, config.known)
    return surprise
