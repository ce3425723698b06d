"""ResNet bodies with torchvision's parameter names, and the feature pyramid on top."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable

from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck
from torchvision.ops import FeaturePyramidNetwork, FrozenBatchNorm2d
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from videocups.model.config import BackboneConfig

Norm = Callable[[int], nn.Module]
DEPTHS = {"resnet18": (2, 2, 2, 2), "resnet50": (3, 4, 6, 3)}
LEVELS = ("p2", "p3", "p4", "p5", "p6")


class ResNetBody(nn.Module):
    """ResNet without its classifier; weights of torchvision's names load where ``width`` is 1."""

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__()
        block = BasicBlock if config.kind == "resnet18" else Bottleneck
        norm = _norm(config.norm)
        base = scaled(64, config.width)
        self.conv1 = nn.Conv2d(3, base, 7, stride=2, padding=3, bias=False)
        self.bn1 = norm(base)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        inputs, channels = base, []
        for index, depth in enumerate(DEPTHS[config.kind]):
            planes = scaled(64 * 2**index, config.width)
            layer = _layer(block, inputs, planes, depth, 1 if index == 0 else 2, norm)
            if config.stride_first:
                _stride_first(layer[0])
            inputs = planes * block.expansion
            channels.append(inputs)
            self.add_module(f"layer{index + 1}", layer)
        self.channels = tuple(channels)
        _initialize(self)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Map normalised images (B, 3, H, W) to c2 … c5 at strides 4 … 32."""
        field = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        found: dict[str, Tensor] = OrderedDict()
        for index in range(4):
            field = self.get_submodule(f"layer{index + 1}")(field)
            found[f"c{index + 2}"] = field
        return found


class FeaturePyramid(nn.Module):
    """Features of the same width at strides 4 … 64, each seeing what the coarser ones see (Lin et al., 2017)."""

    def __init__(self, channels: tuple[int, ...], width: int) -> None:
        super().__init__()
        self.pyramid = FeaturePyramidNetwork(list(channels), width, extra_blocks=LastLevelMaxPool())

    def forward(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        """Map c2 … c5 to p2 … p6."""
        return dict(zip(LEVELS, self.pyramid(OrderedDict(features)).values(), strict=True))


def scaled(channels: int, width: float) -> int:
    """Return ``channels`` times ``width``, in whole eights."""
    return max(8, round(channels * width / 8) * 8)


def group_norm(channels: int, groups: int = 32) -> nn.GroupNorm:
    """Return a group norm with as many groups as fit, ``groups`` at most."""
    return nn.GroupNorm(math.gcd(groups, channels), channels)


def _norm(kind: str) -> Norm:
    kinds: dict[str, Norm] = {"batch": nn.BatchNorm2d, "frozen": FrozenBatchNorm2d, "group": group_norm}
    return kinds[kind]


def _layer(
    block: type[BasicBlock | Bottleneck], inputs: int, planes: int, depth: int, stride: int, norm: Norm
) -> nn.Sequential:
    outputs = planes * block.expansion
    shortcut = None
    if stride != 1 or inputs != outputs:
        shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), norm(outputs))
    first = block(inputs, planes, stride, shortcut, norm_layer=norm)
    return nn.Sequential(first, *(block(outputs, planes, norm_layer=norm) for _ in range(depth - 1)))


def _stride_first(block: nn.Module) -> None:
    """Move the stride of a bottleneck to its first convolution."""
    if isinstance(block, Bottleneck):
        block.conv1.stride, block.conv2.stride = block.conv2.stride, block.conv1.stride


def _initialize(body: nn.Module) -> None:
    for module in body.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
