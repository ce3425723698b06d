"""What stages read of a clip: its camera, how that is mounted, the flow of a pair, a frame with its neighbours."""

from __future__ import annotations

from videocups.cues.clip_geometry import Habit
from videocups.cues.epipolar import pixel_rays
from videocups.cues.flow import FlowPair
from videocups.cues.frame_cues import ground_of_habit
from videocups.cues.frame_in_time import FrameInTime, frame_in_time
from videocups.cues.frame_pair import FramePair
from videocups.pipeline.cue_formats import flow_from_arrays, geometry_from_arrays, pair_from_json
from videocups.pipeline.work import Work
from videocups_core.types import CameraModel


def camera_of(work: Work) -> CameraModel:
    """Return the clip's camera; one without calibration is refused."""
    camera = work.clip.info.camera
    if camera is None:
        raise ValueError(f"clip {work.clip.info.name!r} has no camera intrinsics; ingest it with a calibration")
    return camera


def habit_of(work: Work, number: int) -> Habit:
    """Return how the camera is mounted, as far as the clip tells."""
    known = geometry_from_arrays(work.read("geometry"), {}).habits
    return known[min(number, len(known) - 1)] if known else Habit(None, None)


def flow_of(work: Work, pair: int) -> FlowPair:
    """Return the flow of a pair."""
    return flow_from_arrays(work.read("flow", pair))


def frame_of(work: Work, far_frames: int) -> FrameInTime:
    """Return the item's frame with its neighbours, as far as their flow is there."""
    number, reach = work.index, max(1, far_frames)
    pairs = {}
    for pair in range(number - reach, number + reach):
        if work.has("flow", pair):
            found = pair_from_json(work.read("ego", pair))
            pairs[pair] = FramePair(flow_of(work, pair), found.motion, found.ground)
    images = {number: work.read("frames", number)}
    for steps in {1, far_frames} - {0}:
        for frame, first in ((number + steps, number), (number - steps, number - steps)):
            if all(pair in pairs for pair in range(first, first + steps)):  # else it may be one that cannot be read
                images[frame] = work.read("frames", frame)
    ground = ground_of_habit(habit_of(work, number), pixel_rays(camera_of(work)))
    return frame_in_time(number, images, pairs, far_frames, ground)
