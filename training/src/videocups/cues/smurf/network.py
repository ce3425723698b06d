"""RAFT from torchvision, with weights of our own."""

from __future__ import annotations

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

    def forward(self, first: Tensor, second: Tensor, updates: int) -> list[Tensor]:
        """Return flow (B, 2, H, W) in px after each update; images (B, 3, H, W) in [0, 1], H and W multiples of 8."""
        flows: list[Tensor] = self.raft(first * 2 - 1, second * 2 - 1, num_flow_updates=updates)
        return flows


def _replace_batch_norm(module: nn.Module) -> None:
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            setattr(module, name, nn.InstanceNorm2d(child.num_features))
        else:
            _replace_batch_norm(child)
