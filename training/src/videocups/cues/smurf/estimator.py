"""Trained flow as a flow estimator."""

from __future__ import annotations

from collections.abc import Sequence
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
        return self.flow_px_of_all([(first_rgb, second_rgb)])[0]

    @torch.inference_mode()
    def flow_px_of_all(self, pairs: Sequence[tuple[NDArray[np.uint8], NDArray[np.uint8]]]) -> list[NDArray[np.float32]]:
        """Return the flow of several pairs of one size, in one call of the network."""
        shapes = sorted({rgb.shape for pair in pairs for rgb in pair})
        if len(shapes) > 1:
            raise ValueError(f"flow needs two frames of one size, got {' and '.join(map(str, shapes))}")
        height, width = shapes[0][:2]
        stack = np.stack([*(first for first, _ in pairs), *(second for _, second in pairs)])
        images = torch.from_numpy(stack).to(self.device).permute(0, 3, 1, 2).float() / 255
        if self.at_trained_size and (height, width) != (self.config.data.height, self.config.data.width):
            size = (self.config.data.height, self.config.data.width)
            images = functional.interpolate(images, size=size, mode="bilinear", antialias=True, align_corners=False)
        inner_height, inner_width = images.shape[-2:]
        images = padded(images)
        flow = self._network(images[: len(pairs)], images[len(pairs) :], self.updates)[-1]
        flow = flow[..., :inner_height, :inner_width]
        if (inner_height, inner_width) != (height, width):
            flow = resize_flow(flow, height, width)
        return list(flow.permute(0, 2, 3, 1).cpu().numpy())


def padded(images: Tensor) -> Tensor:
    """Repeat the right and lower edges up to multiples of 8 and the smallest size RAFT takes."""
    height, width = images.shape[-2:]
    right = max(-width % 8, SMALLEST_PX - width)
    below = max(-height % 8, SMALLEST_PX - height)
    return functional.pad(images, (0, right, 0, below), mode="replicate") if right or below else images
