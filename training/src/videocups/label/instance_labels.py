"""The classical instance branch on one clip in one go: cues, instances, tracks; arrays in, arrays out, flat memory.

``videocups label`` runs the same functions as stages with their artefacts on disk.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from videocups.cues.classical import KnowDepth, ReadFrame, iter_cues, survey
from videocups.cues.depth import stand_on_ground
from videocups.cues.flow import FlowEstimator, FlowPair
from videocups.cues.frame_cues import FrameCues
from videocups.fusion.tracking import Tracker
from videocups.instances.frame_instances import frame_instances
from videocups.label.config import InstanceLabelsConfig
from videocups_core.types import CameraModel

LabelMap = NDArray[np.int32]


@dataclass(frozen=True)
class FrameLabels:
    """Cues, instances of the frame alone, and tracks (before short ones are dropped) of one frame."""

    cues: FrameCues
    instances: LabelMap
    tracks: LabelMap


def label_instances(
    read_frame: ReadFrame,
    count: int,
    camera: CameraModel,
    config: InstanceLabelsConfig | None = None,
    estimator: FlowEstimator | None = None,
    known: KnowDepth | None = None,
) -> Iterator[FrameLabels]:
    """Yield the labels of every frame in order; tracks run one frame behind the cues, for resurrection.

    ``estimator`` and ``known`` as in ``iter_cues``.
    """
    config = config or InstanceLabelsConfig()
    geometry = survey(read_frame, count, camera, config.cues)
    tracker = Tracker(config.tracking)
    waiting: tuple[FrameCues, LabelMap] | None = None
    for cues in iter_cues(read_frame, count, camera, geometry, config.cues, estimator, known):
        instances = frame_instances(cues, camera.fx, config.instances)
        cues = with_instances(cues, instances)
        if waiting is not None:
            yield FrameLabels(*waiting, tracker.advance(waiting[1], ahead_of(waiting[0], instances)))
        waiting = cues, instances
    if waiting is not None:
        yield FrameLabels(*waiting, tracker.advance(waiting[1], None))


def with_instances(cues: FrameCues, instances: LabelMap) -> FrameCues:
    """Return cues that know of the objects: they move as a whole, and stand where their lower edge meets the ground."""
    depth = np.float32(1) / stand_on_ground(np.float32(1) / cues.depth_heights, instances, cues.ground)
    motion = np.where(instances > 0, np.maximum(cues.motion, 0.5), cues.motion)
    return replace(cues, depth_heights=depth.astype(np.float32), motion=motion.astype(np.float32))


def ahead_of(cues: FrameCues, following: LabelMap) -> tuple[LabelMap, FlowPair]:
    """Return what the tracker needs of the next frame."""
    if cues.pair is None:
        raise ValueError(f"frame {cues.index} has no pair although a frame follows it")
    return following, cues.pair.flow
