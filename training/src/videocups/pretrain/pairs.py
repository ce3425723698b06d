"""Pairs of frames with the flow that links them, from clips without any label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from videocups.cues.flow import DisFlow, FlowPair, flow_pair
from videocups.pretrain.config import ViewConfig
from videocups.train.resizing import resized
from videocups_core.clip import Clip


@dataclass(frozen=True)
class Pair:
    """Two frames (H, W, 3) uint8 RGB, their numbers, and flow both ways."""

    first: NDArray[np.uint8]
    second: NDArray[np.uint8]
    numbers: tuple[int, int]
    flow: FlowPair


class FramePairs:
    """All pairs of frames ``gap`` apart of some clips, resized; flow by dense inverse search, checked both ways.

    Every frame has one number over all clips.
    """

    def __init__(self, folders: Sequence[Path], config: ViewConfig) -> None:
        self.config = config
        self.clips = [Clip(folder) for folder in folders]
        self._places = [(at, index) for at, clip in enumerate(self.clips) for index in range(len(clip))]
        starts = np.cumsum([0, *(len(clip) for clip in self.clips)])
        self._pairs = [
            (int(start) + index, int(start) + index + config.gap)
            for start, clip in zip(starts[:-1], self.clips, strict=True)
            for index in range(len(clip) - config.gap)
        ]
        if not self._pairs:
            raise ValueError(
                f"pre-training needs clips of at least {config.gap + 1} frames, got {len(self.clips)} clips, the "
                f"longest of {max(map(len, self.clips), default=0)}; cut longer ones with 'videocups ingest'"
            )
        self._flow = DisFlow()
        self._frames: dict[int, NDArray[np.uint8]] = {}
        self._flows: dict[int, FlowPair] = {}
        self._held = 0

    def __len__(self) -> int:
        return len(self._pairs)

    @property
    def frames(self) -> int:
        """Return how many frames there are."""
        return len(self._places)

    def frame(self, number: int) -> NDArray[np.uint8]:
        """Return a frame by its number, (H, W, 3) uint8 RGB."""
        if number not in self._frames:
            at, index = self._places[number]
            image = np.ascontiguousarray(
                resized(self.clips[at].frame_rgb(index), (self.config.width, self.config.height))
            )
            if not self._room(image.nbytes):
                return image
            self._frames[number] = image
        return self._frames[number]

    def __getitem__(self, index: int) -> Pair:
        first, second = self._pairs[index]
        images = self.frame(first), self.frame(second)
        flow = self._flows.get(index)
        if flow is None:
            flow = _halved(flow_pair(self._flow, *images))
            fields = (flow.forward_px, flow.backward_px, flow.visible_forward, flow.visible_backward)
            if self._room(sum(field.nbytes for field in fields)):
                self._flows[index] = flow
        return Pair(*images, (first, second), flow)

    def _room(self, size: int) -> bool:
        fits = self._held + size <= self.config.cache_mib * 2**20
        self._held += size if fits else 0
        return fits


def _halved(flow: FlowPair) -> FlowPair:
    """Keep flow in half precision, for the memory: a hundredth of a pixel matters to nobody here."""
    forward, backward = (np.asarray(field, np.float16) for field in (flow.forward_px, flow.backward_px))
    return FlowPair(forward, backward, flow.visible_forward, flow.visible_backward)  # type: ignore[arg-type]
