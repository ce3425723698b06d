"""The vehicle's own hood: pixels at the lower edge that never move although the vehicle does."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from videocups.cues.flow import FloatMap
from videocups_core.config import setting

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class HoodConfig:
    """When a pixel belongs to the vehicle itself."""

    enabled: bool = setting(True, "find the vehicle's own hood and leave it out")
    # flow below this is none ...
    still_px: float = setting(0.5, "flow below this is none", minimum=0.0)
    # ... where the ground would show at least this much
    expected_px: float = setting(3.0, "pairs whose ground moves less than this tell nothing", minimum=0.0)
    # in this share of the pairs that tell anything
    min_share: float = setting(
        0.8, "share of the telling pairs in which a hood pixel is still", minimum=0.0, maximum=1.0
    )
    # fewer telling pairs find no hood
    min_pairs: int = setting(5, "fewer telling pairs than this find no hood", minimum=1)
    # a hood is at most this share of the image's height
    max_height: float = setting(0.35, "a hood is at most this share of the image's height", minimum=0.0, maximum=1.0)


class HoodFinder:
    """Counts, pair by pair, where nothing moves although the ground there should."""

    def __init__(self, shape: tuple[int, int], config: HoodConfig) -> None:
        self.config = config
        self._still = np.zeros(shape, np.int32)
        self._telling = np.zeros(shape, np.int32)

    def add(self, flow_px: FloatMap, expected_px: FloatMap) -> None:
        """Count one pair: its flow and the flow that the ground would show, (H, W, 2) each."""
        telling = np.hypot(expected_px[..., 0], expected_px[..., 1]) > self.config.expected_px
        self._telling += telling
        self._still += telling & (np.hypot(flow_px[..., 0], flow_px[..., 1]) < self.config.still_px)

    def counts(self) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Return (H, W) in how many pairs each pixel was still, and in how many it could tell."""
        return self._still.copy(), self._telling.copy()

    def add_counts(self, still: NDArray[np.int32], telling: NDArray[np.int32]) -> None:
        """Add what another finder counted."""
        self._still += still
        self._telling += telling

    def mask(self) -> Mask:
        """Return (H, W): the still pixels that hang together with the lower edge."""
        config = self.config
        enough = self._telling >= config.min_pairs
        still = enough & (self._still >= config.min_share * self._telling)
        height = still.shape[0]
        still[: round((1 - config.max_height) * height)] = False
        closed = cv2.morphologyEx(still.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((7, 7), np.uint8))
        _, parts = cv2.connectedComponents(closed, connectivity=4)
        at_edge = np.unique(parts[-3:])
        hood = np.isin(parts, at_edge[at_edge > 0])
        if not config.enabled or hood[-1].mean() < 0.2:  # a few still pixels are no hood
            return np.zeros_like(hood)
        wide: Mask = cv2.dilate(hood.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
        return wide
