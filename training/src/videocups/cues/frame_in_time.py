"""A frame and its neighbours in time, near and far."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from videocups.cues.far_view import far_view
from videocups.cues.flow import FloatMap
from videocups.cues.frame_pair import FramePair, View

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class Neighbour:
    """Another frame's image (H, W, 3), and how this frame sees it."""

    rgb: Image
    view: View


@dataclass(frozen=True)
class FrameInTime:
    """A frame and those neighbours to which the camera's motion is known: the later one first.

    ``near``: the next frames, ``far``: those some frames away; ``pair``: to the next frame, None at the end. ``ground``
    (H, W): its inverse depth in 1/camera heights.
    """

    index: int
    rgb: Image
    pair: FramePair | None
    near: tuple[Neighbour, ...]
    far: tuple[Neighbour, ...]
    ground: FloatMap


def frame_in_time(
    index: int, images: Mapping[int, Image], pairs: Mapping[int, FramePair], far_frames: int, ground: FloatMap
) -> FrameInTime:
    """Join frame ``index`` with its neighbours, as far as ``images`` and ``pairs`` hold them; pair t joins t and t+1.

    ``far_frames``: so far away are the far neighbours; 0 is without.
    """
    near, far = (_neighbours(index, steps, images, pairs) for steps in (1, far_frames))
    return FrameInTime(index, images[index], pairs.get(index), near, far, ground)


def _neighbours(
    index: int, steps: int, images: Mapping[int, Image], pairs: Mapping[int, FramePair]
) -> tuple[Neighbour, ...]:
    if not steps:
        return ()
    ahead = [pairs[at].from_first() for at in range(index, index + steps) if at in pairs]
    behind = [pairs[at].from_second() for at in range(index - 1, index - 1 - steps, -1) if at in pairs]
    found = []
    for frame, views in ((index + steps, ahead), (index - steps, behind)):
        view = far_view(views) if len(views) == steps and frame in images else None
        if view is not None:
            found.append(Neighbour(images[frame], view))
    return tuple(found)
