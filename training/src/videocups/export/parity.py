"""How far two engines are apart, output by output, on the same images."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from videocups_core.engine.base import Engine, RawOutputs

MAX_BOX_PX = 1e-2
MAX_SCORE = 1e-3
MIN_MASK_IOU = 0.999
MAX_EMBEDDING = 1e-3
MAX_UNMATCHED = 0.005
"""Share of detections that may be other ones: a tie, or an overlap that is the threshold to the last bit."""
MAX_SEMANTIC = 1e-3
MATCH_PX = 1.0  # two detections of a class that are this near are the same one
_HALF = 128  # of a mask's 0…255


@dataclass(frozen=True)
class Parity:
    """The greatest differences over all frames.

    ``unmatched``: detections of either side that the other lacks. ``semantic``: share of pixels of another class.
    ``mask_iou``: the least, over masks of at least a cell; ``embedding``: absolute.
    """

    frames: int
    detections: int
    unmatched: int
    box_px: float
    score: float
    mask_iou: float
    embedding: float
    semantic: float

    @property
    def complaints(self) -> list[str]:
        """Return what is farther apart than two float32 engines may be."""
        found = []
        if self.unmatched > MAX_UNMATCHED * self.detections:
            found.append(f"{self.unmatched} of {self.detections} detections differ")
        rules = (
            ("boxes differ by {} px", self.box_px, MAX_BOX_PX),
            ("scores differ by {}", self.score, MAX_SCORE),
            ("embeddings differ by {}", self.embedding, MAX_EMBEDDING),
            ("{} of the semantic map differs", self.semantic, MAX_SEMANTIC),
        )
        found += [f"{text.format(f'{value:.3g}')} (limit {limit})" for text, value, limit in rules if value > limit]
        if self.mask_iou < MIN_MASK_IOU:
            found.append(f"masks have an IoU of {self.mask_iou:.4f} (limit {MIN_MASK_IOU})")
        return found


def measure_parity(reference: Engine, other: Engine, images: Iterable[NDArray[np.uint8]]) -> Parity:
    """Run both engines on network images (1, H, W, 3) and compare."""
    parts = [compare_outputs(reference.infer(image), other.infer(image)) for image in images]
    if not parts:
        raise ValueError("there is no frame to compare engines on; give clips")
    return Parity(
        frames=len(parts),
        detections=sum(part.detections for part in parts),
        unmatched=sum(part.unmatched for part in parts),
        box_px=max(part.box_px for part in parts),
        score=max(part.score for part in parts),
        mask_iou=min(part.mask_iou for part in parts),
        embedding=max(part.embedding for part in parts),
        semantic=float(np.mean([part.semantic for part in parts])),
    )


def compare_outputs(reference: RawOutputs, other: RawOutputs) -> Parity:
    """Compare one frame's outputs; detections are paired by class and box, best first, whatever their order."""
    pairs, unmatched = pair_detections(reference, other)
    first, second = (np.array([pair[side] for pair in pairs], dtype=np.int64) for side in (0, 1))
    return Parity(
        frames=1,
        detections=int(np.count_nonzero(reference.scores > 0)),
        unmatched=unmatched,
        box_px=_greatest(reference.boxes[first] - other.boxes[second]),
        score=_greatest(reference.scores[first] - other.scores[second]),
        mask_iou=_least_iou(reference.masks[first], other.masks[second]),
        embedding=_greatest(reference.embeddings[first] - other.embeddings[second]),
        semantic=_share_different(reference.semantic, other.semantic),
    )


def pair_detections(reference: RawOutputs, other: RawOutputs) -> tuple[list[tuple[int, int]], int]:
    """Return pairs of rows that are the same detection, and how many rows of both sides have no partner."""
    rows = np.flatnonzero(reference.scores > 0)
    free = set(np.flatnonzero(other.scores > 0).tolist())
    pairs = []
    for row in rows[np.argsort(-reference.scores[rows], kind="stable")].tolist():
        near = [r for r in free if other.classes[r] == reference.classes[row]]
        if not near:
            continue
        distances = np.abs(other.boxes[near] - reference.boxes[row]).max(axis=1)
        best = int(distances.argmin())
        if distances[best] <= MATCH_PX:
            pairs.append((row, near[best]))
            free.remove(near[best])
    return pairs, len(rows) - len(pairs) + len(free)


def _greatest(difference: NDArray[np.floating]) -> float:
    return float(np.abs(difference).max()) if difference.size else 0.0


def _least_iou(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> float:
    inside = first >= _HALF
    # a probability of a half to the last bit may be rounded either way: one step of 255 is no difference
    tied = np.abs(first.astype(np.int16) - second) <= 1
    other = np.where(tied, inside, second >= _HALF)
    union = (inside | other).sum(axis=(1, 2))
    common = (inside & other).sum(axis=(1, 2))
    return float((common[union > 0] / union[union > 0]).min()) if (union > 0).any() else 1.0


def _share_different(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> float:
    if first.shape != second.shape:  # of another stride: compare where both have a pixel
        step = max(first.shape[0], second.shape[0]) // min(first.shape[0], second.shape[0])
        first = first[::step, ::step] if first.shape[0] > second.shape[0] else first
        second = second[::step, ::step] if second.shape[0] > first.shape[0] else second
    return float((first != second).mean())
