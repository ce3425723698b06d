"""Numbers that explain a score: identity switches, broken tracks, flicker and a table per class."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from videocups.evaluate.classes import LabelSpace
from videocups.evaluate.overlaps import Frame, PairCounts, count_pairs
from videocups.evaluate.pq import PqResult, Segment
from videocups.evaluate.stq import StqResult
from videocups_core.types import VOID_CLASS


@dataclass(frozen=True)
class TrackingDiagnostics:
    """Counts over true tubes, summed over sequences.

    In each frame a true thing is *tracked* by the predicted thing, of any thing class, whose IoU with it is > 0.5
    (void and crowd pixels left out); at most one can be. ``id_switches``: a tube is tracked by another
    (class, id) than when it was last tracked. ``fragmentations``: a tube is tracked again after frames in which it was
    visible and not tracked. ``mostly_tracked``, ``mostly_lost``: tracked in at least 80 %, in less than 20 % of its
    frames.
    """

    tubes: int = 0
    visible_frames: int = 0
    tracked_frames: int = 0
    id_switches: int = 0
    fragmentations: int = 0
    mostly_tracked: int = 0
    mostly_lost: int = 0


@dataclass
class _TubeHistory:
    visible: int = 0
    tracked: int = 0
    switches: int = 0
    fragments: int = 0
    last: Segment | None = None
    lost_since: bool = False

    def see(self, tracker: Segment | None) -> None:
        self.visible += 1
        if tracker is None:
            self.lost_since = self.last is not None
            return
        self.tracked += 1
        self.switches += self.last is not None and self.last != tracker
        self.fragments += self.lost_since
        self.last, self.lost_since = tracker, False


class TrackingAccumulator:
    """Follow true tubes frame by frame; the frames of a sequence come in order, sequences in any order."""

    def __init__(self, things: Iterable[int], num_classes: int, void: int = VOID_CLASS) -> None:
        self.space = LabelSpace.of(things, num_classes, void)
        self._tubes: dict[Hashable, dict[Segment, _TubeHistory]] = {}

    def update(self, sequence_key: Hashable, frame: Frame) -> None:
        """Add the next frame of a sequence."""
        self.update_pairs(sequence_key, count_pairs(frame))

    def update_pairs(self, sequence_key: Hashable, pairs: PairCounts) -> None:
        """Add the next frame of a sequence, its pairs already counted."""
        tubes = self._tubes.setdefault(sequence_key, {})
        for tube, tracker in trackers_of(self.space.checked(pairs), self.space).items():
            tubes.setdefault(tube, _TubeHistory()).see(tracker)

    def merge(self, other: TrackingAccumulator) -> None:
        """Add the sequences of ``other``; exact, in any order. A sequence must not be split."""
        if other.space != self.space:
            raise ValueError(f"cannot merge counts of different label spaces: {self.space} and {other.space}")
        shared = self._tubes.keys() & other._tubes.keys()
        if shared:
            raise ValueError(f"sequences {sorted(map(str, shared))} are in both parts; give each to one accumulator")
        self._tubes.update(deepcopy(other._tubes))

    def result(self, sequence_key: Hashable | None = None) -> TrackingDiagnostics:
        """Return the counts over all sequences, or of one."""
        if sequence_key is not None and sequence_key not in self._tubes:
            raise ValueError(f"no sequence {sequence_key!r} was added; known are {list(self._tubes)}")
        chosen = self._tubes.values() if sequence_key is None else [self._tubes[sequence_key]]
        tubes = [tube for sequence in chosen for tube in sequence.values()]
        return TrackingDiagnostics(
            tubes=len(tubes),
            visible_frames=sum(tube.visible for tube in tubes),
            tracked_frames=sum(tube.tracked for tube in tubes),
            id_switches=sum(tube.switches for tube in tubes),
            fragmentations=sum(tube.fragments for tube in tubes),
            mostly_tracked=sum(5 * tube.tracked >= 4 * tube.visible for tube in tubes),
            mostly_lost=sum(5 * tube.tracked < tube.visible for tube in tubes),
        )


def trackers_of(pairs: PairCounts, space: LabelSpace) -> dict[Segment, Segment | None]:
    """Return, for every true thing of a frame, the predicted thing with IoU > 0.5, or None."""
    pred_px: dict[Segment, int] = {}
    true_px: dict[Segment, int] = {}
    shared_px: dict[tuple[Segment, Segment], int] = {}
    for (pred_class, pred_id, true_class, true_id), pixels in pairs.items():
        if true_class == space.void or space.is_crowd(true_class, true_id):
            continue
        prediction, truth = (pred_class, pred_id), (true_class, true_id)
        if true_class in space.things:
            true_px[truth] = true_px.get(truth, 0) + pixels
        if pred_class in space.things:
            pred_px[prediction] = pred_px.get(prediction, 0) + pixels
            if true_class in space.things:
                shared_px[truth, prediction] = shared_px.get((truth, prediction), 0) + pixels
    trackers: dict[Segment, Segment | None] = dict.fromkeys(true_px)
    for (truth, prediction), shared in shared_px.items():
        if 2 * shared > true_px[truth] + pred_px[prediction] - shared:
            trackers[truth] = prediction
    return trackers


@dataclass(frozen=True)
class Stability:
    """Pixels that could be followed into the next frame, and those whose class changed on the way. Sums by ``+``."""

    changed_px: int = 0
    followed_px: int = 0

    def __add__(self, other: Stability) -> Stability:
        return Stability(self.changed_px + other.changed_px, self.followed_px + other.followed_px)

    @property
    def change_rate(self) -> float:
        """Share of followed pixels whose class changed; NaN if none was followed."""
        return self.changed_px / self.followed_px if self.followed_px else float("nan")


def class_stability(
    class_now: NDArray[np.integer],
    class_next: NDArray[np.integer],
    flow_fw_px: NDArray[np.floating],
    visible: NDArray[np.bool_] | None = None,
) -> Stability:
    """Follow every pixel along the flow and compare its class now with the class at the nearest pixel it lands on.

    ``class_now``, ``class_next``: (H, W). ``flow_fw_px``: (H, W, 2), x then y, from now to next. ``visible``: (H, W),
    the pixels to judge: not occluded and, for the flicker of a still world, static. Pixels that leave the picture or
    whose flow is not finite are left out. Void is a class like any other here: becoming void is a change.
    """
    shape = class_now.shape
    if class_next.shape != shape or flow_fw_px.shape != (*shape, 2) or (visible is not None and visible.shape != shape):
        raise ValueError(
            f"class maps, flow and visibility must share one height and width, got {shape}, {class_next.shape}, "
            f"{flow_fw_px.shape}" + (f", {visible.shape}" if visible is not None else "")
        )
    rows, columns = np.indices(shape)
    finite = np.isfinite(flow_fw_px).all(axis=-1)
    flow = np.where(finite[..., None], flow_fw_px, 0.0)
    # Rounding in floating point first: a huge flow must not wrap around in an integer.
    x, y = np.rint(columns + flow[..., 0]), np.rint(rows + flow[..., 1])
    followed = finite & (x >= 0) & (x < shape[1]) & (y >= 0) & (y < shape[0])
    if visible is not None:
        followed &= visible
    landed = class_next[y[followed].astype(np.intp), x[followed].astype(np.intp)]
    return Stability(int(np.count_nonzero(landed != class_now[followed])), int(np.count_nonzero(followed)))


@dataclass(frozen=True)
class ClassRow:
    """One line of the table per class; NaN where the class gives nothing to say."""

    class_id: int
    name: str
    is_thing: bool
    iou: float
    aq: float
    true_tubes: int
    true_px: int
    predicted_px: int
    pq: float = float("nan")
    sq: float = float("nan")
    rq: float = float("nan")
    tp: int = 0
    fp: int = 0
    fn: int = 0


def class_table(
    stq_result: StqResult, space: LabelSpace, class_names: Sequence[str], pq_result: PqResult | None = None
) -> list[ClassRow]:
    """Return one row per class, in class order; pixels on true void are not counted."""
    if len(class_names) != space.num_classes:
        raise ValueError(f"expected {space.num_classes} class names, got {len(class_names)}")
    labelled = stq_result.confusion[:-1]
    tubes = [tube[1] for tube in stq_result.statistics.truth_px]
    rows = []
    for class_id, name in enumerate(class_names):
        if class_id == space.void:
            continue
        row = ClassRow(
            class_id,
            name,
            class_id in space.things,
            float(stq_result.iou_per_class[class_id]),
            float(stq_result.aq_per_class[class_id]),
            tubes.count(class_id),
            int(labelled[class_id].sum()),
            int(labelled[:, class_id].sum()),
        )
        rows.append(row if pq_result is None else _with_pq(row, pq_result))
    return rows


def _with_pq(row: ClassRow, result: PqResult) -> ClassRow:
    scores = result.per_class[row.class_id]
    counts = scores.counts
    return replace(row, pq=scores.pq, sq=scores.sq, rq=scores.rq, tp=counts.tp, fp=counts.fp, fn=counts.fn)
