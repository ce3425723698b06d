"""The inference face in torch behind the engines' interface: the link between a network and its exported graph."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from videocups.model.network import PanopticNetwork
from videocups.model.static_network import OUTPUT_NAMES, StaticNetwork
from videocups.train.network_engine import NetworkEngine
from videocups_core.engine.base import EngineInfo, InputSpec, RawOutputs, check_image


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
                outputs = self._face(torch.from_numpy(np.ascontiguousarray(image)).to(self.device))
        finally:
            self.network.train(training)
        arrays = {name: value.cpu().numpy() for name, value in zip(OUTPUT_NAMES, outputs, strict=True)}
        return RawOutputs.from_mapping(arrays)

    def describe(self) -> EngineInfo:
        """Say what runs where."""
        return replace(super().describe(), provider="PyTorch, static graph", outputs=OUTPUT_NAMES)
