"""Pairs of coloured shapes on two stripes of stuff, as training batches; some objects lack a label on request."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from videocups.model.classes import ClassTable
from videocups.model.config import (
    BackboneConfig,
    MaskConfig,
    ModelConfig,
    RoiConfig,
    RpnConfig,
    SemanticConfig,
    TrackConfig,
)
from videocups_core.types import ClassInfo

CLASSES = ClassTable.of(
    [
        ClassInfo(0, "sky", False, (70, 130, 180)),
        ClassInfo(1, "box", True, (200, 30, 30)),
        ClassInfo(2, "road", False, (90, 90, 90)),
        ClassInfo(3, "ball", True, (30, 30, 200)),
    ]
)
BOX, BALL = 0, 1
COLOURS = {"red": (220, 40, 40), "green": (40, 200, 60), "blue": (50, 60, 220), "yellow": (230, 210, 40)}


def tiny_config(**changes: object) -> ModelConfig:
    settings: dict[str, object] = {
        "backbone": BackboneConfig("resnet18", width=0.25, norm="batch"),
        "fpn_channels": 32,
        "canonical_px": 112,
        "rpn": RpnConfig(
            anchor_sizes=(16, 32, 64, 128, 256), pre_nms=200, post_nms_train=100, post_nms_test=50, batch=64
        ),
        "roi": RoiConfig(batch=32, width=64),
        "mask": MaskConfig(convs=2, channels=32),
        "semantic": SemanticConfig(channels=32, groups=8),
        "track": TrackConfig(width=64, dim=16),
    }
    return ModelConfig(**(settings | changes))  # type: ignore[arg-type]


# (shape, colour, x, y, width, height, motion x): places in the first frame, on a canvas of 256×128
SCENE = (
    (BOX, "red", 20, 60, 50, 30, 6),
    (BOX, "red", 150, 70, 44, 28, -5),
    (BALL, "blue", 90, 40, 30, 40, 4),
    (BALL, "green", 210, 50, 26, 26, -6),
)


def render(
    scene: tuple[tuple[int, str, int, int, int, int, int], ...] = SCENE,
    labelled: tuple[int, ...] | None = None,
    height: int = 128,
    width: int = 256,
) -> dict[str, Tensor]:
    """Return a batch of one pair; objects not in ``labelled`` are "thing" without an instance, as parked cars are."""
    rows = tuple(range(len(scene))) if labelled is None else labelled
    rng = np.random.default_rng(0)
    images = np.empty((2, height, width, 3), np.uint8)
    semantic = np.empty((2, height, width), np.int64)
    instances = np.zeros((2, height, width), np.int64)
    classes = np.full((2, len(rows)), -1, np.int64)
    boxes = np.zeros((2, len(rows), 4), np.float32)
    for frame in range(2):
        canvas = np.empty((height, width, 3), np.float32)
        canvas[: height // 2], canvas[height // 2 :] = (150, 190, 230), (90, 90, 95)
        semantic[frame, : height // 2], semantic[frame, height // 2 :] = 1, 2
        for index, (kind, colour, *place) in enumerate(scene):
            mask = _mask(kind, frame, place, height, width)
            canvas[mask], semantic[frame][mask] = COLOURS[colour], 0
            instances[frame][mask] = rows.index(index) + 1 if index in rows else 0
        images[frame] = np.clip(canvas + rng.normal(0, 6, canvas.shape), 0, 255)
        for row, index in enumerate(rows):
            y, x = np.nonzero(instances[frame] == row + 1)
            if len(y):
                classes[frame, row] = scene[index][0]
                boxes[frame, row] = x.min(), y.min(), x.max() + 1, y.max() + 1
    arrays = {
        "images": np.ascontiguousarray(images.transpose(0, 3, 1, 2)),
        "semantic": semantic,
        "instances": instances,
        "classes": classes,
        "boxes": boxes,
        "ignore": np.zeros_like(instances, bool),
    }
    return {name: torch.from_numpy(array)[None] for name, array in arrays.items()}


def _mask(kind: int, frame: int, place: list[int], height: int, width: int) -> NDArray[np.bool_]:
    x, y, w, h, motion = place
    x += frame * motion
    rows, columns = np.mgrid[:height, :width]
    if kind == BOX:
        return (rows >= y) & (rows < y + h) & (columns >= x) & (columns < x + w)
    u, v = (columns + 0.5 - x - w / 2) / (w / 2), (rows + 0.5 - y - h / 2) / (h / 2)
    return u * u + v * v <= 1
