"""The tracking head: embeddings whose products are the logits of "the same object" (MaskTrack R-CNN)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from videocups.model.cascade import initialize_hidden
from videocups.model.config import TrackConfig

LEAST_LENGTH = 2.0**-13
"""that embeddings are divided by: half precision has this number as well, exactly"""


class TrackHead(nn.Module):
    """Two layers, the last without an activation, so that products may be negative: "new" has logit 0.

    Embeddings have one length. Without it products grow with the square of the features: the loss of a fresh ResNet-50
    began at 73 instead of 2, and its gradient on the backbone was hundreds of times that of any other loss.
    """

    def __init__(self, config: TrackConfig, channels: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels * config.pool**2, config.width)
        self.fc2 = nn.Linear(config.width, config.dim)
        initialize_hidden(self.fc1, self.fc2)
        self.length = math.sqrt(config.scale)

    def forward(self, pooled: Tensor) -> Tensor:
        """Map (R, C, s, s) to embeddings (R, D)."""
        embeddings = self.fc2(torch.relu(self.fc1(pooled.flatten(1))))
        return self.length * functional.normalize(embeddings.float(), dim=1, eps=LEAST_LENGTH)


def association_logits(embeddings: Tensor, references: Tensor) -> Tensor:
    """Return (R, 1 + N): column 0 is "new", 1 + n that a row of (R, D) is the object of reference n of (N, D)."""
    return torch.cat([embeddings.new_zeros(len(embeddings), 1), embeddings @ references.T], dim=1)
