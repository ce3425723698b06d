"""Trained depth and motion as cues."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from videocups.cues.dynamo.config import DynamoConfig
from videocups.cues.dynamo.networks import DynamoNetwork
from videocups.cues.dynamo.training import KIND
from videocups.cues.known_depth import KnownDepth
from videocups.train.checkpoint import read_checkpoint
from videocups_core.config import from_mapping

Image = NDArray[np.uint8]
FloatMap = NDArray[np.float32]


@dataclass(frozen=True)
class DepthMotion:
    """Cues of one frame, (H, W) float32 each.

    ``depth``: along the optical axis, in the unit the training settled on, the same for all frames of its clips.
    ``motion``: probability in [0, 1] that the pixel moves by itself.
    ``camera_motions`` (2, 4, 4): from this camera to the previous and to the next one, in the unit of the depth.
    """

    depth: FloatMap
    motion: FloatMap
    camera_motions: NDArray[np.float32]


class DynamoCues:
    """Depth and motion by a checkpoint of ``videocups train depth``. Intrinsics are not needed any more."""

    def __init__(self, checkpoint: Path | str, *, device: str = "cpu") -> None:
        found = read_checkpoint(checkpoint, KIND)
        self.config = from_mapping(DynamoConfig, {**found.config, "network": _own_weights(found.config["network"])})
        self.device = device
        self._network = DynamoNetwork(self.config.network)
        found.load_model(self._network)
        self._network.to(device).eval()

    @torch.inference_mode()
    def cues(self, before_rgb: Image, rgb: Image, after_rgb: Image) -> DepthMotion:
        """Return the cues of the middle one of three frames, (H, W, 3) uint8 RGB each."""
        return self.cues_of_all([(before_rgb, rgb, after_rgb)])[0]

    @torch.inference_mode()
    def cues_of_all(self, threes: Sequence[tuple[Image, Image, Image]]) -> list[DepthMotion]:
        """Return the cues of the middle frames of several threes of one size, in one call of the networks."""
        shapes = {image.shape for three in threes for image in three}
        if len(shapes) > 1:
            raise ValueError(f"motion needs three frames of one size, got {sorted(shapes)}")
        frames = self._frames([image for three in threes for image in three])
        frames = frames.reshape(len(threes), 3, *frames.shape[1:])
        motions, poses = self._network.poses(frames)
        logits = self._network.motion(frames, poses, with_mask=True).logits[0]
        motion = self._at_size(torch.sigmoid(logits), threes[0][1])
        return [
            DepthMotion(*fields)
            for fields in zip(self._depth(frames[:, 1], threes[0][1]), motion, motions.cpu().numpy(), strict=True)
        ]

    def depth(self, rgb: Image) -> FloatMap:
        """Return depth (H, W) of one frame."""
        return self.depth_of_all([rgb])[0]

    @torch.inference_mode()
    def depth_of_all(self, images: Sequence[Image]) -> list[FloatMap]:
        """Return the depth of several frames of one size, in one call of the network."""
        return list(self._depth(self._frames(images), images[0]))

    def known_depth(self, rgb: Image) -> KnownDepth:
        """Return inverse depth and its expected error (H, W), to hold motion against; needs a training with hints."""
        return self.known_depth_of_all([rgb])[0]

    @torch.inference_mode()
    def known_depth_of_all(self, images: Sequence[Image]) -> list[KnownDepth]:
        """Return the same for several frames of one size, in one call of the network."""
        if not self.config.hints.depth:
            raise ValueError(
                "the error of depth was not learned; train with hints.depth > 0, or take the network's mask"
            )
        disparities, error = self._network.depth(self._frames(images))
        inverse = 1 / self._network.depth_of(torch.from_numpy(self._at_size(disparities[0], images[0]))).numpy()
        return [KnownDepth(*fields) for fields in zip(inverse, self._at_size(error, images[0]), strict=True)]

    def of_clip(self, read_frame: Callable[[int], Image], count: int) -> Iterator[DepthMotion]:
        """Yield the cues of all frames of a clip in order; its first and last have their neighbour's motion."""
        gap = self.config.data.gap
        if count < 2 * gap + 1:
            raise ValueError(f"motion needs clips of at least {2 * gap + 1} frames, got {count}; cut longer ones")
        for index in range(count):
            middle = min(max(index, gap), count - 1 - gap)
            found = self.cues(*(read_frame(middle + step) for step in (-gap, 0, gap)))
            if middle != index:
                found = DepthMotion(self.depth(read_frame(index)), found.motion, found.camera_motions)
            yield found

    def _frames(self, images: Sequence[Image]) -> Tensor:
        size = (self.config.data.height, self.config.data.width)
        stack = torch.from_numpy(np.stack(images)).to(self.device).permute(0, 3, 1, 2).float() / 255
        if stack.shape[-2:] == size:
            return stack
        return functional.interpolate(stack, size=size, mode="bilinear", antialias=True, align_corners=False)

    def _depth(self, frames: Tensor, rgb: Image) -> FloatMap:
        """Return (B, H, W)."""
        # disparity is what the network draws smoothly; depth of resized disparity keeps its edges
        disparity = torch.from_numpy(self._at_size(self._network.depth(frames)[0][0], rgb))
        depth: FloatMap = self._network.depth_of(disparity).numpy()
        return depth

    def _at_size(self, field: Tensor, rgb: Image) -> FloatMap:
        resized = functional.interpolate(field, size=rgb.shape[:2], mode="bilinear", align_corners=False)
        result: FloatMap = resized[:, 0].cpu().numpy()
        return result


def _own_weights(network: dict[str, object]) -> dict[str, object]:
    """Return the settings without the weights that the training began with: the checkpoint brings all."""
    return {**network, "initial_encoder": None}
