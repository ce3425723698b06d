"""Temporal smoothing of semantic pseudo-labels (VideoCUPS §3.1, "Temporal semantic smoothing").

Each pixel takes the majority of its own label and those that flow brings from the frames before and after. A neighbour
in which the pixel is hidden abstains. The three votes decide only where two agree against the frame's own label.

Reads ``semantics`` (unsmoothed) and ``flow``; writes ``semantics_smooth/NNNNNN.png``, 8 bit.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from videocups.cues.flow import FlowPair, warp_labels

ClassMap = NDArray[np.uint8]
ABSTAINS = -1


def smooth_clip(labels: Sequence[ClassMap], flows: Sequence[FlowPair]) -> list[ClassMap]:
    """Smooth the (H, W) uint8 class maps of a clip; ``flows[t]``: between frames t and t + 1."""
    if len(flows) != max(len(labels) - 1, 0):
        raise ValueError(f"{len(labels)} frames need {max(len(labels) - 1, 0)} flows between them, got {len(flows)}")
    smoothed = []
    for t, own in enumerate(labels):
        before = (labels[t - 1], flows[t - 1]) if t > 0 else None
        after = (labels[t + 1], flows[t]) if t + 1 < len(labels) else None
        smoothed.append(smooth_frame(own, before, after))
    return smoothed


def smooth_frame(
    own: ClassMap, before: tuple[ClassMap, FlowPair] | None, after: tuple[ClassMap, FlowPair] | None
) -> ClassMap:
    """Vote in one frame; ``before`` and ``after``: a neighbour's labels and the flow that joins it, None at the ends.

    Three votes have a majority other than the frame's own label only if both neighbours agree; ties keep the own one.
    """
    if before is None or after is None:
        return own.copy()
    labels_before, flow_before = before
    labels_after, flow_after = after
    first = _carried(labels_before, flow_before.backward_px, flow_before.visible_backward)
    second = _carried(labels_after, flow_after.forward_px, flow_after.visible_forward)
    outvoted = (first == second) & (first != ABSTAINS)
    return np.where(outvoted, first, own).astype(np.uint8)


def _carried(labels: ClassMap, flow_px: NDArray[np.float32], visible: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Labels of a neighbour seen from this frame, ``ABSTAINS`` where the pixel is hidden there."""
    return np.where(visible, warp_labels(labels.astype(np.int32), flow_px), ABSTAINS)
