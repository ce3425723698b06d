"""The classical cues: flow, depth and motion probability of a clip, without training.

Two passes. ``survey`` looks at all pairs of frames quickly and learns how the camera is mounted and moves; its result
is a small table. ``iter_cues`` then works frame by frame, with its neighbours in memory, whatever the clip's length.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from videocups.cues.classical_config import ClassicalConfig
from videocups.cues.clip_geometry import Habit, PairGeometry, habits, look_at_pair, no_pair, refit_pair, settle_pair
from videocups.cues.compensated_flow import compensated_flow_px
from videocups.cues.continuity import is_cut, match_exposure, shows_nothing
from videocups.cues.depth import Measured
from videocups.cues.depth_memory import looking_back, remember
from videocups.cues.ego_motion import refine_ego_motion
from videocups.cues.epipolar import pixel_rays, static_flow_px
from videocups.cues.flow import DisFlow, FloatMap, FlowEstimator, FlowPair, flow_pair, visible
from videocups.cues.frame_cues import (
    FrameCues,
    FrameLook,
    cues_of_look,
    ground_of_habit,
    ground_or_level,
    look_at_frame,
)
from videocups.cues.frame_in_time import FrameInTime, frame_in_time
from videocups.cues.frame_pair import FramePair
from videocups.cues.hood import HoodFinder
from videocups.cues.known_depth import KnownDepth
from videocups_core.types import CameraModel

Image = NDArray[np.uint8]
ReadFrame = Callable[[int], Image]
KnowDepth = Callable[[Image], KnownDepth]


@dataclass(frozen=True)
class ClipGeometry:
    """What the survey learned: one entry per pair of frames, and the (H, W) mask of the vehicle's own hood."""

    pairs: tuple[PairGeometry, ...]
    habits: tuple[Habit, ...]
    hood: NDArray[np.bool_]


def survey(read_frame: ReadFrame, count: int, camera: CameraModel, config: ClassicalConfig) -> ClipGeometry:
    """Look at all pairs of a clip of ``count`` frames."""
    finder = HoodFinder((camera.height, camera.width), config.hood)
    pairs = []
    rays, first = pixel_rays(camera), read_frame(0)
    estimator = DisFlow(config.survey_flow)
    for index in range(count - 1):
        second = read_frame(index + 1)
        flow = plain_pair(estimator, first, second, config)
        pair = no_pair() if flow is None else look_at_pair(flow, rays, camera, config.ego, config.ground)
        if flow is not None and pair.ground is not None:
            below = pair.ground.inverse_depth(rays)
            expected = static_flow_px(below, pair.motion.rotation, pair.motion.direction, camera)
            finder.add(flow.forward_px, np.where((below > 0)[..., None], expected, 0))
        pairs.append(pair)
        first = second
    return ClipGeometry(tuple(pairs), tuple(habits(pairs, config.ground)), finder.mask())


def iter_cues(
    read_frame: ReadFrame,
    count: int,
    camera: CameraModel,
    geometry: ClipGeometry,
    config: ClassicalConfig,
    estimator: FlowEstimator | None = None,
    known: KnowDepth | None = None,
) -> Iterator[FrameCues]:
    """Yield the cues of every frame in order.

    ``estimator`` replaces the configured flow; ``known``: see ``iter_looks``.
    """
    held: Measured | None = None
    before: FramePair | None = None
    rays = pixel_rays(camera)
    for look, ground in iter_looks(read_frame, count, camera, geometry, config, estimator, known):
        below, seen = ground_or_level(ground, rays), (look.measured, look.steady)
        inverse, held = remember(*seen, below, held, config.depth, looking_back(before))
        before = look.pair
        yield cues_of_look(look, inverse, ground, held)


def iter_looks(
    read_frame: ReadFrame,
    count: int,
    camera: CameraModel,
    geometry: ClipGeometry,
    config: ClassicalConfig,
    estimator: FlowEstimator | None = None,
    known: KnowDepth | None = None,
) -> Iterator[tuple[FrameLook, FloatMap]]:
    """Yield what every frame and its neighbours tell, and the inverse depth of the ground in 1/camera heights.

    ``known`` tells the depth of an image from elsewhere, right on what moves, too.
    """
    rays = pixel_rays(camera)
    for frame in iter_frames(read_frame, count, camera, geometry, config, estimator):
        depth = None if known is None else known(frame.rgb)
        yield look_at_frame(frame, geometry.hood, rays, camera, config, depth), frame.ground


def iter_frames(
    read_frame: ReadFrame,
    count: int,
    camera: CameraModel,
    geometry: ClipGeometry,
    config: ClassicalConfig,
    estimator: FlowEstimator | None = None,
) -> Iterator[FrameInTime]:
    """Yield every frame with its neighbours; the flow of each pair is estimated once."""
    estimator = estimator or DisFlow(config.flow)
    rays, reach = pixel_rays(camera), max(1, config.far_frames)
    images, pairs = {0: read_frame(0)}, dict[int, FramePair]()
    for index in range(count):
        for ahead in range(max(images), min(index + reach, count - 1)):
            images[ahead + 1] = read_frame(ahead + 1)
            both = images[ahead], images[ahead + 1]
            pairs[ahead] = estimate_pair(estimator, *both, ahead, geometry, rays, camera, config)
        habit = geometry.habits[min(index, count - 2)] if count > 1 else Habit(None, None)
        yield frame_in_time(index, images, pairs, config.far_frames, ground_of_habit(habit, rays))
        if index >= reach:
            del images[index - reach], pairs[index - reach]


def estimate_pair(
    estimator: FlowEstimator,
    first: Image,
    second: Image,
    index: int,
    geometry: ClipGeometry,
    rays: FloatMap,
    camera: CameraModel,
    config: ClassicalConfig,
) -> FramePair:
    """Estimate flow, motion and ground of frames ``index`` and ``index`` + 1 with what the survey knows."""
    pair, habit, hood = geometry.pairs[index], geometry.habits[index], geometry.hood
    if pair.motion.kind == "unknown":
        return unseen_pair(camera)
    second = match_exposure(first, second, config.continuity)
    flow = _flow_with(estimator, first, second, pair, rays, camera, config)
    motion = refine_ego_motion(pair.motion, flow, camera, config.ego, hood)
    pair = refit_pair(pair, motion, flow, rays, camera, config.ground, hood)
    pair = settle_pair(pair, habit, flow, rays, camera, config.ego, config.ground, hood)
    return FramePair(flow, pair.motion, pair.ground)


def plain_pair(estimator: FlowEstimator, first: Image, second: Image, config: ClassicalConfig) -> FlowPair | None:
    """Return the flow of two frames, or None where they do not belong together."""
    if shows_nothing(first, config.continuity) or shows_nothing(second, config.continuity):
        return None
    flow = flow_pair(estimator, first, match_exposure(first, second, config.continuity))
    return None if is_cut(flow, config.continuity) else flow


def unseen_pair(camera: CameraModel) -> FramePair:
    """Return the pair of two frames that do not belong together: nothing is seen in both."""
    shape = (camera.height, camera.width)
    still, nowhere = np.zeros((*shape, 2), np.float32), np.zeros(shape, bool)
    return FramePair(FlowPair(still, still, nowhere, nowhere), no_pair().motion, None)


def _flow_with(
    estimator: FlowEstimator,
    first: Image,
    second: Image,
    pair: PairGeometry,
    rays: FloatMap,
    camera: CameraModel,
    config: ClassicalConfig,
) -> FlowPair:
    if not config.compensate or pair.motion.kind != "moving":
        return flow_pair(estimator, first, second)
    nothing = np.zeros(rays.shape[:2], np.float32)
    both = []
    for motion, ground, images in (
        (pair.motion, pair.ground, (first, second)),
        (pair.motion.reversed(), pair.ground and pair.ground.in_second_camera(pair.motion), (second, first)),
    ):
        below = nothing if ground is None else ground.inverse_depth(rays)
        static = static_flow_px(below, motion.rotation, motion.direction, camera)
        both.append(compensated_flow_px(estimator, *images, static))
    return FlowPair(both[0], both[1], visible(both[0], both[1]), visible(both[1], both[0]))
