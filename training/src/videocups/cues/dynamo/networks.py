"""The four networks: depth from one frame, pose from two, complete 3-D flow and motion mask from three."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import cast

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import resnet18

from videocups.cues.dynamo.config import DepthNetworkConfig
from videocups.cues.dynamo.geometry import inverse_motion, rigid_motion

# raw outputs are scaled down, so that training begins near "no motion" and with masks of 1/2
SMALL = 0.01


class ResNetEncoder(nn.Module):
    """ResNet-18 for ``images`` images side by side in the channels; five resolutions from 1/2 to 1/32."""

    channels = (64, 64, 128, 256, 512)

    def __init__(self, images: int, initial: Path | None) -> None:
        super().__init__()
        net = resnet18(weights=None)
        if initial is not None:
            weights = {name: value for name, value in load_file(initial).items() if not name.startswith("fc.")}
            missing = net.load_state_dict(weights, strict=False)
            wrong = [name for name in missing.missing_keys if not name.startswith("fc.")] + missing.unexpected_keys
            if wrong:
                raise ValueError(f"{initial} is no ResNet-18 of torchvision's names: {', '.join(wrong[:4])} do not fit")
        first = nn.Conv2d(3 * images, 64, 7, stride=2, padding=3, bias=False)
        # each image gets its share of what one image's filter would answer
        first.weight.data = net.conv1.weight.data.repeat(1, images, 1, 1) / images
        self.stem = nn.Sequential(first, net.bn1, net.relu)
        self.pool = net.maxpool
        self.layers = nn.ModuleList([net.layer1, net.layer2, net.layer3, net.layer4])

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return features of images (B, 3n, H, W) in [0, 1], finest first."""
        features = [self.stem((images - 0.45) / 0.225)]
        for index, layer in enumerate(self.layers):
            features.append(layer(self.pool(features[0]) if index == 0 else features[-1]))
        return features


class TinyEncoder(nn.Module):
    """Five strided convolutions; batches of one are enough, for it normalises by groups of channels."""

    channels = (16, 24, 32, 48, 64)

    def __init__(self, images: int) -> None:
        super().__init__()
        widths = (3 * images, *self.channels)
        self.layers = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(before, after, 3, stride=2, padding=1),
                nn.GroupNorm(8, after),
                nn.ReLU(),
                nn.Conv2d(after, after, 3, padding=1),
                nn.ReLU(),
            )
            for before, after in pairwise(widths)
        )

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return features of images (B, 3n, H, W) in [0, 1], finest first."""
        features = [(images - 0.45) / 0.225]
        for layer in self.layers:
            features.append(layer(features[-1]))
        return features[1:]


Encoder = ResNetEncoder | TinyEncoder


def build_encoder(config: DepthNetworkConfig, images: int) -> Encoder:
    """Return the configured encoder for so many images."""
    return TinyEncoder(images) if config.encoder == "tiny" else ResNetEncoder(images, config.initial_encoder)


class DepthNet(nn.Module):
    """Disparity in [0, 1] of one frame at some resolutions."""

    def __init__(self, config: DepthNetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = build_encoder(config, 1)
        skips = (0, *self.encoder.channels[:-1])
        widths = (16, 32, 64, 128, 256) if config.encoder == "resnet18" else (8, 16, 24, 32, 48)
        inputs = (*widths[1:], self.encoder.channels[-1])
        self.reduce = nn.ModuleList(_block(before, width) for before, width in zip(inputs, widths, strict=True))
        self.merge = nn.ModuleList(_block(width + skip, width) for width, skip in zip(widths, skips, strict=True))
        self.heads = nn.ModuleList(self._head(widths[scale]) for scale in range(config.scales))

    def forward(self, image: Tensor) -> list[Tensor]:
        """Return (B, 1, H/2ˢ, W/2ˢ) for s = 0, 1, …; image (B, 3, H, W) in [0, 1]."""
        features = self.encoder(image)
        field, found = features[-1], []
        for level in range(4, -1, -1):
            field = functional.interpolate(self.reduce[level](field), scale_factor=2, mode="nearest")
            if level > 0:
                field = torch.cat([field, features[level - 1]], dim=1)
            field = self.merge[level](field)
            if level < self.config.scales:
                found.append(torch.sigmoid(self.heads[level](field)))
        return found[::-1]

    def _head(self, width: int) -> nn.Conv2d:
        head = _padded_conv(width, 1)
        begin = torch.tensor(self.config.initial_depth)
        disparity = depth_to_disparity(begin, self.config.min_depth, self.config.max_depth)
        nn.init.constant_(cast(Tensor, head.bias), float(torch.logit(disparity)))
        return head


class PoseNet(nn.Module):
    """Motion of the camera between two frames."""

    def __init__(self, config: DepthNetworkConfig) -> None:
        super().__init__()
        self.encoder = build_encoder(config, 2)
        width = 256 if config.encoder == "resnet18" else 64
        self.head = nn.Sequential(
            nn.Conv2d(self.encoder.channels[-1], width, 1),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, 6, 1),
        )

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Return (B, 6) from the first to the second frame: rotation vector and translation."""
        features = self.encoder(torch.cat([first, second], dim=1))[-1]
        motion: Tensor = self.head(features).mean(dim=(2, 3))
        return SMALL * motion


class FieldDecoder(nn.Module):
    """A field that begins as one vector, made of the camera's motion, and is refined by finer and finer features."""

    def __init__(self, config: DepthNetworkConfig, channels: Sequence[int], outputs: int) -> None:
        super().__init__()
        self.scales = config.scales
        self.begin = nn.Conv2d(12, outputs, 1)
        inputs = (9, *channels)
        inner = [max(16, width // 2) for width in inputs]
        self.refine = nn.ModuleList(
            nn.Sequential(_block(width + outputs, hidden), _block(hidden, hidden), nn.Conv2d(hidden, outputs, 1))
            for width, hidden in zip(inputs, inner, strict=True)
        )

    def forward(self, images: Tensor, features: Sequence[Tensor], poses: Tensor) -> list[Tensor]:
        """Return raw fields, finest first; images (B, 9, H, W), poses (B, 12) of both neighbours."""
        pyramid = [images, *features]
        field = self.begin(poses[:, :, None, None] / SMALL)
        found = []
        for level in range(len(pyramid) - 1, -1, -1):
            size = pyramid[level].shape[-2:]
            field = functional.interpolate(field, size=size, mode="bilinear", align_corners=False)
            field = field + self.refine[level](torch.cat([field, pyramid[level]], dim=1))
            if level < self.scales:
                found.append(field)
        return found[::-1]


@dataclass(frozen=True)
class Motion:
    """What three frames show: flow to both neighbours and one mask for both, finest resolution first.

    ``complete`` (B, 2, 3, h, w): 3-D flow to the previous and to the next frame, in units of depth.
    ``logits`` (B, 1, h, w): of the pixel moving by itself.
    """

    complete: list[Tensor]
    logits: list[Tensor]


class DynamoNetwork(nn.Module):
    """All networks; the three motion parts share nothing but their encoder."""

    def __init__(self, config: DepthNetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.depth = DepthNet(config)
        self.pose = PoseNet(config)
        self.motion_encoder = build_encoder(config, 3)
        self.complete_flow = FieldDecoder(config, self.motion_encoder.channels, 6)
        self.motion_mask = FieldDecoder(config, self.motion_encoder.channels, 1)

    def poses(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Return motions (B, 2, 4, 4) from the middle frame to the previous and the next one, and their (B, 12) vector.

        The network always sees the earlier frame first, so it need not learn both directions.
        """
        before = self.pose(frames[:, 0], frames[:, 1])
        after = self.pose(frames[:, 1], frames[:, 2])
        to_before = inverse_motion(rigid_motion(before[:, :3], before[:, 3:]))
        motions = torch.stack([to_before, rigid_motion(after[:, :3], after[:, 3:])], dim=1)
        return motions, torch.cat([before, after], dim=1)

    def motion(self, frames: Tensor, poses: Tensor, *, with_mask: bool) -> Motion:
        """Return flow and mask of three frames (B, 3, 3, H, W); without mask its logits are left out."""
        images = frames.flatten(1, 2)
        features = self.motion_encoder(images)
        poses = poses.detach()
        complete = [SMALL * raw.unflatten(1, (2, 3)) for raw in self.complete_flow(images, features, poses)]
        logits = [SMALL * raw for raw in self.motion_mask(images, features, poses)] if with_mask else []
        return Motion(complete, logits)

    def depth_of(self, disparity: Tensor) -> Tensor:
        """Return depth of disparity in [0, 1]: 1/depth runs from 1/max to 1/min."""
        return disparity_to_depth(disparity, self.config.min_depth, self.config.max_depth)


def disparity_to_depth(disparity: Tensor, min_depth: float, max_depth: float) -> Tensor:
    """Return depth; disparity 0 is the farthest, 1 the nearest."""
    return 1 / (1 / max_depth + (1 / min_depth - 1 / max_depth) * disparity)


def depth_to_disparity(depth: Tensor, min_depth: float, max_depth: float) -> Tensor:
    """Return disparity in [0, 1]; the way back of ``disparity_to_depth``."""
    return (1 / depth - 1 / max_depth) / (1 / min_depth - 1 / max_depth)


def _padded_conv(before: int, after: int) -> nn.Conv2d:
    return nn.Conv2d(before, after, 3, padding=1, padding_mode="replicate")


def _block(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(_padded_conv(before, after), nn.ELU())
