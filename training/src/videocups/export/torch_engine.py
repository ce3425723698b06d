"""The network in torch behind the engines' interface: what an export is compared with, and how labels are predicted."""

from __future__ import annotations

import platform
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from videocups import __version__
from videocups.model.network import PanopticNetwork
from videocups.model.static_network import OUTPUT_NAMES, StaticNetwork, to_uint8
from videocups_core.bundle import ModelBundle
from videocups_core.config import to_mapping
from videocups_core.engine.base import EngineInfo, InputSpec, RawOutputs, check_image


class TorchEngine:
    """``network`` in evaluation mode for images of ``spec``; the weights are shared, so it follows the training.

    ``static`` runs the graph that is exported, without it torchvision's own suppression and RoIAlign do the work.
    """

    def __init__(self, network: PanopticNetwork, spec: InputSpec, *, static: bool = False) -> None:
        self.spec = spec
        self.static = static
        self.network = network
        self.device = next(network.parameters()).device
        self._face = StaticNetwork(network, spec.height, spec.width)

    def load(self) -> None:
        """Nothing to do: the weights are there."""

    def warm_up(self, runs: int = 2) -> None:
        """Run on a blank image."""
        for _ in range(runs):
            self.infer(np.zeros(self.spec.shape, dtype=np.uint8))

    @torch.no_grad()
    def infer(self, image: NDArray[np.uint8]) -> RawOutputs:
        """Run the network on one (1, H, W, 3) uint8 RGB image."""
        check_image(image, self.spec)
        was_training = self.network.training
        self.network.eval()
        try:
            pixels = torch.from_numpy(np.ascontiguousarray(image)).to(self.device)
            outputs = self._face(pixels) if self.static else self._detect(pixels)
        finally:
            self.network.train(was_training)
        arrays = {name: value.cpu().numpy() for name, value in zip(OUTPUT_NAMES, outputs, strict=True)}
        return RawOutputs.from_mapping(arrays)

    def describe(self) -> EngineInfo:
        """Say what runs where."""
        dtype = str(next(self.network.parameters()).dtype).removeprefix("torch.float")
        return EngineInfo(
            backend="torch",
            device=str(self.device),
            provider="static graph" if self.static else "torchvision operators",
            precision=f"fp{dtype}",
            threads=torch.get_num_threads(),
            input_shape=self.spec.shape,
            model_sha256="",
            versions={"torch": str(torch.__version__), "python": platform.python_version()},
            outputs=OUTPUT_NAMES,
        )

    def _detect(self, pixels: Tensor) -> tuple[Tensor, ...]:
        (found,), logits = self.network.detect(pixels.permute(0, 3, 1, 2))
        semantic, semantic_score = self._face.stuff_maps(logits)
        rows = self.network.config.inference.max_detections - len(found.scores)
        things = self._face.get_buffer("thing_ids")
        padded = [
            torch.cat([values, values.new_zeros(rows, *values.shape[1:])])
            for values in (to_uint8(found.masks), found.boxes, found.scores, found.classes, found.embeddings)
        ]
        masks, boxes, scores, classes, embeddings = padded
        return semantic, masks, boxes, scores, things[classes], embeddings, semantic_score


def network_bundle(network: PanopticNetwork, spec: InputSpec, model_id: str = "network") -> ModelBundle:
    """Describe ``network`` as a bundle that has no file yet, for a Stream over a TorchEngine."""
    return ModelBundle(
        folder=Path(),
        model_id=model_id,
        classes=network.classes.bundle_classes,
        input=spec,
        onnx_sha256="",
        training_config={"model": to_mapping(network.config)},
        versions={"videocups": __version__, "torch": str(torch.__version__)},
    )
