"""Trained flow as a flow estimator."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from videocups.cues.learned.sampling import resize_flow
from videocups.cues.smurf.config import SmurfConfig
from videocups.cues.smurf.network import SMALLEST_PX, FlowNetwork
from videocups.cues.smurf.training import KIND
from videocups.train.checkpoint import read_checkpoint
from videocups_core.config import from_mapping


class SmurfFlow:
    """Flow by a checkpoint of ``videocups train flow``; a ``FlowEstimator``.

    ``at_trained_size``: images are resized to the size of the training's images, where the network is at home, and the
    flow back; False takes them as they are. ``updates`` overrides the checkpoint's setting.
    """

    def __init__(
        self, checkpoint: Path | str, *, device: str = "cpu", at_trained_size: bool = True, updates: int | None = None
    ) -> None:
        found = read_checkpoint(checkpoint, KIND)
        self.config = from_mapping(SmurfConfig, found.config, source=str(found.folder))
        self.updates = updates or self.config.network.updates
        self.at_trained_size = at_trained_size
        self.device = device
        self._network = FlowNetwork(self.config.network)
        found.load_model(self._network)
        self._network.to(device).eval()

    @torch.inference_mode()
    def flow_px(self, first_rgb: NDArray[np.uint8], second_rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return (H, W, 2) float32 flow in px from the first to the second frame, (H, W, 3) uint8 RGB each."""
        if first_rgb.shape != second_rgb.shape:
            raise ValueError(f"flow needs two frames of one size, got {first_rgb.shape} and {second_rgb.shape}")
        height, width = first_rgb.shape[:2]
        images = torch.from_numpy(np.stack([first_rgb, second_rgb])).to(self.device).permute(0, 3, 1, 2).float() / 255
        if self.at_trained_size and (height, width) != (self.config.data.height, self.config.data.width):
            size = (self.config.data.height, self.config.data.width)
            images = functional.interpolate(images, size=size, mode="bilinear", antialias=True, align_corners=False)
        inner_height, inner_width = images.shape[-2:]
        images = padded(images)
        flow = self._network(images[:1], images[1:], self.updates)[-1][..., :inner_height, :inner_width]
        if (inner_height, inner_width) != (height, width):
            flow = resize_flow(flow, height, width)
        result: NDArray[np.float32] = flow[0].permute(1, 2, 0).cpu().numpy()
        return result


def padded(images: Tensor) -> Tensor:
    """Repeat the right and lower edges up to multiples of 8 and the smallest size RAFT takes."""
    height, width = images.shape[-2:]
    right = max(-width % 8, SMALLEST_PX - width)
    below = max(-height % 8, SMALLEST_PX - height)
    return functional.pad(images, (0, right, 0, below), mode="replicate") if right or below else images
