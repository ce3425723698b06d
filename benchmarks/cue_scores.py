"""Errors of flow, depth and motion on rendered clips, as tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from labelled_clips import RenderedClip
from learned_depth import MoverDepth
from numpy.typing import NDArray

from videocups.cues.classical import iter_cues, iter_looks, survey
from videocups.cues.classical_config import QUALITY, ClassicalConfig
from videocups.cues.dynamo.estimator import DynamoCues
from videocups.cues.flow import FlowEstimator
from videocups.cues.fused_depth import fused_inverse_depth
from videocups.cues.quality import DepthQuality, MotionQuality
from videocups.synthetic import read_truth

FloatMap = NDArray[np.float32]
Flows = Iterator[tuple[int, FloatMap]]
DepthMotions = Iterator[tuple[int, FloatMap, FloatMap]]
FlowSource = Callable[[RenderedClip], Flows]
CueSource = Callable[[RenderedClip], DepthMotions]
FLOW_KINDS = ("all", "static", "movers", "hidden", "median of movers")
EVERY = 3  # of so many frames flow is measured
STILL_PX = 0.1  # median flow below which the camera stands


@dataclass
class CueScores:
    """Counts of one source of depth and motion; ``driving``: depth of frames in which the camera moves."""

    depth: DepthQuality = field(default_factory=DepthQuality)
    driving: DepthQuality = field(default_factory=DepthQuality)
    movers: MoverDepth = field(default_factory=MoverDepth)
    motion: MotionQuality = field(default_factory=MotionQuality)

    def cells(self) -> str:
        """Return the cells of a table."""
        depth, near = f"{mean(self.depth.abs_rel):6.3f} {mean(self.driving.abs_rel):8.3f}", self.movers.objects
        depth += f" {mean(self.depth.delta):11.3f} {mean(self.movers.pixels):17.3f} {np.mean(near):11.2f}"
        return f"{depth} of {len(near):<4} {self.motion.f1():11.3f} {self.motion.auc():6.3f}"


def mean(parts: Sequence[Any]) -> float:
    """Return the mean over all parts' values."""
    return float(np.mean(np.hstack(parts)))


def print_flow(held: Sequence[RenderedClip], sources: dict[str, FlowSource]) -> dict[str, dict[str, float]]:
    """Print a table and return its content."""
    print(f"\n{'flow':<34} EPE all  static  movers  hidden  median of movers   (px)")
    table = {}
    for name, source in sources.items():
        errors: dict[str, list[NDArray[np.float64]]] = {kind: [] for kind in FLOW_KINDS[:-1]}
        for clip in held:
            for index, flow in source(clip):
                truth = read_truth(clip.folder, index)
                error = np.linalg.norm(flow - truth.flow_fw_px, axis=2).astype(np.float64)
                known, hidden = np.isfinite(error), truth.occluded_fw
                moving = np.isin(truth.track_map, truth.moving_tracks)
                masks = (~hidden, ~hidden & ~moving, ~hidden & moving, hidden)
                for kind, mask in zip(errors, masks, strict=True):
                    errors[kind].append(error[mask & known])
        row = [mean(every) for every in errors.values()] + [float(np.median(np.hstack(errors["movers"])))]
        table[name] = dict(zip(FLOW_KINDS, row, strict=True))
        print(f"{name:<34} " + " ".join(f"{error:7.2f}" for error in row), flush=True)
    return table


def plain_flow(clip: RenderedClip, estimator: FlowEstimator) -> Flows:
    """Yield the flow of pairs of frames as they are."""
    for index in range(1, len(clip) - 1, EVERY):
        yield index, estimator.flow_px(clip.rgb(index), clip.rgb(index + 1))


def label_flow(clip: RenderedClip, estimator: FlowEstimator) -> Flows:
    """Yield flow as labels use it: of what the motion of the camera leaves."""
    around = clip.rgb, len(clip), clip.camera
    for cues in iter_cues(*around, survey(*around, QUALITY), QUALITY, estimator):
        if cues.index % EVERY == 1 and cues.index < len(clip) - 1:
            yield cues.index, cues.flow_px


def print_cues(held: Sequence[RenderedClip], sources: dict[str, CueSource]) -> dict[str, CueScores]:
    """Print a table and return its counts."""
    head = "AbsRel  driving  delta<1.25  AbsRel of movers  objects within 20 %  motion F1    AUC"
    print(f"\n{'depth and motion':<34} {head}")
    table = {}
    for name, source in sources.items():
        scores = table[name] = CueScores()
        for clip in held:
            for index, depth, motion in source(clip):
                truth = clip.truth(index)
                scores.depth.add(depth, truth.depth_m)
                if truth.flow_px is not None and np.median(np.abs(truth.flow_px)) > STILL_PX:
                    scores.driving.add(depth, truth.depth_m)
                scores.movers.add(depth, truth)
                scores.motion.add(motion, truth.objects > 0)
        print(f"{name:<34} {scores.cells()}", flush=True)
    return table


def flat_cues(clip: RenderedClip) -> DepthMotions:
    """Yield one depth everywhere and no motion."""
    for index in range(1, len(clip) - 1):
        shape = (clip.camera.height, clip.camera.width)
        yield index, np.ones(shape, np.float32), np.zeros(shape, np.float32)


def classical_cues(clip: RenderedClip, config: ClassicalConfig, estimator: FlowEstimator | None = None) -> DepthMotions:
    """Yield classical cues; ``estimator`` replaces the flow."""
    around = clip.rgb, len(clip), clip.camera
    for cues in iter_cues(*around, survey(*around, config), config, estimator):
        if 0 < cues.index < len(clip) - 1:
            yield cues.index, cues.depth_heights, cues.motion


def label_cues(
    clip: RenderedClip, dynamo: DynamoCues, estimator: FlowEstimator | None = None, *, alone: bool = False
) -> DepthMotions:
    """Yield cues as labels make them of learned depth: motion held against it, and depth that parallax sharpens.

    ``alone``: the depth as the network gives it.
    """
    around = clip.rgb, len(clip), clip.camera
    for look, ground in iter_looks(*around, survey(*around, QUALITY), QUALITY, estimator, dynamo.known_depth):
        known = dynamo.known_depth(clip.rgb(look.index))
        inverse = known.inverse_depth
        if not alone:
            inverse = fused_inverse_depth(known, look.measured, look.motion, ground, QUALITY.depth)
        if 0 < look.index < len(clip) - 1:
            yield look.index, np.float32(1) / inverse, look.motion


def network_cues(clip: RenderedClip, dynamo: DynamoCues) -> DepthMotions:
    """Yield depth and mask of the networks."""
    for index, cues in enumerate(dynamo.of_clip(clip.rgb, len(clip))):
        if 0 < index < len(clip) - 1:
            yield index, cues.depth, cues.motion
