"""The semantic head: every level brought to stride 4 and summed (Kirillov et al., Panoptic FPN, 2019)."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import cast

from torch import Tensor, nn
from torch.nn import functional

from videocups.model.backbone import group_norm
from videocups.model.config import SemanticConfig

MERGED = ("p2", "p3", "p4", "p5")


class SemanticHead(nn.Module):
    """Logits of "thing" and of every stuff at stride 4."""

    def __init__(self, config: SemanticConfig, channels: int, classes: int) -> None:
        super().__init__()
        self.levels = nn.ModuleDict()
        for index, name in enumerate(MERGED):
            widths = [channels] + [config.channels] * max(1, index)
            self.levels[name] = nn.ModuleList(
                nn.Sequential(
                    nn.Conv2d(before, after, 3, padding=1, bias=False), group_norm(after, config.groups), nn.ReLU()
                )
                for before, after in pairwise(widths)
            )
        self.predict = nn.Conv2d(config.channels, classes, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        nn.init.normal_(self.predict.weight, std=0.01)
        nn.init.zeros_(self.predict.bias)  # type: ignore[arg-type]

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        """Map p2 … p5 to logits (B, classes, H / 4, W / 4)."""
        finest, *coarser = (self._level(name, features[name]) for name in MERGED)
        # the prediction of a sum is the sum of predictions, and enlarging may come last: of few channels, in one
        rest = self.predict(sum(coarser[1:], start=coarser[0])) - cast(Tensor, self.predict.bias)[:, None, None]
        logits: Tensor = self.predict(finest) + _enlarged(rest)
        return logits

    def _level(self, name: str, field: Tensor) -> Tensor:
        """Return what a level says, at twice the stride of the finest one; the finest at its own."""
        first, *others = cast(nn.ModuleList, self.levels[name])
        field = first(field)
        for block in others:
            field = block(_enlarged(field))
        return field


def _enlarged(field: Tensor) -> Tensor:
    return functional.interpolate(field, scale_factor=2.0, mode="bilinear", align_corners=False)
