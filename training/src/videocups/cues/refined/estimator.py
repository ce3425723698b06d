"""Refined flow as a flow estimator."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from videocups.cues.flow import DisFlow, FloatMap
from videocups.cues.refined.config import RefinedConfig
from videocups.cues.refined.network import RefinementNetwork
from videocups.cues.refined.training import KIND, as_tensor
from videocups.train.checkpoint import read_checkpoint
from videocups_core.config import from_mapping

Image = NDArray[np.uint8]


class RefinedFlow:
    """Flow by a checkpoint of kind "refined": dense inverse search and what the network makes of it."""

    def __init__(self, checkpoint: Path | str, *, device: str = "cpu") -> None:
        found = read_checkpoint(checkpoint, KIND)
        self.config = from_mapping(RefinedConfig, found.config, source=str(found.folder))
        self.device = device
        self._start = DisFlow(self.config.start)
        self._network = RefinementNetwork(self.config.network)
        found.load_model(self._network)
        self._network.to(device).eval()

    def flow_px(self, first_rgb: Image, second_rgb: Image) -> FloatMap:
        """Return (H, W, 2) float32 flow in px from the first to the second frame, (H, W, 3) uint8 RGB each."""
        return self.flow_px_of_all([(first_rgb, second_rgb)])[0]

    @torch.inference_mode()
    def flow_px_of_all(self, pairs: Sequence[tuple[Image, Image]]) -> list[FloatMap]:
        """Return the flow of several pairs of one size, in one call of the network."""
        shapes = sorted({rgb.shape for pair in pairs for rgb in pair})
        if len(shapes) > 1:
            raise ValueError(f"flow needs two frames of one size, got {' and '.join(map(str, shapes))}")
        height, width = shapes[0][:2]
        around = (0, -width % 8, 0, -height % 8)
        flows = [(self._start.flow_px(first, second), self._start.flow_px(second, first)) for first, second in pairs]
        fields = [torch.stack([as_tensor(pair[at]) for pair in pairs]) / 255 for at in (0, 1)]
        fields += [torch.stack([as_tensor(pair[at]) for pair in flows]) for at in (0, 1)]
        padded = [functional.pad(field.to(self.device), around, mode="replicate") for field in fields]
        refined = self._network(*padded).flow_px[..., :height, :width]
        return list(refined.permute(0, 2, 3, 1).cpu().numpy())
