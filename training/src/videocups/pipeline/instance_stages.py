"""The stages from cues to tracked objects: instances and tracks."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from videocups.cues.depth import stand_on_ground
from videocups.cues.epipolar import pixel_rays
from videocups.cues.frame_cues import FrameCues, ground_of_habit
from videocups.fusion.tracking import Tracker, TrackingConfig
from videocups.instances.frame_instances import InstancesConfig, frame_instances
from videocups.pipeline import cue_formats
from videocups.pipeline.clip_reading import camera_of, flow_of, habit_of
from videocups.pipeline.cue_formats import flow_from_arrays, pair_from_json
from videocups.pipeline.stage import Input, Output, Stage
from videocups.pipeline.work import Work


def instance_stages(instances: InstancesConfig, tracking: TrackingConfig) -> tuple[Stage, ...]:
    """Return the stages; they read what the cue stages write."""
    around = Input("flow", (-1, 0), "any")
    ego_around = Input("ego", (-1, 0), "any")
    return (
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


def instances_of_frame(work: Work, config: InstancesConfig) -> dict[str, Any]:
    """Grow, complete and clean the instances of a frame."""
    camera, number = camera_of(work), work.index
    depth, motion = work.read("static_depth", number), work.read("motion", number)
    if work.has("ego", number) and pair_from_json(work.read("ego", number)).motion.kind != "unknown":
        flow = flow_of(work, number).forward_px
    else:
        flow = -flow_of(work, number - 1).backward_px
    ground = ground_of_habit(habit_of(work, number), pixel_rays(camera))
    fields = (motion["rest_px"], depth["depth_heights"], motion["motion"])
    rest_px, depth_heights, moving = (values.astype(np.float32) for values in fields)
    cues = FrameCues(number, True, flow, rest_px, depth_heights, moving, ground, motion["may_move"].copy(), None, None)
    found = frame_instances(cues, camera.fx, config)
    standing = 1 / stand_on_ground(1 / depth_heights, found, ground)
    return {"instances": found, "depth": {"depth_heights": standing.astype(cue_formats.STORED)}}


def tracks_of_clip(work: Work, config: TrackingConfig) -> Iterator[tuple[str, int | None, Any]]:
    """Give instances identities over time; frames that failed part the clip. Memory holds packed ids, no images."""
    offset, frames = 0, dict[str, list[int]]()
    for run in runs_of(work.numbers("instances"), set(work.numbers("flow"))):
        packed, new_id = tracks_of_run(work, run, config)
        for number, ids in zip(run, packed, strict=True):
            tracks = new_id[ids.unpack()]
            tracks[tracks > 0] += offset
            frames[str(number)] = np.unique(tracks[tracks > 0]).tolist()
            yield "tracks", number, tracks
        offset += int(new_id.max(initial=0))
    yield "track_table", None, {"count": offset, "frames": frames}


def tracks_of_run(work: Work, run: Sequence[int], config: TrackingConfig) -> tuple[list[PackedIds], NDArray[np.int32]]:
    """Track frames without a gap; returns ids before short tracks are dropped, and the table that drops them."""
    tracker, packed, seen = Tracker(config), list[PackedIds](), Counter[int]()
    for number in run:
        ahead = None
        if number != run[-1]:
            ahead = work.read("instances", number + 1), flow_from_arrays(work.read("flow", number))
        ids = tracker.advance(work.read("instances", number), ahead)
        seen.update(np.unique(ids[ids > 0]).tolist())
        packed.append(PackedIds.pack(ids))
    new_id = np.zeros(max(seen, default=0) + 1, np.int32)
    kept = sorted(track for track, count in seen.items() if count >= config.min_frames)
    new_id[kept] = np.arange(1, len(kept) + 1)
    return packed, new_id


@dataclass(frozen=True)
class PackedIds:
    """An (H, W) int32 map in a few kilobytes: which tracks are long enough shows only at the end of a clip."""

    data: bytes
    shape: tuple[int, int]

    @classmethod
    def pack(cls, ids: NDArray[np.int32]) -> PackedIds:
        """Compress a map."""
        return cls(zlib.compress(np.ascontiguousarray(ids, np.int32).tobytes(), 1), (ids.shape[0], ids.shape[1]))

    def unpack(self) -> NDArray[np.int32]:
        """Return the map."""
        return np.frombuffer(zlib.decompress(self.data), np.int32).reshape(self.shape)


def runs_of(frames: Sequence[int], pairs: set[int]) -> list[list[int]]:
    """Part frames where one is missing or no flow joins two."""
    runs: list[list[int]] = [[number] for number in frames[:1]]
    for before, number in pairwise(frames):
        if number == before + 1 and before in pairs:
            runs[-1].append(number)
        else:
            runs.append([number])
    return runs
