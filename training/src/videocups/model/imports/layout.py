"""How images went into a foreign network, and what that does to the first convolution.

Ours sees RGB, (0 … 255 − mean) / deviation with DINO's numbers. A network that saw BGR, or other units, has its first
convolution rewritten so that the same image gives the same features.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from videocups.model.network import DEVIATION_RGB, MEAN_RGB

TOLERANCE = 0.02  # of 0 … 255


@dataclass(frozen=True)
class ImageLayout:
    """``mean`` and ``deviation`` in the order of the channels; both of 0 … 255, or both of 0 … 1."""

    bgr: bool = False
    mean: tuple[float, float, float] = MEAN_RGB
    deviation: tuple[float, float, float] = DEVIATION_RGB

    @property
    def is_ours(self) -> bool:
        """Tell whether nothing has to be done."""
        return not self.bgr and torch.allclose(self.scales(), torch.ones(3), atol=1e-4)

    def scales(self) -> Tensor:
        """Return what each channel of ours (RGB) is multiplied by to give theirs."""
        return torch.tensor(DEVIATION_RGB) / (self._rgb(self.deviation) * self._unit())

    def check(self) -> None:
        """Refuse another mean: at the border, where images are padded, no first layer could make up for it."""
        theirs = self._rgb(self.mean) * self._unit()
        if (theirs - torch.tensor(MEAN_RGB)).abs().max() > TOLERANCE:
            found = ", ".join(f"{value:.3f}" for value in theirs.tolist())
            raise ValueError(
                f"the weights were made for the mean RGB ({found}), ours is {MEAN_RGB}: such a network cannot be "
                "rewritten; is --bgr missing or too much?"
            )

    def rewritten(self, kernel: Tensor) -> Tensor:
        """Return the first convolution (C, 3, k, k) for our images."""
        self.check()
        ordered = kernel.flip(1) if self.bgr else kernel
        return ordered * self.scales().to(kernel.dtype).reshape(1, 3, 1, 1)

    def _rgb(self, values: tuple[float, float, float]) -> Tensor:
        return torch.tensor(values[::-1] if self.bgr else values, dtype=torch.float32)

    def _unit(self) -> float:
        """Return 255 where their images were in 0 … 1: such means are below 1."""
        return 255.0 if max(self.mean) <= 1 else 1.0


def layout_of(tensors: dict[str, Tensor], bgr: bool) -> ImageLayout | None:
    """Return the layout that the file itself states (detectron2 used to save it), None where it says nothing."""
    found = {name: tensors.get(name) for name in ("pixel_mean", "pixel_std")}
    mean, deviation = found["pixel_mean"], found["pixel_std"]
    if mean is None or deviation is None:
        return None
    a, b = ([float(value) for value in part.flatten()] for part in (mean, deviation))
    return ImageLayout(bgr, (a[0], a[1], a[2]), (b[0], b[1], b[2]))
