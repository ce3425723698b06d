"""Stages with trained networks in the place of classical cues: flow (SMURF), depth and motion (Dynamo-Depth).

Checkpoints count by their content. Ego-motion and the ground still come from geometry: they give the networks' depth,
which has a unit of its own, its scale in camera heights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from videocups.cues.epipolar import pixel_rays, static_flow_px
from videocups.cues.flow import FloatMap, FlowEstimator
from videocups.cues.frame_cues import ground_of_habit
from videocups.pipeline import cue_formats
from videocups.pipeline.clip_reading import camera_of, flow_of, habit_of
from videocups.pipeline.cue_formats import pair_from_json
from videocups.pipeline.in_step import run_in_step, together
from videocups.pipeline.stage import Input, Output, Stage
from videocups.pipeline.work import LeaveOut, Work
from videocups_core.config import setting

if TYPE_CHECKING:
    from videocups.cues.dynamo.estimator import DepthMotion
    from videocups.cues.known_depth import KnownDepth

GROUND_TOLERANCE = 0.15
"""relative difference of inverse depth up to which a pixel is the ground itself."""
FEWEST_GROUND_PX = 200
DEPTH_MODULES = ("videocups.cues.dynamo.estimator",)
"""what depth loads, torch among it."""
_LOADING = Lock()


@dataclass(frozen=True)
class LearnedConfig:
    """Checkpoints of our own trainings; null keeps the classical cue."""

    # a run of 'videocups train flow'
    flow: Path | None = setting(None, "run of 'videocups train flow' to take flow from; null: classical")
    # a run of 'videocups train depth'
    depth: Path | None = setting(None, "run of 'videocups train depth' to take depth and motion from; null: classical")
    # motion with learned depth: flow that classical ego-motion and this depth do not explain, or the network's own mask
    motion: Literal["geometry", "network"] = setting(
        "geometry", "motion with learned depth: what it does not explain of flow, or the network's mask"
    )


@dataclass(frozen=True)
class Network:
    """A checkpoint and its content's hash."""

    checkpoint: Path
    content: str


@dataclass(frozen=True)
class ScaleSettings:
    """Whether the network learned depth in camera heights, from hints: then a clip without ground has that scale."""

    in_heights: bool


def open_network(checkpoint: Path, *kinds: str) -> Network:
    """Return the network of a run; one that is not there, or of no kind that is asked for, is named at once."""
    from videocups.semantics.weights import file_sha256
    from videocups.train.checkpoint import MODEL, read_checkpoint

    found = read_checkpoint(checkpoint, kinds[0] if len(kinds) == 1 else None)
    if found.kind not in kinds:
        raise ValueError(f"{found.folder} is a checkpoint of {found.kind!r}, but one of {', '.join(kinds)} is needed")
    return Network(checkpoint, file_sha256(found.folder / MODEL))


def learned_flow(network: Network) -> FlowEstimator:
    """Return the estimator, loaded once in a process."""
    with _LOADING:  # items in step ask at the same time, and must get the same one
        return _load_flow(network)


@lru_cache(maxsize=1)
def _load_flow(network: Network) -> FlowEstimator:
    from videocups.cues.learned.flow_kinds import open_flow
    from videocups.semantics.extractors import torch_device

    found = open_flow(network.checkpoint, device=torch_device())
    if not hasattr(found, "flow_px_of_all"):
        return found
    return InStepFlow(together(found.flow_px, found.flow_px_of_all))


@dataclass(frozen=True)
class InStepFlow:
    """A flow estimator that sees the pairs of all items in step at once."""

    flow_px: Callable[[NDArray[np.uint8], NDArray[np.uint8]], FloatMap]


@dataclass(frozen=True)
class InStepDepth:
    """What a network says of frames, of all items in step at once.

    ``gap``: frames between those that show motion. ``in_heights``: whether hints taught it to tell camera heights.
    """

    gap: int
    in_heights: bool
    cues: Callable[..., DepthMotion]
    depth: Callable[[NDArray[np.uint8]], FloatMap]
    known_depth: Callable[[NDArray[np.uint8]], KnownDepth]


def learned_depth(network: Network) -> InStepDepth:
    """Return the estimator, loaded once in a process."""
    with _LOADING:
        return _load_depth(network)


@lru_cache(maxsize=1)
def _load_depth(network: Network) -> InStepDepth:
    from videocups.cues.dynamo.estimator import DynamoCues
    from videocups.semantics.extractors import torch_device

    found = DynamoCues(network.checkpoint, device=torch_device())
    return InStepDepth(
        found.config.data.gap,
        found.config.hints.depth > 0,
        together(found.cues, found.cues_of_all),
        together(found.depth, lambda asked: found.depth_of_all([rgb for (rgb,) in asked])),
        together(found.known_depth, lambda asked: found.known_depth_of_all([rgb for (rgb,) in asked])),
    )


def in_step(run: Callable[[Work, Any], dict[str, Any]]) -> Callable[[Sequence[Work], Any], list[dict[str, Any]]]:
    """Return what runs a stage's function for several items in step."""
    return partial(_in_step, run)


def _in_step(run: Callable[[Work, Any], dict[str, Any]], works: Sequence[Work], settings: Any) -> list[dict[str, Any]]:
    return run_in_step(partial(_with_settings, run, settings), works)


def _with_settings(run: Callable[[Work, Any], dict[str, Any]], settings: Any, work: Work) -> dict[str, Any]:
    return run(work, settings)


def network_cue_stages(network: Network) -> tuple[Stage, ...]:
    """Return the stages that take the place of "cues" and "memory" where the network gives depth and motion."""
    loaded = learned_depth(network)
    gap = loaded.gap
    around = tuple(step * gap for step in (-2, -1, 1, 2))
    return (
        Stage(
            "cues",
            "frame",
            cues_by_network,
            network,
            (
                Input("frames"),
                Input("frames", around, "optional"),
                Input("flow", (-1, 0), "any"),
                Input("ego", (-1, 0), "any"),
                Input("geometry"),
                Input("clip"),
            ),
            (Output("network_depth", ".npz"), Output("motion", ".npz")),
            loads=DEPTH_MODULES,
            run_many=in_step(cues_by_network),
        ),
        scale_stage(loaded.in_heights),
    )


def scale_stage(in_heights: bool) -> Stage:
    """Return the stage that takes the place of "memory": a network forgets nothing."""
    return Stage(
        "memory",
        "clip",
        scale_of_clip,
        ScaleSettings(in_heights),
        (Input("network_depth", need="any"), Input("clip")),
        (Output("static_depth", ".npz", each_frame=True),),
    )


def cues_by_network(work: Work, network: Network) -> dict[str, Any]:
    """Let the network see a frame between its neighbours; a clip's ends borrow their neighbour's motion."""
    estimator, number = learned_depth(network), work.index
    gap = estimator.gap
    middle = next((t for t in (number, number + gap, number - gap) if _has_three(work, t, gap)), None)
    if middle is None:
        raise LeaveOut(f"no three frames {gap} apart around this one can be read: a short clip or failed neighbours")
    three = (middle - gap, middle, middle + gap)
    cues = estimator.cues(*(work.read("frames", other).copy() for other in three))
    depth = cues.depth if middle == number else estimator.depth(work.read("frames", number).copy())
    ground = ground_of_habit(habit_of(work, number), pixel_rays(camera_of(work)))
    known = depth_and_scale(depth, ground)
    scale = float(known["scale"])
    heights = depth * np.float32(scale if np.isfinite(scale) else 1.0)
    is_ground = (ground > 0) & (np.abs(heights * ground - 1) < GROUND_TOLERANCE)
    fields = {"motion": cues.motion.astype(cue_formats.STORED), **_beyond_static(work, heights)}
    fields["may_move"] = fields.pop("seen") & ~is_ground & ~work.read("geometry")["hood"]
    return {"network_depth": known, "motion": fields}


def depth_and_scale(depth: FloatMap, ground: FloatMap) -> dict[str, NDArray[Any]]:
    """Return the fields of the artefact "network_depth"."""
    return {"depth": depth.astype(np.float32), "scale": np.array(heights_per_unit(depth, ground))}


def _has_three(work: Work, middle: int, gap: int) -> bool:
    inside = gap <= middle < len(work.clip) - gap
    return inside and all(work.has("frames", middle + step) for step in (-gap, 0, gap))


def scale_of_clip(work: Work, settings: ScaleSettings) -> Iterator[tuple[str, int | None, Any]]:
    """Bring depth into camera heights, with one factor for a whole clip: the network's unit does not change."""
    numbers = work.numbers("network_depth")
    scales = np.array([float(work.read("network_depth", number)["scale"]) for number in numbers])
    factor = np.float32(np.median(scales[np.isfinite(scales)])) if np.isfinite(scales).any() else np.float32(1)
    if not np.isfinite(scales).any() and not settings.in_heights:
        raise ValueError(
            "no frame of the clip shows the ground, from which depth takes its scale; "
            "use classical depth, or train with hints.depth > 0"
        )
    for number in numbers:
        heights = work.read("network_depth", number)["depth"] * factor
        yield "static_depth", number, {"depth_heights": heights.astype(cue_formats.STORED)}


def heights_per_unit(depth: FloatMap, ground: FloatMap) -> float:
    """Return camera heights in a unit of the network's depth, NaN where too little ground is seen.

    The lowest part of an image is mostly road: there depth must be the ground's, whose inverse is ``ground`` (H, W).
    """
    low = np.zeros(depth.shape, bool)
    low[-depth.shape[0] // 4 :] = True
    there = low & (ground > 0)
    if there.sum() < FEWEST_GROUND_PX:
        return float("nan")
    return float(np.median(1 / (ground[there] * depth[there])))


def _beyond_static(work: Work, heights: FloatMap) -> dict[str, NDArray[Any]]:
    """Return the flow that a standing world of this depth does not explain, and what is seen in the other frame."""
    number, camera = work.index, camera_of(work)
    ahead = work.has("flow", number) and pair_from_json(work.read("ego", number)).motion.kind != "unknown"
    flow = flow_of(work, number if ahead else number - 1)
    pair = pair_from_json(work.read("ego", number if ahead else number - 1))
    motion = pair.motion if ahead else pair.motion.reversed()
    step = 0.0 if pair.ground is None or motion.kind != "moving" else 1 / pair.ground.camera_height
    static = static_flow_px((np.float32(step) / heights).astype(np.float32), motion.rotation, motion.direction, camera)
    seen_px, seen = (flow.forward_px, flow.visible_forward) if ahead else (flow.backward_px, flow.visible_backward)
    rest = (seen_px - static) * (1 if ahead else -1)
    return {"rest_px": rest.astype(cue_formats.STORED), "seen": seen}
