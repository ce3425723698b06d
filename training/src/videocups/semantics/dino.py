"""DINO backbones (Caron et al., 2021): ViT-S/8 and ViT-B/8 written here, ResNet-50 from torchvision.

Parameters are named as in the official files, so that those load without a map. Features are the patch tokens of the
last layer after the final norm; frozen, never trained here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as nn_functional
from numpy.typing import NDArray
from torch import Tensor, nn

from videocups.semantics.features import FeatureMap, stacked

COUNTER = "num_batches_tracked"
MEAN_RGB, DEVIATION_RGB = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class VitShape:
    """Size of a vision transformer."""

    dim: int
    heads: int
    depth: int = 12
    patch: int = 8
    image: int = 224  # the positions were learned on a grid of image / patch


SHAPES = {"dino-vits8": VitShape(384, 6), "dino-vitb8": VitShape(768, 12)}


class PatchEmbedding(nn.Module):
    """One token for every patch."""

    def __init__(self, shape: VitShape) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, shape.dim, shape.patch, stride=shape.patch)


class Attention(nn.Module):
    """Self-attention of all tokens."""

    def __init__(self, shape: VitShape) -> None:
        super().__init__()
        self.heads = shape.heads
        self.qkv = nn.Linear(shape.dim, 3 * shape.dim)
        self.proj = nn.Linear(shape.dim, shape.dim)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map (B, N, D) to (B, N, D)."""
        batch, count, dim = tokens.shape
        queries, keys, values = self.qkv(tokens).reshape(batch, count, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        mixed = nn_functional.scaled_dot_product_attention(queries, keys, values)
        projected: Tensor = self.proj(mixed.transpose(1, 2).reshape(batch, count, dim))
        return projected


class FeedForward(nn.Module):
    """Two linear layers, four times as wide between."""

    def __init__(self, shape: VitShape) -> None:
        super().__init__()
        self.fc1 = nn.Linear(shape.dim, 4 * shape.dim)
        self.fc2 = nn.Linear(4 * shape.dim, shape.dim)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map (B, N, D) to (B, N, D)."""
        widened: Tensor = self.fc2(nn_functional.gelu(self.fc1(tokens)))
        return widened


class Block(nn.Module):
    """Attention and feed-forward, each after a norm and around a shortcut."""

    def __init__(self, shape: VitShape) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(shape.dim, eps=1e-6)
        self.attn = Attention(shape)
        self.norm2 = nn.LayerNorm(shape.dim, eps=1e-6)
        self.mlp = FeedForward(shape)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map (B, N, D) to (B, N, D)."""
        tokens = tokens + self.attn(self.norm1(tokens))
        result: Tensor = tokens + self.mlp(self.norm2(tokens))
        return result


class VisionTransformer(nn.Module):
    """A plain vision transformer with a class token and learned positions."""

    def __init__(self, shape: VitShape) -> None:
        super().__init__()
        self.shape = shape
        side = shape.image // shape.patch
        self.cls_token = nn.Parameter(torch.zeros(1, 1, shape.dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + side * side, shape.dim))
        self.patch_embed = PatchEmbedding(shape)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.depth))
        self.norm = nn.LayerNorm(shape.dim, eps=1e-6)

    def forward(self, images: Tensor) -> Tensor:
        """Map normalised (B, 3, H, W), whole patches, to the patch tokens (B, D, H / patch, W / patch)."""
        return self.tokens(images)[1]

    def tokens(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the class token (B, D) and the patch tokens (B, D, H / patch, W / patch)."""
        grid = self.patch_embed.proj(images)
        height, width = grid.shape[2:]
        tokens = torch.cat([self.cls_token.expand(len(images), -1, -1), grid.flatten(2).transpose(1, 2)], dim=1)
        tokens = tokens + self.positions(height, width)
        for block in self.blocks:
            tokens = block(tokens)
        normed: Tensor = self.norm(tokens)
        patches = normed[:, 1:].transpose(1, 2).reshape(len(images), self.shape.dim, height, width)
        return normed[:, 0], patches

    def positions(self, height: int, width: int) -> Tensor:
        """Return the learned positions, resized to another grid: (1, 1 + height · width, D)."""
        own, grid = self.pos_embed[:, :1], self.pos_embed[:, 1:]
        side = self.shape.image // self.shape.patch
        if (height, width) == (side, side):
            return self.pos_embed
        planes = grid.reshape(1, side, side, -1).permute(0, 3, 1, 2)
        resized = nn_functional.interpolate(planes, size=(height, width), mode="bicubic", align_corners=False)
        return torch.cat([own, resized.permute(0, 2, 3, 1).reshape(1, height * width, -1)], dim=1)


class ResNetFeatures(nn.Module):
    """The last stage of ResNet-50, 2048 channels at stride 32, named as torchvision names it."""

    def __init__(self) -> None:
        super().__init__()
        from torchvision.models import resnet50

        self.network = resnet50(weights=None)
        self.network.fc = nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        """Map normalised (B, 3, H, W) to (B, 2048, H / 32, W / 32)."""
        net = self.network
        x = net.maxpool(net.relu(net.bn1(net.conv1(images))))
        result: Tensor = net.layer4(net.layer3(net.layer2(net.layer1(x))))
        return result


def build_backbone(name: str, state: Mapping[str, Tensor] | None = None) -> nn.Module:
    """Return a frozen backbone in evaluation mode; ``state``: the official parameters, random where None."""
    if name not in (*SHAPES, "dino-resnet50"):
        raise ValueError(f"there is no backbone {name!r}; there are {', '.join((*SHAPES, 'dino-resnet50'))}")
    backbone: nn.Module = ResNetFeatures() if name == "dino-resnet50" else VisionTransformer(SHAPES[name])
    if state is not None:
        load_state(backbone.network if isinstance(backbone, ResNetFeatures) else backbone, state, name)
    return backbone.eval().requires_grad_(False)


def load_state(module: nn.Module, state: Mapping[str, Tensor], name: str) -> None:
    """Load parameters whose names and shapes must be exactly the module's; ValueError names the first difference.

    Of a ResNet, a classifier in the file is left out and counters of batches may be missing.
    """
    wanted = {key: value for key, value in module.state_dict().items() if not key.endswith(COUNTER)}
    state = {key: value for key, value in state.items() if not key.endswith(COUNTER) and not key.startswith("fc.")}
    missing, extra = sorted(wanted.keys() - state.keys()), sorted(state.keys() - wanted.keys())
    if missing or extra:
        detail = f"lacks {missing[0]}" if missing else f"holds {extra[0]}, which the network does not know"
        raise ValueError(f"the weights are not those of {name}: the file {detail} ({len(missing) + len(extra)} in all)")
    for key, tensor in state.items():
        if tensor.shape != wanted[key].shape:
            shapes = f"{tuple(tensor.shape)}, expected {tuple(wanted[key].shape)}"
            raise ValueError(f"the weights are not those of {name}: {key} is {shapes}")
    module.load_state_dict(state, strict=False)  # compared above


class DinoFeatures:
    """Frozen DINO features behind the interface of ``features``."""

    windowed = True
    weights = None  # compared by their angle

    def __init__(self, name: str, state: Mapping[str, Tensor], device: str = "cpu") -> None:
        self.name = name
        self.device = device
        self.backbone = build_backbone(name, state).to(device)
        self.dim = SHAPES[name].dim if name in SHAPES else 2048
        self.stride = SHAPES[name].patch if name in SHAPES else 32
        self._mean = torch.tensor(MEAN_RGB, device=device).reshape(3, 1, 1)
        self._deviation = torch.tensor(DEVIATION_RGB, device=device).reshape(3, 1, 1)

    def extract(self, rgb: NDArray[np.uint8]) -> FeatureMap:
        """Return (ceil(H / stride), ceil(W / stride), dim) float32; the border repeats up to a whole patch."""
        return self.extract_batch([rgb])[0]

    def extract_batch(self, images: Sequence[NDArray[np.uint8]]) -> list[FeatureMap]:
        """Return the same for each of several images of one size."""
        with torch.inference_mode():
            found = self.backbone(self.normalized(stacked(images))).permute(0, 2, 3, 1)
            return list(np.ascontiguousarray(found.cpu().numpy(), dtype=np.float32))

    def normalized(self, images: NDArray[np.uint8]) -> Tensor:
        """Return (B, 3, H', W') float32 on the device of (B, H, W, 3), H' and W' multiples of the stride."""
        planes = torch.from_numpy(images).to(self.device).permute(0, 3, 1, 2).float() / 255
        planes = (planes - self._mean) / self._deviation
        bottom, right = (-size % self.stride for size in planes.shape[2:])
        return nn_functional.pad(planes, (0, right, 0, bottom), mode="replicate")
