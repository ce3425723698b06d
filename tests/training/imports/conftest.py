"""State dicts with detectron2's names and shapes, written down from its published architecture."""

from __future__ import annotations

import numpy as np
import pytest
import torch

DEPTHS = (3, 4, 6, 3)


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


class Weights:
    """Draws weights by name; variances keep signals of one size through the layers."""

    def __init__(self, seed: int, *, zeros: bool = False) -> None:
        self.rng, self.zeros = np.random.default_rng(seed), zeros
        self.table: dict[str, np.ndarray] = {}

    def conv(self, name: str, outputs: int, inputs: int, size: int, *, bias: bool = False) -> None:
        self._draw(f"{name}.weight", (outputs, inputs, size, size), inputs * size * size, bias)

    def linear(self, name: str, outputs: int, inputs: int) -> None:
        self._draw(f"{name}.weight", (outputs, inputs), inputs, True)

    def norm(self, name: str, channels: int, *, running: bool = True) -> None:
        self.table[f"{name}.weight"] = self.rng.uniform(0.5, 1.5, channels).astype(np.float32)
        self.table[f"{name}.bias"] = self.rng.normal(0, 0.1, channels).astype(np.float32)
        if running:
            self.table[f"{name}.running_mean"] = self.rng.normal(0, 0.1, channels).astype(np.float32)
            self.table[f"{name}.running_var"] = self.rng.uniform(0.5, 1.5, channels).astype(np.float32)
            self.table[f"{name}.num_batches_tracked"] = np.array(7)

    def _draw(self, name: str, shape: tuple[int, ...], fan_in: int, bias: bool) -> None:
        if self.zeros:  # where only names and shapes matter
            drawn = np.zeros(shape, np.float32)
        else:
            drawn = self.rng.standard_normal(shape, dtype=np.float32) * np.float32(np.sqrt(1.5 / fan_in))
        self.table[name] = drawn
        if bias:
            self.table[name.removesuffix("weight") + "bias"] = self.rng.normal(0, 0.1, shape[0]).astype(np.float32)


def draw_backbone(weights: Weights, base: int, prefix: str) -> None:
    """ResNet-50: a stem, and bottlenecks whose first of each stage has a shortcut."""
    weights.conv(f"{prefix}stem.conv1", base, 3, 7)
    weights.norm(f"{prefix}stem.conv1.norm", base)
    inputs = base
    for stage, depth in enumerate(DEPTHS):
        planes = base * 2**stage
        for block in range(depth):
            name = f"{prefix}res{stage + 2}.{block}"
            for index, (outputs, before, size) in enumerate(
                ((planes, inputs, 1), (planes, planes, 3), (4 * planes, planes, 1))
            ):
                weights.conv(f"{name}.conv{index + 1}", outputs, before, size)
                weights.norm(f"{name}.conv{index + 1}.norm", outputs)
            if block == 0:
                weights.conv(f"{name}.shortcut", 4 * planes, inputs, 1)
                weights.norm(f"{name}.shortcut.norm", 4 * planes)
            inputs = 4 * planes


@pytest.fixture(scope="session")
def draw():
    """Make the state dict of a panoptic cascade (CUPS, U2Seg) or, without stuff, of CutLER."""

    def make(
        *,
        base: int = 8,
        channels: int = 16,
        hidden: int = 24,
        semantic: int = 32,
        things: int = 5,
        stuff: int = 0,
        stages: int = 3,
        mask_classes: int | None = None,
        seed: int = 0,
        zeros: bool = False,
    ) -> dict[str, np.ndarray]:
        weights = Weights(seed, zeros=zeros)
        draw_backbone(weights, base, "backbone.bottom_up.")
        for level in range(2, 6):
            width = 4 * base * 2 ** (level - 2)
            for part, inputs, size in (("lateral", width, 1), ("output", channels, 3)):
                weights.conv(f"backbone.fpn_{part}{level}", channels, inputs, size)
                weights.norm(f"backbone.fpn_{part}{level}.norm", channels)
        rpn = "proposal_generator.rpn_head"
        weights.conv(f"{rpn}.conv", channels, channels, 3, bias=True)
        weights.conv(f"{rpn}.objectness_logits", 3, channels, 1, bias=True)
        weights.conv(f"{rpn}.anchor_deltas", 12, channels, 1, bias=True)
        for stage in range(stages):
            dot = f".{stage}" if stages > 1 else ""
            weights.linear(f"roi_heads.box_head{dot}.fc1", hidden, channels * 49)
            weights.linear(f"roi_heads.box_head{dot}.fc2", hidden, hidden)
            weights.linear(f"roi_heads.box_predictor{dot}.cls_score", things + 1, hidden)
            weights.linear(f"roi_heads.box_predictor{dot}.bbox_pred", 4, hidden)
        for index in range(4):
            weights.conv(f"roi_heads.mask_head.mask_fcn{index + 1}", channels, channels, 3, bias=True)
        weights.conv("roi_heads.mask_head.deconv", channels, channels, 2, bias=True)
        weights.conv("roi_heads.mask_head.predictor", mask_classes or things, channels, 1, bias=True)
        if stuff:
            for level, count in ((2, 1), (3, 1), (4, 2), (5, 3)):
                for index in range(count):
                    name = f"sem_seg_head.p{level}.{2 * index}"
                    weights.conv(name, semantic, channels if index == 0 else semantic, 3)
                    weights.norm(f"{name}.norm", semantic, running=False)
            weights.conv("sem_seg_head.predictor", stuff + 1, semantic, 1, bias=True)
        return weights.table

    return make


@pytest.fixture(scope="session")
def backbone_table() -> dict[str, np.ndarray]:
    """A backbone alone, as CutLER's file of DINO's ResNet-50 spells it: no prefix."""
    weights = Weights(1)
    draw_backbone(weights, 8, "")
    return weights.table
