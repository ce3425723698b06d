"""How good cues are against the truth: end-point error, depth error, and motion pixels."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from videocups.cues.flow import FloatMap

Mask = NDArray[np.bool_]
_BINS = 2000


@dataclass
class FlowQuality:
    """Mean end-point error over pixels with truth, and over those of moving objects."""

    error_px: float = 0.0
    pixels: int = 0
    mover_error_px: float = 0.0
    mover_pixels: int = 0

    def add(self, flow_px: FloatMap, truth_px: FloatMap, valid: Mask, moving: Mask) -> None:
        """Count one frame; flows (H, W, 2), masks (H, W)."""
        error = np.linalg.norm(flow_px - truth_px, axis=2)
        self.error_px += float(error[valid].sum(dtype=np.float64))
        self.pixels += int(valid.sum())
        self.mover_error_px += float(error[valid & moving].sum(dtype=np.float64))
        self.mover_pixels += int((valid & moving).sum())

    def merge(self, other: FlowQuality) -> None:
        """Add the counts of another set of frames."""
        self.error_px, self.pixels = self.error_px + other.error_px, self.pixels + other.pixels
        self.mover_error_px += other.mover_error_px
        self.mover_pixels += other.mover_pixels

    def all(self) -> float:
        """Mean end-point error in px."""
        return self.error_px / self.pixels if self.pixels else float("nan")

    def movers(self) -> float:
        """Mean end-point error on moving objects in px."""
        return self.mover_error_px / self.mover_pixels if self.mover_pixels else float("nan")


@dataclass
class DepthQuality:
    """Mean over frames of AbsRel and delta < 1.25, each frame scaled by its median."""

    max_m: float = 80.0
    abs_rel: list[float] = field(default_factory=list)
    delta: list[float] = field(default_factory=list)

    def add(self, depth: FloatMap, truth_m: FloatMap) -> None:
        """Count one frame, (H, W) each; truth of 0 or beyond ``max_m`` is left out."""
        valid = (truth_m > 0) & (truth_m < self.max_m)
        if not valid.any():
            return
        found, true = depth[valid].astype(np.float64), truth_m[valid].astype(np.float64)
        found *= np.median(true) / np.median(found)
        self.abs_rel.append(float(np.mean(np.abs(found - true) / true)))
        self.delta.append(float(np.mean(np.maximum(found / true, true / found) < 1.25)))

    def merge(self, other: DepthQuality) -> None:
        """Add another set of frames."""
        self.abs_rel += other.abs_rel
        self.delta += other.delta


@dataclass
class MotionQuality:
    """Precision, recall and F1 of moving pixels above a threshold, and the area under the ROC curve."""

    threshold: float = 0.15
    positives: NDArray[np.int64] = field(default_factory=lambda: np.zeros(_BINS, np.int64))
    negatives: NDArray[np.int64] = field(default_factory=lambda: np.zeros(_BINS, np.int64))
    right: int = 0
    found: int = 0

    def add(self, motion: FloatMap, moving: Mask) -> None:
        """Count one frame, (H, W) each."""
        # finer bins near 0, where most pixels are
        index = np.minimum((np.sqrt(np.clip(motion, 0, 1)) * _BINS).astype(np.int64), _BINS - 1)
        self.positives += np.bincount(index[moving], minlength=_BINS)
        self.negatives += np.bincount(index[~moving], minlength=_BINS)
        is_found = motion > self.threshold
        self.right += int((is_found & moving).sum())
        self.found += int(is_found.sum())

    def merge(self, other: MotionQuality) -> None:
        """Add another set of frames."""
        self.positives = self.positives + other.positives
        self.negatives = self.negatives + other.negatives
        self.right, self.found = self.right + other.right, self.found + other.found

    def precision(self) -> float:
        """Share of the pixels above the threshold that move."""
        return self.right / self.found if self.found else float("nan")

    def recall(self) -> float:
        """Share of the moving pixels that lie above the threshold."""
        return self.right / int(self.positives.sum()) if self.positives.any() else float("nan")

    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        of = self.found + int(self.positives.sum())
        return 2 * self.right / of if of else float("nan")

    def auc(self) -> float:
        """Area under the ROC curve; ties count half."""
        below = np.cumsum(self.negatives) - self.negatives
        wins = (self.positives * (below + 0.5 * self.negatives)).sum(dtype=np.float64)
        pairs = float(self.positives.sum()) * float(self.negatives.sum())
        return float(wins / pairs) if pairs else float("nan")
