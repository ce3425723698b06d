"""The mask head: which cells of a box belong to its object, whatever the class."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from videocups.model.config import MaskConfig


class MaskHead(nn.Module):
    """Some convolutions, twice the resolution, one logit a cell."""

    def __init__(self, config: MaskConfig, channels: int) -> None:
        super().__init__()
        widths = [channels] + [config.channels] * config.convs
        self.convs = nn.ModuleList(nn.Conv2d(before, after, 3, padding=1) for before, after in pairwise(widths))
        self.enlarge = nn.ConvTranspose2d(widths[-1], config.channels, 2, stride=2)
        self.predict = nn.Conv2d(config.channels, 1, 1)
        for layer in (*self.convs, self.enlarge):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(layer.bias)
        nn.init.normal_(self.predict.weight, std=0.001)
        nn.init.zeros_(self.predict.bias)  # type: ignore[arg-type]

    def forward(self, pooled: Tensor) -> Tensor:
        """Map (R, C, s, s) to logits (R, 2s, 2s)."""
        field = pooled
        for conv in self.convs:
            field = torch.relu(conv(field))
        logits: Tensor = self.predict(torch.relu(self.enlarge(field)))
        return logits[:, 0]


def mask_targets(instances: Tensor, rows: Tensor, boxes: Tensor, size: int) -> Tensor:
    """Return what the head should say of each box (R, 4): (R, size, size) float of 0 and 1.

    ``instances`` (H, W): 0 none, n + 1 = row n; ``rows`` (R,): the row each box is on. A cell takes the pixel that its
    centre lies in; outside of the image is no object.
    """
    height, width = instances.shape
    steps = (torch.arange(size, device=boxes.device) + 0.5) / size
    x = (boxes[:, 0:1] + steps * (boxes[:, 2:3] - boxes[:, 0:1])).floor().long()
    y = (boxes[:, 1:2] + steps * (boxes[:, 3:4] - boxes[:, 1:2])).floor().long()
    inside = ((y >= 0) & (y < height))[:, :, None] & ((x >= 0) & (x < width))[:, None, :]
    found = instances[y.clamp(0, height - 1)[:, :, None], x.clamp(0, width - 1)[:, None, :]]
    return ((found == rows[:, None, None] + 1) & inside).float()
