"""The cascade's heads: each stage says what is in a box and how to improve it (Cai and Vasconcelos, 2018)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from videocups.model.config import RoiConfig

STAGES = 3


class BoxStage(nn.Module):
    """Two hidden layers, then the class and one regression for all classes."""

    def __init__(self, config: RoiConfig, channels: int, things: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels * config.pool**2, config.width)
        self.fc2 = nn.Linear(config.width, config.width)
        self.classify = nn.Linear(config.width, things + 1)  # background last
        self.regress = nn.Linear(config.width, 4)
        initialize_hidden(self.fc1, self.fc2)
        for layer, deviation in ((self.classify, 0.01), (self.regress, 0.001)):
            nn.init.normal_(layer.weight, std=deviation)
            nn.init.zeros_(layer.bias)
        nn.init.constant_(self.classify.bias[-1:], math.log(things * (1 - config.prior) / config.prior))

    def forward(self, pooled: Tensor) -> tuple[Tensor, Tensor]:
        """Map (R, C, s, s) to class logits (R, things + 1) and deltas (R, 4)."""
        hidden = torch.relu(self.fc2(torch.relu(self.fc1(pooled.flatten(1)))))
        return self.classify(hidden), self.regress(hidden)


class CascadeHead(nn.Module):
    """The three stages."""

    def __init__(self, config: RoiConfig, channels: int, things: int) -> None:
        super().__init__()
        self.config, self.things = config, things
        self.stages = nn.ModuleList(BoxStage(config, channels, things) for _ in range(STAGES))

    def stage(self, index: int, pooled: Tensor) -> tuple[Tensor, Tensor]:
        """Return the class logits and deltas of stage ``index`` = 0, 1, 2."""
        logits, deltas = self.stages[index](pooled)
        return logits, deltas

    def delta_weights(self, index: int) -> tuple[float, float, float, float]:
        """Return the units of a stage's regression."""
        a, b, c, d = (weight * (index + 1) for weight in self.config.delta_weights)
        return a, b, c, d


def initialize_hidden(*layers: nn.Linear) -> None:
    """Start hidden layers as detectron2 does: uniform by the number of inputs, no bias."""
    for layer in layers:
        nn.init.kaiming_uniform_(layer.weight, a=1)
        nn.init.zeros_(layer.bias)
