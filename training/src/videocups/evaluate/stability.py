"""Flicker: how often the predicted class of a static pixel changes from one frame to the next."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from videocups.evaluate.class_mapping import ClassMapping
from videocups.evaluate.counting import Job, aligned_maps
from videocups.evaluate.diagnostics import Stability, class_stability
from videocups.evaluate.pictures import fitted


def sequence_stability(job: Job, mapping: ClassMapping) -> Stability:
    """Follow the static pixels of a sequence with optical flow (OpenCV DIS) between neighbouring frames.

    Static: true stuff, so neither objects nor void. Frames without a picture or without a labeled neighbour are
    left out; pixels that are hidden in one of the two frames too.
    """
    from videocups.cues.flow import DisFlow, flow_pair

    estimator = DisFlow()
    total = Stability()
    before: tuple[int | None, NDArray[np.uint8], NDArray[np.uint8], NDArray[np.bool_]] | None = None
    for frame, place in zip(job.sequence.frames, job.places, strict=True):
        image = job.dataset.image(job.sequence, frame)
        if image is None:
            before = None
            continue
        pred_class, _, true_class, _ = aligned_maps(job, frame, place)
        now = mapping.apply(pred_class)
        picture = fitted(image, (true_class.shape[0], true_class.shape[1]))
        if before is not None and _neighbours(before[0], frame.index):
            flow = flow_pair(estimator, before[1], picture)
            total += class_stability(before[2], now, flow.forward_px, flow.visible_forward & before[3])
        moving = np.isin(true_class, [*job.dataset.things, job.dataset.void])
        before = (frame.index, picture, now, ~moving)
    return total


def _neighbours(before: int | None, now: int | None) -> bool:
    return before is None or now is None or now - before == 1
