"""The running average of a network's weights: steadier than the weights themselves."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class WeightAverage:
    """Averages of all weights and buffers, on their device; whole numbers are copied."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.tensors: dict[str, Tensor] = {name: value.detach().clone() for name, value in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module, step: int, *, ramp: bool = True) -> None:
        """Take in the weights after ``step`` steps.

        With ``ramp`` the average is shorter at first, or it would stay with weights that know nothing yet.
        """
        decay = min(self.decay, (1 + step) / (10 + step)) if ramp else self.decay
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                self.tensors[name].lerp_(value, 1 - decay)
            else:
                self.tensors[name].copy_(value)

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Take back the ``tensors`` of another run."""
        for name, value in tensors.items():
            self.tensors[name].copy_(value)
