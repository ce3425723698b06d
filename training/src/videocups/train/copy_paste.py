"""Video copy-paste: objects laid over a pair on random ways, hiding what lies below them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from videocups.model.classes import THING
from videocups.train.pair import NO_CLASS, Pair
from videocups.train.panoptic_config import PasteConfig
from videocups.train.resizing import resized

MAX_ROWS = 32_766
Patch = tuple[NDArray[np.uint8], NDArray[np.bool_]]


@dataclass(frozen=True)
class Cutout:
    """An object cut out of a pair: image (h, w, 3) and mask (h, w) of its box in each frame, and its thing index."""

    first: Patch
    second: Patch
    thing: int


@dataclass(frozen=True)
class Way:
    """Where a cutout's middle goes (x, y px in each frame), its size against its own, and whether it is mirrored."""

    middles_px: tuple[tuple[float, float], tuple[float, float]]
    scales: tuple[float, float]
    mirrored: bool


def cut_out(pair: Pair, boxes: NDArray[np.float32], row: int) -> Cutout:
    """Cut row ``row`` out of a pair; where it is in one frame only, it looks alike in both."""
    patches = [_patch(pair, at, boxes[at, row], row) if pair.classes[at, row] != NO_CLASS else None for at in range(2)]
    first, second = patches[0] or patches[1], patches[1] or patches[0]
    if first is None or second is None:
        raise ValueError(f"row {row} is in neither frame of the pair, so there is nothing to cut out")
    return Cutout(first, second, int(pair.classes[:, row].max()))


def cutouts_of(pair: Pair, boxes: NDArray[np.float32], min_side_px: int) -> list[Cutout]:
    """Cut out all objects with sides of at least ``min_side_px`` wherever they are seen."""
    sides = (boxes[..., 2:] - boxes[..., :2]).min(axis=-1)
    seen = pair.classes != NO_CLASS
    usable = seen.any(axis=0) & ((sides >= min_side_px) | ~seen).all(axis=0)
    return [cut_out(pair, boxes, int(row)) for row in np.flatnonzero(usable)]


def draw_way(height: int, width: int, config: PasteConfig, rng: np.random.Generator) -> Way:
    """Draw a straight way whose middle is inside the image in the first frame."""
    x, y = float(rng.uniform(0, width)), float(rng.uniform(0, height))
    step_x, step_y = (float(rng.uniform(-config.speed, config.speed)) * size for size in (width, height))
    scale = float(rng.uniform(*config.scale))
    drift = 1 + float(rng.uniform(-config.drift, config.drift))
    return Way(((x, y), (x + step_x, y + step_y)), (scale, scale * drift), bool(rng.random() < config.flip))


def paste(pair: Pair, pieces: Sequence[tuple[Cutout, Way]]) -> Pair:
    """Lay cutouts over a pair, the last on top. Each becomes a new row; what it hides loses those pixels.

    Areas and boxes are not updated here: ``pair.settle`` ignores what is left too small.
    """
    if not pieces:
        return pair
    images, semantic = pair.images.copy(), pair.semantic.copy()
    rows, ignore = pair.rows.copy(), pair.ignore.copy()
    classes = np.full((2, len(pieces)), NO_CLASS, np.int16)
    before = pair.classes.shape[1]
    if before + len(pieces) > MAX_ROWS:
        raise ValueError(f"a pair holds {MAX_ROWS} objects at most, got {before + len(pieces)}; lower paste.objects")
    for number, (cutout, way) in enumerate(pieces):
        for at, patch in enumerate((cutout.first, cutout.second)):
            placed = _place(patch, way.middles_px[at], way.scales[at], way.mirrored, rows.shape[1:])
            if placed is None:
                continue
            window, image, mask = placed
            images[at][window][mask] = image[mask]
            semantic[at][window][mask] = THING
            rows[at][window][mask] = before + number + 1
            ignore[at][window][mask] = False
            classes[at, number] = cutout.thing
    return replace(
        pair,
        images=images,
        semantic=semantic,
        rows=rows,
        ignore=ignore,
        classes=np.concatenate([pair.classes, classes], axis=1),
    )


def _patch(pair: Pair, at: int, box: NDArray[np.float32], row: int) -> Patch:
    left, top, right, bottom = (int(edge) for edge in box)
    mask = pair.rows[at, top:bottom, left:right] == row + 1
    return pair.images[at, top:bottom, left:right].copy(), mask


def _place(
    patch: Patch, middle_px: tuple[float, float], scale: float, mirrored: bool, image_hw: tuple[int, ...]
) -> tuple[tuple[slice, slice], NDArray[np.uint8], NDArray[np.bool_]] | None:
    """Return where a patch lies, its image and mask there; None where no pixel of it is inside."""
    image, mask = patch
    size = (max(round(mask.shape[1] * scale), 1), max(round(mask.shape[0] * scale), 1))
    left, top = round(middle_px[0] - size[0] / 2), round(middle_px[1] - size[1] / 2)
    inside_x = slice(max(left, 0), min(left + size[0], image_hw[1]))
    inside_y = slice(max(top, 0), min(top + size[1], image_hw[0]))
    if inside_x.start >= inside_x.stop or inside_y.start >= inside_y.stop:
        return None
    image = resized(image, size)
    mask = np.asarray(cv2.resize(mask.view(np.uint8), size, interpolation=cv2.INTER_NEAREST_EXACT)).view(bool)
    if mirrored:
        image, mask = image[:, ::-1], mask[:, ::-1]
    part = (
        slice(inside_y.start - top, inside_y.stop - top),
        slice(inside_x.start - left, inside_x.stop - left),
    )
    return ((inside_y, inside_x), image[part], mask[part]) if mask[part].any() else None
