"""Train a network that refines flow, on scenes that are made of the clips' frames; no labels."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from videocups.cues.flow import DisFlow
from videocups.cues.learned.sampling import mean_where
from videocups.cues.refined.config import RefinedConfig
from videocups.cues.refined.made_scenes import make_scene
from videocups.cues.refined.network import Refined, RefinementNetwork, length
from videocups.train.checkpoint import Checkpoint
from videocups.train.clip_windows import ClipWindows
from videocups.train.loop import Batch, initialize, run_training
from videocups_core.config import to_mapping

KIND = "refined"
FRAMES = 3  # a scene is made of
LAST_RATE = 0.02  # of the learning rate, at the end
EXPECTED_PX = 0.2  # error of a candidate that is right
SHARPNESS_PX = 0.01


def train_refined(
    clips: Sequence[Path],
    out: Path,
    config: RefinedConfig,
    *,
    device: str = "cpu",
    on_step: Callable[[int], None] | None = None,
) -> Checkpoint:
    """Train on scenes made of the clips into the folder ``out``; goes on where a run before stopped."""
    return run_training(RefinedTask(clips, config), config.loop, out, device=device, on_step=on_step)


class RefinedTask:
    """Better flow from flow."""

    kind = KIND

    def __init__(self, clips: Sequence[Path], config: RefinedConfig) -> None:
        self.settings = config
        self.config = to_mapping(config)
        self.windows = ClipWindows(clips, 1, config.data, need_camera=False)
        self.steps = config.loop.steps
        self.model = initialize(config.loop.seed, lambda: RefinementNetwork(config.network))
        self._start = DisFlow(config.start)

    def batch(self, rng: np.random.Generator) -> Batch:
        """Return made scenes seen both ways, the flow to begin with and the true one."""
        drawn = [way for _ in range(self.settings.loop.batch_size) for way in self._scene(rng)]
        return {name: torch.stack([way[name] for way in drawn]) for name in drawn[0]}

    def prepare(self, step: int) -> float:
        """Return the factor on the learning rate: it falls along a cosine."""
        return LAST_RATE + (1 - LAST_RATE) * 0.5 * (1 + math.cos(math.pi * step / self.steps))

    def loss(self, batch: Batch, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Return how far choice and flow are from the truth."""
        truth = batch["truth"]
        refined = self.model(batch["first"], batch["second"], batch["flow"], batch["return_flow"])
        choice, result = choice_loss(refined, truth, batch["weight"])
        with torch.no_grad():
            error = (refined.flow_px - truth).norm(dim=1).mean()
            before = (batch["flow"] - truth).norm(dim=1).mean()
        return choice + result, {"choice": choice, "result": result, "error_px": error, "start_px": before}

    def _scene(self, rng: np.random.Generator) -> list[Batch]:
        frames = [self._crop(rng) for _ in range(FRAMES)]
        scene = make_scene(frames, self.settings.scenes, rng)
        flow = self._start.flow_px(scene.first, scene.second)
        back = self._start.flow_px(scene.second, scene.first)
        return [
            _way(scene.first, scene.second, flow, back, scene.forward_px, scene.first_weight),
            _way(scene.second, scene.first, back, flow, scene.backward_px, scene.second_weight),
        ]

    def _crop(self, rng: np.random.Generator) -> NDArray[np.uint8]:
        index, mirror = self.windows.draw(rng)
        frame = (self.windows.frames(index)[0].permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()
        row = int(rng.integers(frame.shape[0] - self.settings.crop_height + 1))
        column = int(rng.integers(frame.shape[1] - self.settings.crop_width + 1))
        frame = frame[row : row + self.settings.crop_height, column : column + self.settings.crop_width]
        return np.ascontiguousarray(frame[:, ::-1] if mirror else frame)


def choice_loss(refined: Refined, truth_px: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return −log likelihood of the truth, a choice and an error around it, and what the flow is off, as √px.

    Means over pixels, each by its ``weight`` (B, 1, H, W).
    A choice that is wrong and sure learns as well from the first as one in doubt, unlike from an expected error. The
    root counts a quarter of a px, which decides whether something moves, half as much as a whole one.
    """
    off = length(refined.candidates_px - truth_px[:, None], 2)
    choice = -(refined.log_shares - off / EXPECTED_PX).logsumexp(1, keepdim=True)
    result = ((refined.flow_px - truth_px).square().sum(1, keepdim=True) + SHARPNESS_PX**2).pow(0.25)
    return mean_where(choice, weight), mean_where(result, weight)


def _way(
    first: NDArray[np.uint8],
    second: NDArray[np.uint8],
    flow: NDArray[np.float32],
    back: NDArray[np.float32],
    truth: NDArray[np.float32],
    weight: NDArray[np.float32],
) -> Batch:
    images = {"first": as_tensor(first) / 255, "second": as_tensor(second) / 255}
    fields = {"flow": flow, "return_flow": back, "truth": truth, "weight": weight[..., None]}
    return {**images, **{name: as_tensor(field) for name, field in fields.items()}}


def as_tensor(field: NDArray[np.uint8] | NDArray[np.float32]) -> Tensor:
    """Return (C, H, W) float32 of (H, W, C)."""
    return torch.from_numpy(np.ascontiguousarray(field.transpose(2, 0, 1))).float()
