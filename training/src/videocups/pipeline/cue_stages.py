"""The stages from frames to cues: survey, geometry, flow, cues, memory."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from videocups.cues.classical import estimate_pair, plain_pair
from videocups.cues.classical_config import ClassicalConfig
from videocups.cues.clip_geometry import PairGeometry, habits, look_at_pair, no_pair
from videocups.cues.depth_memory import looking_back, remember
from videocups.cues.epipolar import pixel_rays, static_flow_px
from videocups.cues.flow import DisFlow, FlowEstimator
from videocups.cues.frame_cues import FrameLook, ground_of_habit, ground_or_level, look_at_frame
from videocups.cues.frame_pair import FramePair, View
from videocups.cues.fused_depth import fused_inverse_depth
from videocups.cues.hood import HoodFinder
from videocups.cues.known_depth import KnownDepth
from videocups.cues.learned.flow_kinds import FLOW_CONFIGS, FLOW_MODULES
from videocups.pipeline import cue_formats
from videocups.pipeline.clip_reading import camera_of, flow_of, frame_of, habit_of
from videocups.pipeline.cue_formats import (
    flow_to_arrays,
    geometry_from_arrays,
    geometry_to_arrays,
    pair_from_json,
    pair_to_json,
    parallax_from_arrays,
    parallax_to_arrays,
)
from videocups.pipeline.cue_settings import (
    CueSettings,
    FlowSettings,
    GeometrySettings,
    KnownDepthSettings,
    LearnedFlowSettings,
    MemorySettings,
    SurveySettings,
    part_of,
    whole,
)
from videocups.pipeline.learned_cues import (
    DEPTH_MODULES,
    LearnedConfig,
    depth_and_scale,
    in_step,
    learned_depth,
    learned_flow,
    network_cue_stages,
    open_network,
    scale_stage,
)
from videocups.pipeline.stage import Input, Output, Stage
from videocups.pipeline.work import LeaveOut, Work


def cue_stages(cues: ClassicalConfig, learned: LearnedConfig) -> tuple[Stage, ...]:
    """Return the stages; each depends on those settings only that it uses."""
    flow, plain = _flow_stages(cues, learned), part_of(CueSettings, cues)
    far = cues.far_frames
    between = tuple(step for step in range(-far, far) if step not in (-1, 0))
    inputs = (
        Input("flow", (-1, 0), "any"),
        Input("flow", between, "optional"),
        Input("ego", (-1, 0), "any"),
        Input("ego", between, "optional"),
        Input("frames"),
        Input("frames", tuple(sorted({-far, -1, 1, far} - {0})), "optional"),
        Input("geometry"),
        Input("clip"),
    )
    motion = Output("motion", ".npz")
    if learned.depth is not None:
        network = open_network(learned.depth, "dynamo")
        if learned.motion == "network":
            return (*flow, *network_cue_stages(network))
        settings = KnownDepthSettings(**vars(plain), known=cues.known, network=network)
        outputs = Output("network_depth", ".npz"), motion
        against_depth = Stage(
            "cues",
            "frame",
            cues_against_depth,
            settings,
            inputs,
            outputs,
            version=2,
            loads=DEPTH_MODULES,
            run_many=in_step(cues_against_depth),
        )
        # motion can be held against depth of hints only
        return (*flow, against_depth, scale_stage(in_heights=True))
    outputs = Output("parallax", ".npz"), motion
    return (
        *flow,
        Stage("cues", "frame", cues_of_frame, plain, inputs, outputs, version=3),
        Stage(
            "memory",
            "clip",
            depth_of_clip,
            part_of(MemorySettings, cues),
            (
                Input("parallax", need="any"),
                Input("flow", need="any"),
                Input("ego", need="any"),
                Input("geometry"),
                Input("clip"),
            ),
            (Output("static_depth", ".npz", each_frame=True),),
            version=2,
        ),
    )


def _flow_stages(cues: ClassicalConfig, learned: LearnedConfig) -> tuple[Stage, ...]:
    flow = part_of(FlowSettings, cues)
    if learned.flow is not None:
        flow = LearnedFlowSettings(**vars(flow), network=open_network(learned.flow, *FLOW_CONFIGS))
    return (
        Stage(
            "survey",
            "pair",
            survey_pair,
            part_of(SurveySettings, cues),
            (Input("frames", (0, 1)), Input("clip")),
            (Output("survey_pair", ".json"), Output("survey", ".npz")),
            version=2,
        ),
        Stage(
            "geometry",
            "clip",
            clip_geometry,
            part_of(GeometrySettings, cues),
            (Input("survey_pair", need="any"), Input("survey", need="any"), Input("clip")),
            (Output("geometry", ".npz"),),
            version=2,
        ),
        Stage(
            "flow",
            "pair",
            flow_of_pair,
            flow,
            (Input("frames", (0, 1)), Input("survey_pair"), Input("geometry"), Input("clip")),
            (Output("flow", ".npz"), Output("ego", ".json")),
            version=2,
            loads=FLOW_MODULES if learned.flow is not None else (),
            run_many=in_step(flow_of_pair) if learned.flow is not None else None,
        ),
    )


def survey_pair(work: Work, settings: SurveySettings) -> dict[str, Any]:
    """Look at a pair quickly: motion, ground, and the votes on the hood."""
    config, camera = whole(settings), camera_of(work)
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
    config, camera, number = whole(settings), camera_of(work), work.index
    geometry = geometry_from_arrays(work.read("geometry"), {number: pair_from_json(work.read("survey_pair", number))})
    first, second = (work.read("frames", number + step) for step in (0, 1))
    estimator: FlowEstimator = DisFlow(config.flow)
    if isinstance(settings, LearnedFlowSettings):
        estimator = learned_flow(settings.network)
    pair = estimate_pair(estimator, first, second, number, geometry, pixel_rays(camera), camera, config)
    return {"flow": flow_to_arrays(pair.flow), "ego": pair_to_json(PairGeometry(pair.motion, pair.ground))}


def cues_of_frame(work: Work, settings: CueSettings) -> dict[str, Any]:
    """Hold a frame against its neighbours; one that none shows (a cut, darkness) is left out."""
    look = _look(work, settings, None)
    return {"parallax": parallax_to_arrays(look.measured, look.steady), "motion": _motion_fields(look)}


def cues_against_depth(work: Work, settings: KnownDepthSettings) -> dict[str, Any]:
    """Do the same with the depth that a network sees in the frame, and let both say how far what stands is."""
    known = learned_depth(settings.network).known_depth(work.read("frames", work.index).copy())
    look = _look(work, settings, known)
    ground = ground_of_habit(habit_of(work, work.index), pixel_rays(camera_of(work)))
    depth = np.float32(1) / fused_inverse_depth(known, look.measured, look.motion, ground, settings.depth)
    return {"network_depth": depth_and_scale(depth, ground), "motion": _motion_fields(look)}


def _look(work: Work, settings: CueSettings, known: KnownDepth | None) -> FrameLook:
    config, camera = whole(settings), camera_of(work)
    frame = frame_of(work, config.far_frames)
    look = look_at_frame(frame, work.read("geometry")["hood"], pixel_rays(camera), camera, config, known)
    if not look.known:
        raise LeaveOut("no neighbour in time shows the same place: a cut, darkness, or a single frame")
    return look


def _motion_fields(look: FrameLook) -> dict[str, Any]:
    fields = {"motion": look.motion.astype(cue_formats.STORED), "rest_px": look.rest_px.astype(cue_formats.STORED)}
    return {**fields, "may_move": look.may_move}


def depth_of_clip(work: Work, settings: MemorySettings) -> Iterator[tuple[str, int | None, Any]]:
    """Make depth dense frame after frame: where a camera creeps or stands, it leans on what the frame before knew."""
    held, before, rays = None, -1, pixel_rays(camera_of(work))
    for number in work.numbers("parallax"):
        seen = parallax_from_arrays(work.read("parallax", number))
        ground = ground_or_level(ground_of_habit(habit_of(work, number), rays), rays)
        look_back = partial(_view_back, work, number) if before == number - 1 else None
        inverse, held = remember(*seen, ground, held, settings.depth, look_back)
        before = number
        yield "static_depth", number, {"depth_heights": (np.float32(1) / inverse).astype(cue_formats.STORED)}


def _view_back(work: Work, number: int) -> View | None:
    if not work.has("flow", number - 1):
        return None
    found = pair_from_json(work.read("ego", number - 1))
    return looking_back(FramePair(flow_of(work, number - 1), found.motion, found.ground))()
