"""Two frames in a row: their flow, the motion of the camera between them and the ground."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from videocups.cues.ego_motion import EgoMotion
from videocups.cues.flow import FloatMap, FlowPair
from videocups.cues.ground_plane import Ground


@dataclass(frozen=True)
class View:
    """A neighbour in time as one frame sees it.

    ``flow_px`` (H, W, 2) to the neighbour, ``visible`` (H, W) there, ``motion`` of the camera to the neighbour,
    ``ground`` in this frame's camera.
    """

    flow_px: FloatMap
    visible: NDArray[np.bool_]
    motion: EgoMotion
    ground: Ground | None


@dataclass(frozen=True)
class FramePair:
    """Frames t and t+1; ``motion`` from the first to the second, ``ground`` in the first camera."""

    flow: FlowPair
    motion: EgoMotion
    ground: Ground | None

    def from_first(self) -> View:
        """Return how the first frame sees the second."""
        return View(self.flow.forward_px, self.flow.visible_forward, self.motion, self.ground)

    def from_second(self) -> View:
        """Return how the second frame sees the first."""
        ground = None if self.ground is None else self.ground.in_second_camera(self.motion)
        return View(self.flow.backward_px, self.flow.visible_backward, self.motion.reversed(), ground)
