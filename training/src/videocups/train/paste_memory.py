"""What can be pasted: objects seen in the last batches, from labels and from the model's own predictions.

The memory is part of a checkpoint, so that a run that goes on pastes the same objects as one that never stopped.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from videocups.train.copy_paste import Cutout, Way, draw_way
from videocups.train.panoptic_config import PasteConfig

SOURCES = ("labels", "own")


class PasteMemory:
    """The newest objects of each source, oldest first."""

    def __init__(self, config: PasteConfig) -> None:
        self.config = config
        self._kept: dict[str, deque[Cutout]] = {source: deque(maxlen=config.memory) for source in SOURCES}

    def count(self, source: str) -> int:
        """Return how many objects of a source there are."""
        return len(self._kept[source])

    def add(self, source: str, cutouts: Iterable[Cutout]) -> None:
        """Remember objects; the oldest are forgotten."""
        self._kept[source].extend(cutouts)

    def draw(self, height: int, width: int, rng: np.random.Generator) -> list[tuple[Cutout, Way]]:
        """Draw objects and their ways over a pair of this size; none while nothing is remembered."""
        pieces = []
        fewest, most = self.config.objects
        for _ in range(int(rng.integers(fewest, most + 1))):
            own = self._kept["own"] if rng.random() < self.config.own_share else self._kept["labels"]
            source = own or self._kept["labels"] or self._kept["own"]
            pick, way = rng.random(), draw_way(height, width, self.config, rng)
            if source:
                pieces.append((source[int(pick * len(source))], way))
        return pieces

    def state(self) -> dict[str, Tensor]:
        """Return everything as tensors, for a checkpoint."""
        state: dict[str, Tensor] = {}
        for source, kept in self._kept.items():
            for number, cutout in enumerate(kept):
                for frame, (image, mask) in (("first", cutout.first), ("second", cutout.second)):
                    name = f"{source}.{number:05d}.{frame}"
                    state[f"{name}.image"] = torch.from_numpy(np.ascontiguousarray(image))
                    state[f"{name}.mask"] = torch.from_numpy(np.ascontiguousarray(mask))
                state[f"{source}.{number:05d}.thing"] = torch.tensor(cutout.thing)
        return state

    def load(self, state: dict[str, Tensor]) -> None:
        """Take back what ``state`` gave."""
        for source, kept in self._kept.items():
            kept.clear()
            for number in sorted({name.split(".")[1] for name in state if name.startswith(f"{source}.")}):
                patches = [
                    tuple(state[f"{source}.{number}.{frame}.{part}"].numpy() for part in ("image", "mask"))
                    for frame in ("first", "second")
                ]
                kept.append(Cutout(patches[0], patches[1], int(state[f"{source}.{number}.thing"])))  # type: ignore[arg-type]
