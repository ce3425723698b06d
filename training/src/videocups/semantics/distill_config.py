"""Settings of the distillation; apart from its code, because that loads torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from videocups_core.config import setting


@dataclass(frozen=True)
class DistillConfig:
    """Settings of DepthG for Cityscapes; every loss has a weight and a shift."""

    dim: int = setting(100, "length of a code", minimum=1)
    steps: int = setting(7000, "training steps; the last one is kept", minimum=1)
    batch: int = setting(32, "images in a step", minimum=2)
    learning_rate: float = setting(5e-4, "of Adam", minimum=0.0)
    dropout: float = setting(0.1, "share of feature channels left out", minimum=0.0, maximum=0.9)
    side: int = setting(11, "places sampled per image: side × side", minimum=1)
    neighbours: int = setting(30, "nearest images kept for each image", minimum=1)
    nearest_used: int = setting(7, "of these, from how many nearest the partner is drawn", minimum=1)
    negatives: int = setting(5, "other images each image is held against", minimum=1)
    intra_weight: float = setting(0.95, "weight of an image against itself", minimum=0.0)
    intra_shift: float = setting(0.39, "shift of an image against itself")
    inter_weight: float = setting(1.02, "weight of an image against a neighbour", minimum=0.0)
    inter_shift: float = setting(0.25, "shift of an image against a neighbour")
    negative_weight: float = setting(0.57, "weight of an image against others", minimum=0.0)
    negative_shift: float = setting(0.26, "shift of an image against others")
    # "released" repeats the published code, in which no depth is left; it is there for comparison
    depth_term: Literal["repaired", "released", "off"] = setting("repaired", "how depth takes part")
    depth_weight: float = setting(0.09, "weight of the depth term", minimum=0.0)
    depth_shift: float = setting(0.03, "shift of the depth term")
    depth_decay: float = setting(0.8, "weight and shift of the depth term shrink by this", minimum=0.0, maximum=1.0)
    depth_decay_every: int = setting(400, "steps between two shrinkings", minimum=1)
    # random, or furthest points of the lifted depth map
    sampling: Literal["random", "furthest"] = setting("random", "how places are sampled")
    seed: int = setting(0, "seed of everything", minimum=0)
