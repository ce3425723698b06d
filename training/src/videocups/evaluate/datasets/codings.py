"""How label images code class and object id in their pixels. Each function returns (raw class, object id)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Maps = tuple[NDArray[np.int32], NDArray[np.int32]]
VOID_RAW = -1
"""Raw class of pixels the coding itself declares void."""


def read_png(path: Path, channels: int) -> NDArray[Any]:
    """Read a PNG unchanged: (H, W) of 8 or 16 bits for one channel, (H, W, C) of 8 bits, RGB(A), for more."""
    pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise FileNotFoundError(f"cannot read label image {path}; the file is missing or damaged")
    got = 1 if pixels.ndim == 2 else pixels.shape[2]
    if got != channels:
        raise ValueError(
            f"{path} has {got} channel(s) and this label format {channels}; is it another kind of image, such as a "
            "colour rendering?"
        )
    if channels == 1:
        return np.asarray(pixels)
    if pixels.dtype != np.uint8:
        raise ValueError(f"{path} has {pixels.dtype} channels and this label format 8-bit ones; write it as 8-bit PNG")
    order = [2, 1, 0, 3][:channels]
    return np.asarray(pixels)[..., order]


def step(path: Path) -> Maps:
    """STEP: R = class, G * 256 + B = id."""
    pixels = read_png(path, 3).astype(np.int32)
    return pixels[..., 0], pixels[..., 1] * 256 + pixels[..., 2]


def instance_ids(path: Path) -> Maps:
    """Cityscapes instanceIds: a label id, or label id * 1000 + instance for a single object."""
    pixels = read_png(path, 1).astype(np.int32)
    single = pixels >= 1000
    return np.where(single, pixels // 1000, pixels), np.where(single, pixels, 0)


def mots(path: Path) -> Maps:
    """MOTS: class * 1000 + instance, 0 = background, 10000 = ignore (raw class 10). Instances count from 0."""
    pixels = read_png(path, 1).astype(np.int32)
    return pixels // 1000, np.where(pixels >= 1000, pixels % 1000 + 1, 0)


def bdd(path: Path) -> Maps:
    """BDD100K: R = category, G = attributes, B * 256 + A = id; ignore (bit 0) is void, crowd (bit 1) has id 0."""
    pixels = read_png(path, 4).astype(np.int32)
    category, attributes = pixels[..., 0], pixels[..., 1]
    ids = pixels[..., 2] * 256 + pixels[..., 3]
    return np.where(attributes & 1, VOID_RAW, category), np.where(attributes & 2, 0, ids)


CODINGS: dict[str, Callable[[Path], Maps]] = {"step": step, "instance_ids": instance_ids, "mots": mots, "bdd": bdd}


def coco_ids(path: Path) -> NDArray[np.int32]:
    """COCO-panoptic segment ids: R + 256 G + 65536 B, 0 = void."""
    pixels = read_png(path, 3).astype(np.int32)
    return np.asarray(pixels[..., 0] + 256 * pixels[..., 1] + 65536 * pixels[..., 2])


def coco_maps(path: Path, segments: Sequence[Mapping[str, Any]], frame: str) -> Maps:
    """Split COCO-panoptic segments into category and object id; a crowd segment has id 0."""
    ids = coco_ids(path)
    rows = sorted((int(row["id"]), int(row["category_id"]), int(row.get("iscrowd", 0))) for row in segments)
    table = np.array([(0, VOID_RAW, 1), *(row for row in rows if row[0] != 0)], dtype=np.int32)
    if (np.diff(table[:, 0]) == 0).any():
        raise ValueError(f"frame {frame}: the panoptic JSON lists a segment id twice; every segment needs its own id")
    at = np.minimum(np.searchsorted(table[:, 0], ids), len(table) - 1)
    if (table[at, 0] != ids).any():
        stray = sorted(set(np.unique(ids).tolist()) - set(table[:, 0].tolist()))
        raise ValueError(f"{path} holds segment ids {stray[:5]} that the panoptic JSON does not list for frame {frame}")
    return table[at, 1], np.where(table[at, 2] == 1, 0, ids)
