"""What is learned: a backbone, and a light head that gives every cell of an image a vector."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from videocups.model.backbone import ResNetBody
from videocups.pretrain.config import EncoderConfig
from videocups.semantics.dino import VisionTransformer, VitShape

POSITION_DEVIATION = 0.02


class Encoder(nn.Module):
    """Backbone and dense head; ``backbone`` is the detector's own body where ``kind`` is resnet."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone: ResNetBody | VisionTransformer
        if config.kind == "resnet":
            self.backbone = ResNetBody(config.resnet)
            channels: tuple[int, ...] = self.backbone.channels
            self.stride, self.whole = 4, 32
        else:
            vit = config.vit
            self.backbone = fresh_transformer(VitShape(vit.dim, vit.heads, vit.depth, vit.patch))
            channels = (vit.dim,)
            self.stride, self.whole = vit.patch, vit.patch
        self.width = channels[-1]
        self.dense = DenseHead(channels, config.dim)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Map normalised (B, 3, H, W), sides in ``whole``, to image vectors (B, width) and cells (B, dim, h, w)."""
        if isinstance(self.backbone, VisionTransformer):
            vector, patches = self.backbone.tokens(images)
            return vector, self.dense([patches])
        levels = list(self.backbone(images).values())
        return levels[-1].mean(dim=(2, 3)), self.dense(levels)


class DenseHead(nn.Module):
    """All levels brought to the finest one's cells and summed, then one convolution."""

    def __init__(self, channels: tuple[int, ...], dim: int) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(nn.Conv2d(width, dim, 1) for width in channels)
        self.norm = nn.BatchNorm2d(dim)
        self.output = nn.Conv2d(dim, dim, 3, padding=1)

    def forward(self, levels: list[Tensor]) -> Tensor:
        """Map levels from fine to coarse to (B, dim, h, w), h and w of the finest."""
        size = levels[0].shape[2:]
        total = self.lateral[0](levels[0])
        for layer, level in zip(list(self.lateral)[1:], levels[1:], strict=True):
            total = total + functional.interpolate(layer(level), size=size, mode="bilinear", align_corners=False)
        cells: Tensor = self.output(torch.relu(self.norm(total)))
        return cells


def fresh_transformer(shape: VitShape) -> VisionTransformer:
    """Return a transformer to be trained from nothing."""
    network = VisionTransformer(shape)
    for tensor in (network.cls_token, network.pos_embed):
        nn.init.trunc_normal_(tensor, std=POSITION_DEVIATION)
    for module in network.modules():
        if isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=POSITION_DEVIATION)
            nn.init.zeros_(module.bias)
    return network
