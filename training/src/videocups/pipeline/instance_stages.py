"""The stages from frames to tracked instances: survey, geometry, flow, cues, instances, tracks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np

from videocups.cues.classical import estimate_pair, plain_pair
from videocups.cues.classical_config import QUALITY, ClassicalConfig
from videocups.cues.clip_geometry import Habit, PairGeometry, habits, look_at_pair, no_pair
from videocups.cues.continuity import ContinuityConfig
from videocups.cues.depth import DepthConfig, ground_in_heights, stand_on_ground
from videocups.cues.ego_motion import EgoMotionConfig
from videocups.cues.epipolar import pixel_rays, static_flow_px
from videocups.cues.floating import FloatingConfig
from videocups.cues.flow import DisFlow, DisFlowConfig, FloatMap, FlowPair
from videocups.cues.frame_cues import FrameCues, cues_of_frame
from videocups.cues.frame_pair import FramePair
from videocups.cues.ground_plane import GroundConfig
from videocups.cues.hood import HoodConfig, HoodFinder
from videocups.cues.motion import MotionConfig
from videocups.cues.static_world import StaticTestConfig
from videocups.fusion.tracking import TrackingConfig, track_instances
from videocups.instances.frame_instances import InstancesConfig, frame_instances
from videocups.pipeline import cue_formats
from videocups.pipeline.cue_formats import (
    flow_from_arrays,
    flow_to_arrays,
    geometry_from_arrays,
    geometry_to_arrays,
    pair_from_json,
    pair_to_json,
)
from videocups.pipeline.stage import Input, Output, Stage
from videocups.pipeline.work import Work
from videocups_core.types import CameraModel


@dataclass(frozen=True)
class SurveySettings:
    """What the first look at a pair depends on."""

    survey_flow: DisFlowConfig
    continuity: ContinuityConfig
    ego: EgoMotionConfig
    ground: GroundConfig
    hood: HoodConfig


@dataclass(frozen=True)
class GeometrySettings:
    """What a clip's geometry depends on."""

    ground: GroundConfig
    hood: HoodConfig


@dataclass(frozen=True)
class FlowSettings:
    """What flow and ego-motion of a pair depend on."""

    flow: DisFlowConfig
    compensate: bool
    continuity: ContinuityConfig
    ego: EgoMotionConfig
    ground: GroundConfig


@dataclass(frozen=True)
class CueSettings:
    """What depth and motion of a frame depend on."""

    floating_test: bool
    continuity: ContinuityConfig
    static: StaticTestConfig
    floating: FloatingConfig
    motion: MotionConfig
    depth: DepthConfig


@dataclass(frozen=True)
class NoSettings:
    """A stage without any."""


def instance_stages(cues: ClassicalConfig, instances: InstancesConfig, tracking: TrackingConfig) -> tuple[Stage, ...]:
    """Return the stages; each depends on those settings only that it uses."""
    around = Input("flow", (-1, 0), "any")
    ego_around = Input("ego", (-1, 0), "any")
    return (
        Stage(
            "survey",
            "pair",
            survey_pair,
            _part(SurveySettings, cues),
            (Input("frames", (0, 1)), Input("clip")),
            (Output("survey_pair", ".json"), Output("survey", ".npz")),
        ),
        Stage(
            "geometry",
            "clip",
            clip_geometry,
            _part(GeometrySettings, cues),
            (Input("survey_pair", need="any"), Input("survey", need="any"), Input("clip")),
            (Output("geometry", ".npz"),),
        ),
        Stage(
            "flow",
            "pair",
            flow_of_pair,
            _part(FlowSettings, cues),
            (Input("frames", (0, 1)), Input("survey_pair"), Input("geometry"), Input("clip")),
            (Output("flow", ".npz"), Output("ego", ".json")),
        ),
        Stage(
            "cues",
            "clip",
            cues_of_clip,
            _part(CueSettings, cues),
            (
                Input("flow", need="any"),
                Input("ego", need="any"),
                Input("frames", need="any"),
                Input("geometry"),
                Input("clip"),
            ),
            (
                Output("static_depth", ".npz", each_frame=True),
                Output("motion", ".npz", each_frame=True),
                Output("cue_table", ".json"),
            ),
        ),
        Stage(
            "instances",
            "frame",
            instances_of_frame,
            instances,
            (Input("static_depth"), Input("motion"), around, ego_around, Input("geometry"), Input("clip")),
            (Output("instances", ".png"), Output("depth", ".npz")),
        ),
        Stage(
            "tracks",
            "clip",
            tracks_of_clip,
            tracking,
            (Input("instances", need="any"), Input("flow", need="any"), Input("clip")),
            (Output("tracks", ".png", each_frame=True), Output("track_table", ".json")),
            final=True,
        ),
    )


def survey_pair(work: Work, settings: SurveySettings) -> dict[str, Any]:
    """Look at a pair quickly: motion, ground, and the votes on the hood."""
    config, camera = _whole(settings), camera_of(work)
    first, second = (work.read("frames", work.index + step) for step in (0, 1))
    rays, finder = pixel_rays(camera), HoodFinder((camera.height, camera.width), config.hood)
    flow = plain_pair(DisFlow(config.survey_flow), first, second, config)
    pair = no_pair() if flow is None else look_at_pair(flow, rays, camera, config.ego, config.ground)
    if flow is not None and pair.ground is not None:
        below = pair.ground.inverse_depth(rays)
        expected = static_flow_px(below, pair.motion.rotation, pair.motion.direction, camera)
        finder.add(flow.forward_px, np.where((below > 0)[..., None], expected, 0))
    still, telling = (np.packbits(count.astype(bool)) for count in finder.counts())
    return {"survey_pair": pair_to_json(pair), "survey": {"still": still, "telling": telling}}


def clip_geometry(work: Work, settings: GeometrySettings) -> dict[str, Any]:
    """Learn from all pairs how the camera is mounted and where the hood is."""
    camera = camera_of(work)
    shape = (camera.height, camera.width)
    finder, known = HoodFinder(shape, settings.hood), set(work.numbers("survey"))
    for number in sorted(known):
        votes = work.read("survey", number)
        still, telling = (
            np.unpackbits(votes[name], count=shape[0] * shape[1]).reshape(shape).astype(np.int32)
            for name in ("still", "telling")
        )
        finder.add_counts(still, telling)
    pairs = [
        pair_from_json(work.read("survey_pair", number)) if number in known else no_pair()
        for number in range(len(work.clip) - 1)
    ]
    return {"geometry": geometry_to_arrays(habits(pairs, settings.ground), finder.mask())}


def flow_of_pair(work: Work, settings: FlowSettings) -> dict[str, Any]:
    """Estimate flow both ways, ego-motion and ground, with what the clip knows."""
    config, camera, number = _whole(settings), camera_of(work), work.index
    geometry = geometry_from_arrays(work.read("geometry"), {number: pair_from_json(work.read("survey_pair", number))})
    first, second = (work.read("frames", number + step) for step in (0, 1))
    pair = estimate_pair(DisFlow(config.flow), first, second, number, geometry, pixel_rays(camera), camera, config)
    return {"flow": flow_to_arrays(pair.flow), "ego": pair_to_json(PairGeometry(pair.motion, pair.ground))}


def cues_of_clip(work: Work, settings: CueSettings) -> Iterator[tuple[str, int | None, Any]]:
    """Compute depth and motion frame after frame: each frame's depth leans on what the one before knew.

    A frame that no neighbour shows (a cut, darkness, an unreadable image) gets none and is listed.
    """
    config, held, unknown = _whole(settings), None, []
    pairs = set(work.numbers("flow"))
    for number in work.numbers("frames"):
        cues = _cues(work, number, held, config) if pairs & {number - 1, number} else None
        if cues is None or not cues.known:
            unknown.append(number)
            continue
        held = cues.held_inverse_depth
        yield "static_depth", number, {"depth_heights": cues.depth_heights.astype(cue_formats.STORED)}
        fields = {"motion": cues.motion.astype(cue_formats.STORED), "rest_px": cues.rest_px.astype(cue_formats.STORED)}
        yield "motion", number, {**fields, "may_move": cues.may_move}
    yield "cue_table", None, {"unknown": unknown}


def instances_of_frame(work: Work, config: InstancesConfig) -> dict[str, Any]:
    """Grow, complete and clean the instances of a frame."""
    camera, number = camera_of(work), work.index
    depth, motion = work.read("static_depth", number), work.read("motion", number)
    if work.has("ego", number) and pair_from_json(work.read("ego", number)).motion.kind != "unknown":
        flow = _flow(work, number).forward_px
    else:
        flow = -_flow(work, number - 1).backward_px
    habit = _habit(work, number)
    rays = pixel_rays(camera)
    ground = np.zeros(rays.shape[:2], np.float32) if habit.normal is None else ground_in_heights(habit.normal, rays)
    fields = (motion["rest_px"], depth["depth_heights"], motion["motion"])
    rest_px, depth_heights, moving = (values.astype(np.float32) for values in fields)
    cues = FrameCues(number, True, flow, rest_px, depth_heights, moving, ground, motion["may_move"].copy(), None, None)
    found = frame_instances(cues, camera.fx, config)
    standing = 1 / stand_on_ground(1 / depth_heights, found, ground)
    return {"instances": found, "depth": {"depth_heights": standing.astype(cue_formats.STORED)}}


def tracks_of_clip(work: Work, config: TrackingConfig) -> dict[str, Any]:
    """Give instances identities over time; frames that failed part the clip."""
    offset, tracks = 0, []
    for run in runs_of(work.numbers("instances"), set(work.numbers("flow"))):
        flows = Lazy(work, "flow", run[:-1], flow_from_arrays)
        tracked = track_instances(Lazy(work, "instances", run, np.asarray), flows, config)
        tracks += [(number, np.where(ids > 0, ids + offset, 0)) for number, ids in zip(run, tracked, strict=True)]
        offset = max(offset, *(int(ids.max(initial=0)) for _, ids in tracks[-len(run) :]))
    frames = {number: np.unique(ids[ids > 0]).tolist() for number, ids in tracks}
    return {"tracks": tracks, "track_table": {"count": offset, "frames": {str(n): ids for n, ids in frames.items()}}}


def runs_of(frames: Sequence[int], pairs: set[int]) -> list[list[int]]:
    """Part frames where one is missing or no flow joins two."""
    runs: list[list[int]] = [[number] for number in frames[:1]]
    for before, number in pairwise(frames):
        if number == before + 1 and before in pairs:
            runs[-1].append(number)
        else:
            runs.append([number])
    return runs


@dataclass(frozen=True)
class Lazy(Sequence[Any]):
    """Artefacts that are read when they are asked for: a long clip must not lie in memory."""

    work: Work
    kind: str
    numbers: Sequence[int]
    convert: Any = field(repr=False)

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return replace(self, numbers=self.numbers[index])
        return self.convert(self.work.read(self.kind, self.numbers[index]))


def camera_of(work: Work) -> CameraModel:
    """Return the clip's camera; one without calibration is refused."""
    camera = work.clip.info.camera
    if camera is None:
        raise ValueError(f"clip {work.clip.info.name!r} has no camera intrinsics; ingest it with a calibration")
    return camera


def _cues(work: Work, number: int, held: FloatMap | None, config: ClassicalConfig) -> FrameCues:
    camera = camera_of(work)

    def neighbour(frame: int, pair: int) -> tuple[Any, FramePair] | None:
        if not (work.has("flow", pair) and work.has("frames", frame)):
            return None
        found = pair_from_json(work.read("ego", pair))
        return work.read("frames", frame), FramePair(_flow(work, pair), found.motion, found.ground)

    hood = work.read("geometry")["hood"]
    before, after = neighbour(number - 1, number - 1), neighbour(number + 1, number)
    rgb, rays = work.read("frames", number), pixel_rays(camera)
    return cues_of_frame(number, rgb, before, after, _habit(work, number), hood, held, rays, camera, config)


def _habit(work: Work, number: int) -> Habit:
    known = geometry_from_arrays(work.read("geometry"), {}).habits
    return known[min(number, len(known) - 1)] if known else Habit(None, None)


def _flow(work: Work, pair: int) -> FlowPair:
    return flow_from_arrays(work.read("flow", pair))


def _part(cls: type[Any], config: ClassicalConfig) -> Any:
    return cls(**{name: getattr(config, name) for name in cls.__dataclass_fields__})


def _whole(part: Any) -> ClassicalConfig:
    """Return a full config; what is not in the part keeps its default, so that nothing unseen decides a result."""
    return replace(QUALITY, **{name: getattr(part, name) for name in part.__dataclass_fields__})
