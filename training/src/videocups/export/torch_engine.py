"""The inference face in torch behind the engines' interface: the link between a network and its exported graph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from videocups.model.network import PanopticNetwork
from videocups.model.static_network import OUTPUT_NAMES, StaticNetwork
from videocups.train.network_engine import NetworkEngine
from videocups_core.engine.base import EngineInfo, InputSpec, RawOutputs, check_image


def download(values: Sequence[Tensor]) -> list[NDArray[Any]]:
    """Return tensors as arrays; a GPU is waited for once and not for each."""
    if not values[0].is_cuda:
        return [value.numpy() for value in values]
    here = [torch.empty(value.shape, dtype=value.dtype, pin_memory=True) for value in values]
    for target, value in zip(here, values, strict=True):
        target.copy_(value, non_blocking=True)
    torch.cuda.synchronize(values[0].device)
    return [value.numpy() for value in here]


class TorchEngine(NetworkEngine):
    """What is exported, run by torch; ``NetworkEngine`` runs the same weights with torchvision's own operators."""

    def __init__(self, network: PanopticNetwork, spec: InputSpec) -> None:
        super().__init__(network, spec)
        self._face = StaticNetwork(network, spec.height, spec.width)

    def infer(self, image: NDArray[np.uint8]) -> RawOutputs:
        """Run the static network on one (1, H, W, 3) uint8 RGB image."""
        check_image(image, self.spec)
        training = self.network.training
        self.network.eval()
        try:
            with torch.no_grad():
                outputs = self._face(self.upload(image))
        finally:
            self.network.train(training)
        return RawOutputs.from_mapping(dict(zip(OUTPUT_NAMES, download(outputs), strict=True)))

    def describe(self) -> EngineInfo:
        """Say what runs where."""
        return replace(super().describe(), provider="PyTorch, static graph", outputs=OUTPUT_NAMES)
