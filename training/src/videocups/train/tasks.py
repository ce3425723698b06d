"""What a task tells the training loop."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from videocups.train.distributed import Ranks

Batch = dict[str, Tensor]
Loss = tuple[Tensor, dict[str, Tensor]]


class Learning(Protocol):
    """What is learned: network and loss."""

    kind: str
    config: dict[str, Any]
    steps: int

    @property
    def model(self) -> nn.Module:
        """Return the network."""
        ...

    def prepare(self, step: int) -> float:
        """Freeze and unfreeze for this step; return the factor on the learning rate."""
        ...

    def loss(self, batch: Batch, step: int) -> Loss:
        """Return the loss and its parts for the log."""
        ...


class Task(Learning, Protocol):
    """A task that trains in one process."""

    def batch(self, rng: np.random.Generator) -> Batch:
        """Draw a step's data, on the CPU."""
        ...


@runtime_checkable
class SharedTask(Learning, Protocol):
    """A task whose batch several processes share, with a memory of its own and pictures to show."""

    def part(self, seed: int, step: int, place: Ranks) -> Batch:
        """Return this process's part of the data of a step: a function of its arguments."""
        ...

    def finish(self, batch: Batch, seed: int, step: int) -> Batch:
        """Change a batch with what the model and the memory know; called step by step, in order."""
        ...

    def picture(self, batch: Batch) -> NDArray[np.uint8]:
        """Return (H, W, 3): labels and predictions of a batch."""
        ...

    def state(self) -> dict[str, Tensor]:
        """Return the memory, for a checkpoint."""
        ...

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Take back what ``state`` gave."""
        ...
