"""Learn video panoptic segmentation from labelled pairs: pseudo-labels, truth and human labels alike."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from videocups.model.classes import ClassTable
from videocups.model.load import KIND
from videocups.model.network import PanopticNetwork
from videocups.train.augmentation import (
    batch_size_px,
    draw_colors,
    draw_view,
    recolored,
    seen_image,
    seen_labels,
    working_height,
)
from videocups.train.copy_paste import Cutout, cutouts_of, paste
from videocups.train.distributed import Ranks, gather
from videocups.train.labelled_clips import LabelledFrames, PairIndex
from videocups.train.loop import LEARNED_FROM, initialize
from videocups.train.network_engine import follow_pairs
from videocups.train.pair import NO_CLASS, Pair, expand, frame_labels, join, pack, settle, unpack
from videocups.train.panoptic_config import AugmentConfig, PanopticTraining, ScheduleConfig
from videocups.train.paste_memory import PasteMemory
from videocups.train.pictures import comparison
from videocups.train.starting import start_from
from videocups.train.tasks import Batch, Loss
from videocups_core.config import to_mapping
from videocups_core.panoptic.merge import MergeConfig

CUTOUTS_PER_PAIR = 4
"""objects of a pair that are remembered, so that a crowded street does not push everything else out"""


class PanopticTask:
    """Pairs of labelled frames, the network, and what is pasted."""

    kind = KIND

    def __init__(self, clips: Sequence[Path], settings: PanopticTraining, *, table: ClassTable | None = None) -> None:
        """Open the clips; with a ``table`` of classes their labels are not looked at."""
        self.settings = settings
        data = settings.data
        self.frames = LabelledFrames(clips, data, working_height=working_height(data, settings.augment), table=table)
        self.windows = PairIndex(self.frames)
        loop = settings.loop
        self.steps = loop.steps or max(round(settings.schedule.passes * len(self.windows) / loop.batch_size), 1)
        self.model = initialize(loop.seed, lambda: PanopticNetwork(settings.model, self.frames.table))
        self.started = start_from(self.model, settings.init) if settings.init is not None else "random weights"
        self.model.train()
        self.memory = PasteMemory(settings.paste)
        self.config: dict[str, Any] = {**to_mapping(settings), "classes": self.frames.table.to_mapping()}
        self.config[LEARNED_FROM] = self.frames.digest()
        # predictions speak of the bundle's class ids
        self._bundle_table = ClassTable.of(self.frames.table.bundle_classes)
        self._orders: dict[int, NDArray[np.int64]] = {}

    def part(self, seed: int, step: int, place: Ranks) -> Batch:
        """Return this process's pairs of a step, augmented but with nothing pasted."""
        size = batch_size_px(self.settings.data, self.settings.augment, np.random.default_rng([seed, step, 0]))
        batch_size = self.settings.loop.batch_size
        pairs, seeds = [], []
        for number in place.part(batch_size):
            rng = np.random.default_rng([seed, step, 1 + number])
            epoch, position = divmod(step * batch_size + number, len(self.windows))
            pair = self._pair(int(self._order(seed, epoch)[position]), size, rng)
            pairs.append(settle(pair, self.settings.data.min_area_px))
            seeds.append(int(rng.integers(2**60)))
        return {**pack(pairs), "seed": torch.tensor(seeds)}

    def finish(self, batch: Batch, seed: int, step: int) -> Batch:
        """Remember this batch's objects and paste remembered ones."""
        if not self.settings.paste.enabled:
            return batch
        pairs, boxes = unpack(batch), batch["boxes"].numpy()
        rngs = [np.random.default_rng([step, one]) for one in batch["seed"].tolist()]
        self.memory.add("labels", gather(self._label_cutouts(pairs, boxes, rngs)))
        config = self.settings.paste
        if 0 <= config.own_from <= step and step % config.own_every == 0:
            self.memory.add("own", gather(self._own_cutouts(batch, pairs, boxes)))
        pasted = []
        for pair, rng in zip(pairs, rngs, strict=True):
            height, width = pair.rows.shape[1:]
            whole = paste(pair, self.memory.draw(height, width, rng))
            pasted.append(settle(whole, self.settings.data.min_area_px))
        return {**pack(pasted), "seed": batch["seed"]}

    def prepare(self, step: int) -> float:
        """Return the factor on the learning rate."""
        return rate_factor(step, self.steps, self.settings.schedule)

    def loss(self, batch: Batch, step: int) -> Loss:
        """Return the sum of the network's losses, and each of them."""
        parts = self.model(expand(batch) | {"seed": batch["seed"]}, self.settings.droploss)
        return torch.stack(list(parts.values())).sum(), parts

    def picture(self, batch: Batch) -> NDArray[np.uint8]:
        """Return labels and predictions of the first pair, side by side, frame below frame."""
        here = {name: value[:1].cpu() for name, value in batch.items()}
        found = follow_pairs(self.model, self._images(here), MergeConfig())
        return comparison(unpack(here)[0], found[0], self.frames.table)

    def state(self) -> dict[str, Tensor]:
        """Return what can be pasted, for a checkpoint."""
        return self.memory.state()

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Take back what ``state`` gave."""
        self.memory.load(state)

    def _pair(self, index: int, size_hw: tuple[int, int], rng: np.random.Generator) -> Pair:
        return self._drawn(index, size_hw, self.settings.augment, rng)

    def _drawn(self, index: int, size_hw: tuple[int, int], augment: AugmentConfig, rng: np.random.Generator) -> Pair:
        at, first = self.windows.pairs[index]
        (image, labels), (later, later_labels) = (
            self.frames.frame(at, frame) for frame in (first, first + self.windows.gap)
        )
        size = (size_hw[1], size_hw[0])
        view = draw_view((image.shape[0], image.shape[1]), size_hw, augment, rng)
        images = np.stack([seen_image(image, view, size), seen_image(later, view, size)])
        images = recolored(images, draw_colors(augment, rng))
        return join(images, (seen_labels(labels, view, size), seen_labels(later_labels, view, size)))

    def _label_cutouts(
        self, pairs: Sequence[Pair], boxes: NDArray[np.float32], rngs: Sequence[np.random.Generator]
    ) -> list[Cutout]:
        chosen: list[Cutout] = []
        for pair, found, rng in zip(pairs, boxes, rngs, strict=True):
            cutouts = cutouts_of(pair, found, self.settings.paste.min_side_px)
            order = rng.permutation(len(cutouts))[:CUTOUTS_PER_PAIR]
            chosen += [cutouts[index] for index in order.tolist()]
        return chosen

    def _own_cutouts(self, batch: Batch, pairs: Sequence[Pair], boxes: NDArray[np.float32]) -> list[Cutout]:
        """Cut out what the model is sure of in both frames and no label has."""
        config = self.settings.paste
        merge = MergeConfig(score_threshold=config.own_score)
        predicted = follow_pairs(self.model, self._images(batch), merge)
        chosen: list[Cutout] = []
        for pair, found, frames in zip(pairs, boxes, predicted, strict=True):
            labels = (frame_labels(frames[0], self._bundle_table), frame_labels(frames[1], self._bundle_table))
            own, own_boxes = settle(join(pair.images, labels), self.settings.data.min_area_px)
            new = (own.classes != NO_CLASS).all(axis=0) & ~_overlapping(own_boxes, found, pair.classes, config.own_iou)
            kept = Pair(own.images, own.semantic, own.rows, own.ignore, np.where(new, own.classes, NO_CLASS))
            chosen += cutouts_of(kept, own_boxes, config.min_side_px)[:CUTOUTS_PER_PAIR]
        return chosen

    def _images(self, batch: Batch) -> Tensor:
        device = next(self.model.parameters()).device
        return batch["images"].to(device).permute(0, 1, 4, 2, 3).contiguous()

    def _order(self, seed: int, epoch: int) -> NDArray[np.int64]:
        """Return the pairs of a pass in the order in which they come."""
        if epoch not in self._orders:
            order = np.random.default_rng([seed, 1_000_000_007, epoch]).permutation(len(self.windows))
            self._orders = {epoch - 1: self._orders.get(epoch - 1, order), epoch: order}
        return self._orders[epoch]


def rate_factor(step: int, steps: int, schedule: ScheduleConfig) -> float:
    """Return the factor on the learning rate: it grows, then stays or goes down to 0 like a cosine."""
    if step < schedule.warm_up:
        return (step + 1) / (schedule.warm_up + 1)
    if schedule.decay == "none":
        return 1.0
    share = (step - schedule.warm_up) / max(steps - schedule.warm_up, 1)
    return 0.5 * (1 + math.cos(math.pi * share))


def _overlapping(
    own: NDArray[np.float32], labels: NDArray[np.float32], classes: NDArray[np.int16], most: float
) -> NDArray[np.bool_]:
    """Return which rows of ``own`` (2, N, 4) overlap a label (2, M, 4) by IoU ``most`` or more in some frame."""
    hit = np.zeros(own.shape[1], bool)
    for at in range(2):
        there = labels[at][classes[at] != NO_CLASS]
        low = np.maximum(own[at][:, None, :2], there[None, :, :2])
        high = np.minimum(own[at][:, None, 2:], there[None, :, 2:])
        inside = np.clip(high - low, 0, None).prod(axis=-1)
        areas = [np.clip(boxes[:, 2:] - boxes[:, :2], 0, None).prod(axis=-1) for boxes in (own[at], there)]
        union = areas[0][:, None] + areas[1][None] - inside
        hit |= (inside >= most * np.maximum(union, 1e-6)).any(axis=1) if len(there) else False
    return hit
