"""Which pseudo-classes are things (VideoCUPS §3.1): those that lie in moving instances often enough.

The share of each class's pixels that lie inside instances is normalised to sum 1 over the classes; classes above the
threshold ψ are things.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from videocups.fusion.alignment import ClassCounts
from videocups_core.config import setting


@dataclass(frozen=True)
class SplitConfig:
    """The threshold of CUPS; the paper gives none."""

    threshold: float = setting(0.08, "classes above this normalised ratio are things", minimum=0.0, maximum=1.0)


@dataclass(frozen=True)
class ThingStuffSplit:
    """``ratios``: (K,) normalised ratios, ``is_thing``: (K,) bool, ``threshold``: what divided them."""

    ratios: NDArray[np.float64]
    is_thing: NDArray[np.bool_]
    threshold: float
    counts: ClassCounts

    def table(self) -> dict[str, Any]:
        """Return rows for JSON: the classes in descending order of their ratio, so that a gap in the ratios shows."""
        order = np.argsort(-self.ratios, kind="stable")
        rows = [
            {
                "class_id": int(k),
                "ratio": round(float(self.ratios[k]), 6),
                "is_thing": bool(self.is_thing[k]),
                "inside_px": int(self.counts.inside_px[k]),
                "all_px": int(self.counts.all_px[k]),
            }
            for k in order
        ]
        return {"threshold": self.threshold, "classes": rows}


def split_things(counts: ClassCounts, config: SplitConfig | None = None) -> ThingStuffSplit:
    """Divide the pseudo-classes into things and stuff."""
    config = config or SplitConfig()
    share = counts.inside_px / np.maximum(counts.all_px, 1)
    total = share.sum()
    ratios = share / total if total > 0 else share
    return ThingStuffSplit(ratios, ratios > config.threshold, config.threshold, counts)
