"""Scores of video panoptic segmentation: STQ, PQ, VPQ, the class matching they need, and diagnostics."""

from __future__ import annotations

from videocups.evaluate.pq import PqAccumulator, PqResult, pq
from videocups.evaluate.stq import StqAccumulator, StqResult, stq
from videocups.evaluate.vpq import VpqAccumulator, VpqResult, vpq

__all__ = [
    "PqAccumulator",
    "PqResult",
    "StqAccumulator",
    "StqResult",
    "VpqAccumulator",
    "VpqResult",
    "pq",
    "stq",
    "vpq",
]
