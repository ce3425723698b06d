"""Region proposals: anchors, what the network says of them, and the boxes made of the best."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torchvision.ops import nms

from videocups.model.boxes import clip, decode
from videocups.model.config import STRIDES, RpnConfig

DELTA_WEIGHTS = (1.0, 1.0, 1.0, 1.0)
LEVELS = tuple(STRIDES)


class RpnHead(nn.Module):
    """Objectness and regression of every anchor, the same for all levels."""

    def __init__(self, channels: int, anchors: int, prior: float) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.objectness = nn.Conv2d(channels, anchors, 1)
        self.deltas = nn.Conv2d(channels, 4 * anchors, 1)
        for layer in (self.conv, self.objectness, self.deltas):
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        nn.init.constant_(self.objectness.bias, math.log(prior / (1 - prior)))  # type: ignore[arg-type]

    def forward(self, features: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Map p2 … p6 to logits (B, A) and deltas (B, A, 4); anchors by level, row, column, ratio."""
        logits, deltas = [], []
        for name in LEVELS:
            hidden = torch.relu(self.conv(features[name]))
            batch = len(hidden)
            logits.append(self.objectness(hidden).permute(0, 2, 3, 1).reshape(batch, -1))
            deltas.append(self.deltas(hidden).permute(0, 2, 3, 1).reshape(batch, -1, 4))
        return torch.cat(logits, dim=1), torch.cat(deltas, dim=1)


class RegionProposals(nn.Module):
    """The head with its anchors, and how proposals are chosen."""

    def __init__(self, config: RpnConfig, channels: int) -> None:
        super().__init__()
        self.config = config
        self.head = RpnHead(channels, len(config.ratios), config.prior)

    def anchors(self, height: int, width: int, device: torch.device | None = None) -> list[Tensor]:
        """Return the anchors (A, 4) of each level for an image of this size, in the head's order."""
        return [
            level_anchors(
                size, self.config.ratios, stride, math.ceil(height / stride), math.ceil(width / stride), device
            )
            for size, stride in zip(self.config.anchor_sizes, STRIDES.values(), strict=True)
        ]

    @torch.no_grad()
    def proposals(
        self, logits: Tensor, deltas: Tensor, anchors: Sequence[Tensor], height: int, width: int, count: int
    ) -> list[Tensor]:
        """Return at most ``count`` boxes (n, 4) of every image, best first."""
        sizes = [len(level) for level in anchors]
        found: list[Tensor] = []
        for image_logits, image_deltas in zip(logits.float(), deltas.float(), strict=True):
            boxes, scores = [], []
            for level, level_logits, level_deltas in zip(
                anchors, torch.split(image_logits, sizes), torch.split(image_deltas, sizes), strict=True
            ):
                best, order = level_logits.topk(min(self.config.pre_nms, len(level)))
                decoded = clip(decode(level_deltas[order], level[order], DELTA_WEIGHTS), height, width)
                sides = decoded[:, 2:] - decoded[:, :2]
                whole = (sides > 0).all(dim=1)
                decoded, best = decoded[whole], best[whole]
                kept = nms(decoded, best, self.config.nms_iou)
                boxes.append(decoded[kept])
                scores.append(best[kept])
            top = torch.cat(scores).topk(min(count, sum(map(len, scores)))).indices
            found.append(torch.cat(boxes)[top])
        return found


def level_anchors(
    size: float, ratios: Sequence[float], stride: int, rows: int, columns: int, device: torch.device | None = None
) -> Tensor:
    """Return (rows · columns · ratios, 4): boxes of area size², on the corners of the cells, as in detectron2."""
    ratio = torch.tensor(ratios, device=device)
    half = torch.stack([size / ratio.sqrt(), size * ratio.sqrt()], dim=1) / 2
    y, x = torch.meshgrid(
        torch.arange(rows, device=device) * float(stride),
        torch.arange(columns, device=device) * float(stride),
        indexing="ij",
    )
    centers = torch.stack([x, y], dim=-1).reshape(-1, 1, 2)
    return torch.cat([centers - half, centers + half], dim=-1).reshape(-1, 4)
