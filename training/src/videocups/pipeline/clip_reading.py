"""What stages read of a clip: its camera, how that is mounted, and the flow of a pair."""

from __future__ import annotations

from videocups.cues.clip_geometry import Habit
from videocups.cues.flow import FlowPair
from videocups.pipeline.cue_formats import flow_from_arrays, geometry_from_arrays
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
