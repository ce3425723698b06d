"""The numbers a step is computed in: fp32, bf16 where the operations allow it, or fp16 with a scaled loss."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch
from torch import Tensor

_TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Precision:
    """Autocast and gradient scaling of one run."""

    def __init__(self, name: str, device: str) -> None:
        self.device = device.split(":")[0]
        if name == "fp16" and self.device == "cpu":
            raise ValueError("loop.precision=fp16 needs a GPU; take bf16 or fp32 on a CPU")
        self._type = _TYPES.get(name)
        self.scaler = torch.amp.GradScaler(self.device, enabled=name == "fp16")

    def autocast(self) -> AbstractContextManager[None]:
        """Return the context for a network's forward pass."""
        return torch.autocast(self.device, dtype=self._type, enabled=self._type is not None)

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of ``loss``, scaled."""
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]

    def unscale(self, optimizer: torch.optim.Optimizer) -> None:
        """Take the scale out of the gradients."""
        self.scaler.unscale_(optimizer)

    def step(self, optimizer: torch.optim.Optimizer, finite: bool) -> None:
        """Let the optimizer step, unless a gradient is no number."""
        if finite:
            self.scaler.step(optimizer)
        self.scaler.update()

    def state(self) -> dict[str, Tensor]:
        """Return the scale's memory for a checkpoint."""
        return {f"scaler.{name}": torch.tensor(value) for name, value in self.scaler.state_dict().items()}

    def load(self, state: dict[str, Tensor]) -> None:
        """Take back what ``state`` gave."""
        found = {name.removeprefix("scaler."): value.item() for name, value in state.items() if "scaler." in name}
        if found:
            self.scaler.load_state_dict(found)
