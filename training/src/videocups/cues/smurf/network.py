"""RAFT from torchvision, with weights of our own."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchvision.models.optical_flow import raft_large, raft_small

from videocups.cues.smurf.config import FlowNetworkConfig

SMALLEST_PX = 128  # torchvision's correlation pyramid has four levels above 1/8 of the image


class FlowNetwork(nn.Module):
    """Flow from one image to another."""

    def __init__(self, config: FlowNetworkConfig) -> None:
        super().__init__()
        build = {"small": raft_small, "large": raft_large}[config.size]
        self.raft = build(weights=None, progress=False)
        # SMURF normalises each image by itself, in the context network too: its batches are too small for BatchNorm
        _replace_batch_norm(self.raft.context_encoder)
        self.raft.feature_encoder = CommonScale(self.raft.feature_encoder)

    def forward(self, first: Tensor, second: Tensor, updates: int) -> list[Tensor]:
        """Return flow (B, 2, H, W) in px after each update; images (B, 3, H, W) in [0, 1], H and W multiples of 8."""
        flows: list[Tensor] = self.raft(first * 2 - 1, second * 2 - 1, num_flow_updates=updates)
        return flows

    def features(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        """Return what is correlated of two images: features (B, C, H/8, W/8) each."""
        one, other = self.raft.feature_encoder(torch.cat([first, second]) * 2 - 1).chunk(2)
        return one, other


class CommonScale(nn.Module):
    """Bring the features of a pair of images, halves of a batch, to mean 0 and deviation 1 in every channel.

    As they leave the encoder, what all places have in common outweighs what tells them apart: correlations of random
    features then say next to nothing, and whoever reads them learns to look away.
    """

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, images: Tensor) -> Tensor:
        """Return features (2B, C, h, w) of images (2B, 3, H, W), first images before second ones."""
        features = torch.stack(self.encoder(images).chunk(2))
        deviation, mean = torch.std_mean(features, dim=(0, 3, 4), keepdim=True)
        return ((features - mean) / (deviation + 1e-5)).flatten(0, 1)


def _replace_batch_norm(module: nn.Module) -> None:
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            setattr(module, name, nn.InstanceNorm2d(child.num_features))
        else:
            _replace_batch_norm(child)
