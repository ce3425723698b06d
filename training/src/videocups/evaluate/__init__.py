"""Scores of video panoptic segmentation: STQ, PQ, VPQ, the class matching they need, and diagnostics."""

from __future__ import annotations

from videocups.evaluate.class_mapping import ClassMapping
from videocups.evaluate.matching import OverlapAccumulator, match_classes
from videocups.evaluate.overlaps import count_pairs
from videocups.evaluate.pq import PqAccumulator, PqResult, pq
from videocups.evaluate.stq import StqAccumulator, StqResult, stq
from videocups.evaluate.vpq import VpqAccumulator, VpqResult, vpq

__all__ = [
    "ClassMapping",
    "OverlapAccumulator",
    "PqAccumulator",
    "PqResult",
    "StqAccumulator",
    "StqResult",
    "VpqAccumulator",
    "VpqResult",
    "count_pairs",
    "match_classes",
    "pq",
    "stq",
    "vpq",
]
