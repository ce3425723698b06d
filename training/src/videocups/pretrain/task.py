"""The task that the training loop runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from videocups.pretrain.config import PretrainConfig, ScheduleConfig
from videocups.pretrain.distillation import SelfDistillation, teacher_temperature
from videocups.pretrain.guides import GuideClasses
from videocups.pretrain.pairs import FramePairs
from videocups.pretrain.views import Region, draw_region, link, recolored, within
from videocups.semantics.dino import DEVIATION_RGB, MEAN_RGB
from videocups.train.loop import Batch, initialize
from videocups_core.config import to_mapping

KIND = "pretrain"


class PretrainTask:
    """A backbone from pairs of frames."""

    kind = KIND

    def __init__(self, clips: Sequence[Path], config: PretrainConfig) -> None:
        self.settings = config
        self.config = to_mapping(config)
        self.pairs = FramePairs(clips, config.views)
        loop = config.loop
        self.steps = loop.steps or max(1, math.ceil(config.schedule.passes * len(self.pairs) / loop.batch_size))
        self.model = initialize(loop.seed, lambda: SelfDistillation(config))
        self.guided_until = config.pixel.guided * self.steps if config.pixel.weight else 0.0
        self.guides: GuideClasses | None = None
        if self.guided_until > 0:
            self.guides = GuideClasses(self.pairs, config.pixel.classes, config.pixel.frames, loop.seed)
        self.cells = config.views.crop // self.model.student.encoder.stride

    def batch(self, rng: np.random.Generator) -> Batch:
        """Return views of pairs of frames; see ``_sample`` for what they are."""
        drawn = [self._sample(rng) for _ in range(self.settings.loop.batch_size)]
        return {name: torch.stack([sample[name] for sample in drawn]) for name in drawn[0]}

    def prepare(self, step: int) -> float:
        """Let the teacher follow the last step, return the factor on the learning rate."""
        share = step / self.steps
        if step:
            self.model.follow(teacher_momentum(share, self.settings.schedule))
        return rate_factor(share, self.settings.schedule)

    def loss(self, batch: Batch, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the weighted sum of both terms, and the terms."""
        config, model = self.settings, self.model
        guided = step < self.guided_until
        views = normalized(batch["views"].flatten(0, 1))
        vectors, cells = model.student.encoder(views)
        seen_vectors, seen_cells = vectors.detach(), cells.detach()
        if config.image.weight or (config.pixel.weight and not guided):
            with torch.no_grad():
                seen_vectors, seen_cells = model.teacher.encoder(views)
        total, parts = vectors.new_zeros(()), {}
        if config.image.weight:
            small = self._small_vectors(batch["small"])
            temperature = teacher_temperature(step / self.steps, config.image)
            parts["image"] = model.image_term(_both(vectors), small, _both(seen_vectors), temperature)
            total = total + config.image.weight * parts["image"]
        if config.pixel.weight:
            if guided:
                parts["pixel"] = model.guided_term(cells, batch["classes"].flatten(0, 1), config.pixel)
            else:
                others = seen_cells.reshape(-1, 2, *seen_cells.shape[1:]).flip(1).flatten(0, 1)
                linked = batch["linked"].flatten(0, 1)
                parts["pixel"] = model.pixel_term(cells, others, batch["grid"].flatten(0, 1), linked, config.pixel)
            total = total + config.pixel.weight * parts["pixel"]
        return total, parts

    def _small_vectors(self, small: Tensor) -> list[Tensor]:
        """Return the student's vectors of every small view (B, V, 3, l, l): V tensors (B, width)."""
        if small.shape[1] == 0:
            return []
        vectors, _ = self.model.student.encoder(normalized(small.flatten(0, 1)))
        return list(vectors.reshape(*small.shape[:2], -1).unbind(1))

    def _sample(self, rng: np.random.Generator) -> Batch:
        """Return one pair's views.

        ``views`` (2, 3, c, c) and ``small`` (V, 3, l, l) uint8; ``grid`` (2, h, h, 2): where the cells of each view lie
        in the other; ``linked`` (2, h, h): whether they are seen there; ``classes`` (2, h, h): guide class or −1.
        """
        config = self.settings.views
        pair = self.pairs[int(rng.integers(len(self.pairs)))]
        frames, shape = (pair.first, pair.second), (config.height, config.width)
        mirrored = bool(rng.random() < config.flip)
        region = draw_region(rng, shape, config.crop_region, mirrored)
        views = [recolored(region.crop(frame, config.crop), config, rng) for frame in frames]
        small = [self._small_view(frame, region, rng) for frame in frames for _ in range(config.locals)]
        side = config.local_crop
        sample: Batch = {
            "views": channels_first(np.stack(views)),
            "small": channels_first(np.stack(small)) if small else torch.zeros(0, 3, side, side, dtype=torch.uint8),
        }
        flow = pair.flow
        links = (
            self._links(region, flow.forward_px, flow.visible_forward, pair.numbers[1]),
            self._links(region, flow.backward_px, flow.visible_backward, pair.numbers[0]),
        )
        for at, name in enumerate(("grid", "linked", "classes")):
            sample[name] = torch.stack([torch.from_numpy(found[at]) for found in links])
        return sample

    def _links(
        self, region: Region, flow_px: NDArray[np.float32], visible: NDArray[np.bool_], other: int
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.int64]]:
        places, seen = link(region, flow_px, visible, self.cells)
        grid = region.inside(places)
        if self.guides is None:
            return grid, seen & within(grid), np.full(seen.shape, -1, np.int64)
        return grid, seen & within(grid), np.where(seen, self.guides.at(other, places), -1)

    def _small_view(self, frame: NDArray[np.uint8], region: Region, rng: np.random.Generator) -> NDArray[np.uint8]:
        """Draw a small view that overlaps the region."""
        config = self.settings.views
        drawn = draw_region(rng, frame.shape[:2], config.local_region, bool(rng.random() < config.flip))
        low_x, low_y = region.x - drawn.side / 2, region.y - drawn.side / 2
        x = np.clip(round(low_x + float(rng.random()) * region.side), 0, frame.shape[1] - drawn.side)
        y = np.clip(round(low_y + float(rng.random()) * region.side), 0, frame.shape[0] - drawn.side)
        return recolored(Region(int(x), int(y), drawn.side, drawn.mirrored).crop(frame, config.local_crop), config, rng)


def normalized(images: Tensor) -> Tensor:
    """Return uint8 images (B, 3, H, W) as DINO sees them."""
    mean = torch.tensor(MEAN_RGB, device=images.device).reshape(3, 1, 1)
    deviation = torch.tensor(DEVIATION_RGB, device=images.device).reshape(3, 1, 1)
    return (images.float() / 255 - mean) / deviation


def channels_first(images: NDArray[np.uint8]) -> Tensor:
    """Return (N, H, W, 3) as a tensor (N, 3, H, W)."""
    return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))


def teacher_momentum(share: float, config: ScheduleConfig) -> float:
    """Return how slowly the teacher follows after a share of the steps: ever slower, along a cosine."""
    return 1 - (1 - config.momentum) * (1 + math.cos(math.pi * share)) / 2


def rate_factor(share: float, config: ScheduleConfig) -> float:
    """Return the factor on the learning rate: rising in a line, then falling along a cosine."""
    if share < config.warmup:
        return max(share, 1e-3) / config.warmup
    along = (share - config.warmup) / max(1 - config.warmup, 1e-9)
    return config.final_rate + (1 - config.final_rate) * (1 + math.cos(math.pi * along)) / 2


def _both(vectors: Tensor) -> tuple[Tensor, Tensor]:
    """Return the vectors (2 B, D) of first and second frames, (B, D) each."""
    return vectors[0::2], vectors[1::2]
