"""Distil frozen features into few-dimensional codes that cluster well (STEGO, DepthG), with a depth term that works.

Reads a bank of feature maps and depths; writes ``head.safetensors``. The last step is kept: choosing a checkpoint by
its score against labels would be a leak.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from videocups.semantics.correlation import (
    correlate,
    correlation_loss,
    depth_correlation,
    furthest_places,
    random_places,
    sample_at,
)
from videocups.semantics.distill_config import DistillConfig
from videocups.semantics.features import FeatureExtractor, FeatureMap
from videocups_core.clip import write_atomically
from videocups_core.config import from_mapping, to_mapping


class FeatureBank(Protocol):
    """Feature maps of frames or of crops of frames, in memory or on disk."""

    def __len__(self) -> int: ...

    def features(self, index: int) -> FeatureMap:
        """Return (h, w, D) float32, of one size for all."""
        ...

    def depth(self, index: int) -> NDArray[np.float32] | None:
        """Return (H, W) float32, of one size for all; None where no depth is known."""
        ...

    def group(self, index: int) -> int:
        """Return the clip an image belongs to: neighbours are taken from other clips."""
        ...


class Head(nn.Module):
    """A linear and a two-layer path from features to codes, added."""

    def __init__(self, features: int, config: DistillConfig) -> None:
        super().__init__()
        self.config = config
        self.dropout = nn.Dropout2d(config.dropout)
        self.linear = nn.Conv2d(features, config.dim, 1)
        self.hidden = nn.Conv2d(features, features, 1)
        self.output = nn.Conv2d(features, config.dim, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, D, h, w) to (B, dim, h, w)."""
        dropped = self.dropout(features)
        codes: Tensor = self.linear(dropped) + self.output(torch.relu(self.hidden(dropped)))
        return codes

    def save(self, path: Path) -> None:
        """Write one safetensors file with the config in its header, atomically."""
        from safetensors.torch import save

        state = {name: value.cpu().contiguous() for name, value in self.state_dict().items()}
        write_atomically(path, save(state, {"config": json.dumps(to_mapping(self.config))}))


def load_head(path: Path) -> Head:
    """Read what ``Head.save`` wrote, ready for inference."""
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        config = from_mapping(DistillConfig, json.loads(file.metadata()["config"]), str(path))
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    head = Head(state["linear.weight"].shape[1], config)
    head.load_state_dict(state)
    return head.eval().requires_grad_(False)


def coder(extractor: FeatureExtractor, head: Head, device: str = "cpu") -> Callable[[NDArray[np.uint8]], FeatureMap]:
    """Return the function from an image to codes that ``inference.SemanticModel`` takes."""
    head = head.to(device).eval()

    def codes(rgb: NDArray[np.uint8]) -> FeatureMap:
        with torch.inference_mode():
            found = head(_planes([extractor.extract(rgb)]).to(device))[0]
        return np.ascontiguousarray(found.permute(1, 2, 0).cpu().numpy(), dtype=np.float32)

    return codes


def distill(
    bank: FeatureBank,
    config: DistillConfig | None = None,
    *,
    device: str = "cpu",
    advance: Callable[[int, float], None] = lambda step, loss: None,
) -> Head:
    """Train a head on the bank and return it as it is after the last step; ``advance``: called with (step, loss)."""
    config = config or DistillConfig()
    if len(bank) < 2:
        raise ValueError(f"distillation compares images and needs at least 2, got {len(bank)}")
    with torch.random.fork_rng():  # dropout and the head's start know no other source of chance
        torch.manual_seed(config.seed)
        return _train(bank, config, device, advance)


def _train(bank: FeatureBank, config: DistillConfig, device: str, advance: Callable[[int, float], None]) -> Head:
    generator = torch.Generator().manual_seed(config.seed)
    neighbours = nearest_images(bank, config.neighbours)
    head = Head(bank.features(0).shape[2], config).to(device).train()
    optimizer = torch.optim.Adam(head.parameters(), lr=config.learning_rate)
    for step in range(config.steps):
        # each image once, or one of the others that it is held against would be itself
        picked = torch.randperm(len(bank), generator=generator)[: config.batch].tolist()
        column = torch.randint(0, config.nearest_used, (len(picked),), generator=generator).tolist()
        partners = [neighbours[i][k % len(neighbours[i])] for i, k in zip(picked, column, strict=True)]
        first, second = (_planes([bank.features(i) for i in chosen]).to(device) for chosen in (picked, partners))
        loss = step_loss(head, first, second, _depths(bank, picked, config, device), step, config, generator)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        advance(step, float(loss.detach()))
    return head.eval().requires_grad_(False)


def step_loss(
    head: Head,
    first: Tensor,
    second: Tensor,
    depth: Tensor | None,
    step: int,
    config: DistillConfig,
    generator: torch.Generator,
) -> Tensor:
    """Return the loss of images ``first`` (B, D, h, w) with their neighbours ``second`` and depth (B, 1, H, W)."""
    batch = len(first)
    if config.sampling == "furthest":
        if depth is None:
            raise ValueError("sampling: furthest needs depth for every image; use sampling: random")
        here = furthest_places(depth, config.side, generator).to(first.device)
    else:
        here = random_places(batch, config.side, generator).to(first.device)
    there = random_places(batch, config.side, generator).to(first.device)
    codes, codes_second = head(first), head(second)
    features_here, codes_here = sample_at(first, here), sample_at(codes, here)
    own = correlate(codes_here, codes_here)
    loss = config.intra_weight * correlation_loss(correlate(features_here, features_here), own, config.intra_shift)
    target = correlate(features_here, sample_at(second, there))
    found = correlate(codes_here, sample_at(codes_second, there))
    loss = loss + config.inter_weight * correlation_loss(target, found, config.inter_shift)
    for _ in range(config.negatives):
        # anyone but oneself: a rotation of the batch
        other = (torch.arange(batch) + int(torch.randint(1, batch, (), generator=generator))) % batch
        target = correlate(features_here, sample_at(first[other], there))
        found = correlate(codes_here, sample_at(codes[other], there))
        share = config.negative_weight / config.negatives
        loss = loss + share * correlation_loss(target, found, config.negative_shift)
    if config.depth_term != "off" and depth is not None:
        fade = config.depth_decay ** (step // config.depth_decay_every)
        target = depth_correlation(depth, here, config.depth_term)
        loss = loss + config.depth_weight * fade * correlation_loss(target, own, config.depth_shift * fade)
    return loss


def nearest_images(bank: FeatureBank, count: int) -> list[list[int]]:
    """Return for each image the ``count`` most alike ones of other clips, by the cosine of their mean features.

    Frames of one clip are nearly the same picture and would teach nothing; with one clip only they must do.
    """
    means = np.stack([bank.features(i).mean(axis=(0, 1)) for i in range(len(bank))])
    means /= np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)
    groups = np.array([bank.group(i) for i in range(len(bank))])
    found = []
    for index in range(len(bank)):
        likeness = means @ means[index]
        allowed = groups != groups[index]
        if not allowed.any():
            allowed = np.arange(len(bank)) != index
        order = np.argsort(-likeness, kind="stable")
        found.append(order[allowed[order]][:count].tolist())
    return found


def _planes(maps: Sequence[FeatureMap]) -> Tensor:
    return torch.from_numpy(np.stack(maps)).permute(0, 3, 1, 2).contiguous()


def _depths(bank: FeatureBank, picked: Sequence[int], config: DistillConfig, device: str) -> Tensor | None:
    """Return (B, 1, H, W), None where depth takes no part; unknown depth counts as the farthest that is known."""
    if config.depth_term == "off" and config.sampling == "random":
        return None
    maps = []
    for index in picked:
        depth = bank.depth(index)
        if depth is None or not np.isfinite(depth).any():
            raise ValueError(f"image {index} has no depth; give it one, or use depth_term: off and sampling: random")
        known = np.isfinite(depth)
        maps.append(np.where(known, depth, depth[known].max()).astype(np.float32))
    return torch.from_numpy(np.stack(maps))[:, None].to(device)
