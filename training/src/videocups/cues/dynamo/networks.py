"""The four networks: depth from one frame, pose from two, complete 3-D flow and motion mask from three."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
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
from torchvision.models.feature_extraction import create_feature_extractor

from videocups.cues.dynamo.config import DepthNetworkConfig
from videocups.cues.dynamo.geometry import inverse_motion, rigid_motion

# raw outputs are scaled down, so that training begins near "no motion" and with masks of 1/2
SMALL = 0.01
INITIAL_ERROR, LEAST_ERROR = 0.3, 0.02  # of inverse depth, relative


class Encoder(nn.Module, ABC):
    """Features of ``images`` images side by side in the channels, at five resolutions from 1/2 to 1/32."""

    channels: tuple[int, ...]
    mean: Tensor
    spread: Tensor

    def __init__(self, images: int, position: bool) -> None:
        super().__init__()
        self.position = position
        # of natural images; weights trained elsewhere expect them
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406] * images).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("spread", torch.tensor([0.229, 0.224, 0.225] * images).view(1, -1, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return features of images (B, 3n, H, W) in [0, 1], finest first."""
        normal = (images - self.mean) / self.spread
        return self.features(torch.cat([normal, positions(normal)], dim=1) if self.position else normal)

    @abstractmethod
    def features(self, images: Tensor) -> list[Tensor]:
        """Return the features of normalised images."""


class ResNetEncoder(Encoder):
    """The five resolutions of a ResNet-18."""

    channels = (64, 64, 128, 256, 512)

    def __init__(self, images: int, position: bool, initial: Path | None) -> None:
        super().__init__(images, position)
        net = resnet18(weights=None)
        if initial is not None:
            _begin_with(net, initial)
        one = net.conv1.weight.detach()
        net.conv1 = nn.Conv2d(3 * images + 2 * position, one.shape[0], 7, stride=2, padding=3, bias=False)
        with torch.no_grad():  # equal images answer as one would alone, wherever they are
            net.conv1.weight.zero_()[:, : 3 * images].copy_(one.tile(1, images, 1, 1) / images)
        # finest first: after the first convolution and after each group of blocks
        self.body = create_feature_extractor(net, ["relu", "layer1", "layer2", "layer3", "layer4"])

    def features(self, images: Tensor) -> list[Tensor]:
        """Return the features of normalised images."""
        return list(self.body(images).values())


def _begin_with(net: nn.Module, initial: Path) -> None:
    weights = {name: value for name, value in load_file(initial).items() if not name.startswith("fc.")}
    found = net.load_state_dict(weights, strict=False)
    wrong = [name for name in found.missing_keys if not name.startswith("fc.")] + found.unexpected_keys
    if wrong:
        raise ValueError(f"{initial} is no ResNet-18 of torchvision's names: {', '.join(wrong[:4])} do not fit")


class TinyEncoder(Encoder):
    """Five strided convolutions; batches of one are enough, for it normalises by groups of channels."""

    channels = (16, 24, 32, 48, 64)

    def __init__(self, images: int, position: bool) -> None:
        super().__init__(images, position)
        widths = (3 * images + 2 * position, *self.channels)
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

    def features(self, images: Tensor) -> list[Tensor]:
        """Return the features of normalised images."""
        found = [images]
        for layer in self.layers:
            found.append(layer(found[-1]))
        return found[1:]


def build_encoder(config: DepthNetworkConfig, images: int) -> Encoder:
    """Return the configured encoder for so many images; the one of depth, for one, may know positions."""
    position = config.position and images == 1
    if config.encoder == "tiny":
        return TinyEncoder(images, position)
    return ResNetEncoder(images, position, config.initial_encoder)


def positions(like: Tensor) -> Tensor:
    """Return (B, 2, H, W): column and row of every pixel, from −1 to 1."""
    column, row = (torch.linspace(-1, 1, size, device=like.device, dtype=like.dtype) for size in like.shape[:1:-1])
    grid = torch.stack(torch.meshgrid(column, row, indexing="xy"))
    return grid.expand(len(like), -1, -1, -1)


class Doubling(nn.Module):
    """One step towards the full resolution: twice the size, joined with what the encoder saw there."""

    def __init__(self, coarse: int, seen: int, width: int) -> None:
        super().__init__()
        self.narrow = _block(coarse, width)
        self.join = _block(width + seen, width)

    def forward(self, coarse: Tensor, seen: Tensor | None) -> Tensor:
        """Return (B, width, 2h, 2w) from (B, coarse, h, w) and (B, seen, 2h, 2w)."""
        grown = functional.interpolate(self.narrow(coarse), scale_factor=2, mode="nearest")
        joined: Tensor = self.join(grown if seen is None else torch.cat([grown, seen], dim=1))
        return joined


class DepthNet(nn.Module):
    """Disparity in [0, 1] of one frame at some resolutions, and its expected error at the finest."""

    def __init__(self, config: DepthNetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = build_encoder(config, 1)
        deepest, *seen = self.encoder.channels[::-1]
        widths = (256, 128, 64, 32, 16) if config.encoder == "resnet18" else (48, 32, 24, 16, 8)
        inputs = zip((deepest, *widths), (*seen, 0), widths, strict=False)
        self.doublings = nn.ModuleList(Doubling(*sizes) for sizes in inputs)  # coarse to fine
        self.heads = nn.ModuleList(self._head(width) for width in widths[-config.scales :])
        self.error = _padded_conv(widths[-1], 1)
        nn.init.constant_(cast(Tensor, self.error.bias), math.log(INITIAL_ERROR))

    def forward(self, image: Tensor) -> tuple[list[Tensor], Tensor]:
        """Return disparity (B, 1, H/2ˢ, W/2ˢ) for s = 0, 1, … and error (B, 1, H, W) of image (B, 3, H, W) in [0, 1].

        The error is that of inverse depth, relative; only hints teach it.
        """
        field, *seen = self.encoder(image)[::-1]
        fields = []
        for doubling, features in zip(self.doublings, [*seen, None], strict=True):
            field = doubling(field, features)
            fields.append(field)
        finest = zip(self.heads, fields[-len(self.heads) :], strict=True)
        # clamped before: what overflows in exp would have no gradient but NaN
        error = self.error(fields[-1]).clamp(math.log(LEAST_ERROR), 0.0).exp()
        return [torch.sigmoid(head(field)) for head, field in finest][::-1], error

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


class Correction(nn.Module):
    """What one resolution adds to a field: seen in the features there and in the field so far."""

    def __init__(self, seen: int, outputs: int) -> None:
        super().__init__()
        width = max(16, seen // 2)
        self.look = nn.Sequential(_block(seen + outputs, width), _block(width, width), nn.Conv2d(width, outputs, 1))

    def forward(self, field: Tensor, seen: Tensor) -> Tensor:
        """Return the field at the resolution of ``seen``, corrected."""
        wide = functional.interpolate(field, size=seen.shape[-2:], mode="bilinear", align_corners=False)
        return wide + cast(Tensor, self.look(torch.cat([wide, seen], dim=1)))


class FieldDecoder(nn.Module):
    """A field that begins as one vector, made of the camera's motion, and is corrected by finer and finer features."""

    def __init__(self, config: DepthNetworkConfig, channels: Sequence[int], outputs: int) -> None:
        super().__init__()
        self.scales = config.scales
        self.begin = nn.Linear(12, outputs)
        self.corrections = nn.ModuleList(Correction(seen, outputs) for seen in (*channels[::-1], 9))  # coarse to fine

    def forward(self, images: Tensor, features: Sequence[Tensor], poses: Tensor) -> list[Tensor]:
        """Return raw fields, finest first; images (B, 9, H, W), poses (B, 12) of both neighbours."""
        fields = [self.begin(poses / SMALL)[:, :, None, None]]
        for correction, seen in zip(self.corrections, (*features[::-1], images), strict=True):
            fields.append(correction(fields[-1], seen))
        return fields[: -self.scales - 1 : -1]


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
