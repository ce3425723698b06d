"""Instance propagation and tracking over a clip (VideoCUPS §3.1, "Instance propagation and tracking").

Instances of frame t are carried back to t−1 by flow and matched with the tracks there; a track that finds no partner in
t looks one frame further, and where it finds itself in t+1 its mask is carried back into t ("resurrection").
The paper compares the mask warped from t+1 to t with masks of t−1; the two lie in different frames, so one more warp is
composed before the comparison. Instances of t that match nothing start new tracks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from videocups.cues.flow import FlowPair, warp, warp_labels
from videocups_core.config import setting

LabelMap = NDArray[np.int32]


@dataclass(frozen=True)
class TrackingConfig:
    """Thresholds of the association; defaults are the paper's."""

    # two masks are one object only above this IoU (the paper's tau_m)
    min_iou: float = setting(0.4, "two masks are one object only above this IoU", minimum=0.0, maximum=1.0)
    # tracks seen in fewer frames are dropped
    min_frames: int = setting(2, "tracks seen in fewer frames are dropped", minimum=1)
    # look one frame further for tracks that were lost
    resurrect: bool = setting(True, "carry masks of t+1 back into t for tracks lost in t")
    # leave occluded pixels out of the IoU
    ignore_occluded: bool = setting(True, "leave occluded pixels out of the IoU")
    # a mask carried back must find at least this share of its pixels free
    min_free: float = setting(
        0.5, "a mask carried back must find this share of its pixels free", minimum=0.0, maximum=1.0
    )


def track_instances(
    instances: Sequence[LabelMap], flows: Sequence[FlowPair], config: TrackingConfig | None = None
) -> list[LabelMap]:
    """Give the instances of a clip identities over time.

    ``instances``: one (H, W) int32 map per frame, 0 = none; ``flows[t]``: between frames t and t+1.
    Returns one (H, W) int32 map of track ids per frame, numbered 1..N over the clip.
    """
    config = config or TrackingConfig()
    if len(flows) != max(len(instances) - 1, 0):
        raise ValueError(f"{len(instances)} frames need {len(instances) - 1} flows between them, got {len(flows)}")
    if not instances:
        return []
    tracker = Tracker(config)
    tracks = []
    for t, labels in enumerate(instances):
        ahead = (instances[t + 1], flows[t]) if t + 1 < len(instances) else None
        tracks.append(tracker.advance(labels, ahead))
    return drop_short_tracks(tracks, config.min_frames)


class Tracker:
    """Tracks a clip frame by frame with two frames in memory; ids are unique over all frames it has seen."""

    def __init__(self, config: TrackingConfig | None = None) -> None:
        self.config = config or TrackingConfig()
        self._previous: LabelMap | None = None
        self._flow: FlowPair | None = None
        self._next_id = 1

    def advance(self, instances: LabelMap, ahead: tuple[LabelMap, FlowPair] | None) -> LabelMap:
        """Return the track ids of frame t; ``ahead``: the instances of t+1 and the flow from t to it."""
        if self._previous is None or self._flow is None:
            current = np.where(instances > 0, instances + (self._next_id - 1), 0).astype(np.int32)
            self._next_id += int(instances.max(initial=0))
        else:
            look = ahead if self.config.resurrect else None
            current, self._next_id = advance(self._previous, instances, self._flow, look, self._next_id, self.config)
        self._previous = current
        self._flow = None if ahead is None else ahead[1]
        return current


def advance(
    previous: LabelMap,
    instances: LabelMap,
    flow: FlowPair,
    ahead: tuple[LabelMap, FlowPair] | None,
    next_id: int,
    config: TrackingConfig,
) -> tuple[LabelMap, int]:
    """Carry the tracks of t−1 into t; ``flow`` joins the two, ``ahead``: instances of t+1 and the flow to it."""
    counted = flow.visible_forward if config.ignore_occluded else np.ones(previous.shape, dtype=bool)
    matches = match_labels(previous, warp_labels(instances, flow.forward_px), counted, config.min_iou)
    track_of = {instance: track for track, instance in matches.items()}
    new_label = np.zeros(int(instances.max(initial=0)) + 1, dtype=np.int32)
    for instance in present(instances[instances > 0]).tolist():
        if instance not in track_of:
            track_of[instance] = next_id
            next_id += 1
        new_label[instance] = track_of[instance]
    current = new_label[instances]
    lost = set(present(previous[previous > 0]).tolist()) - set(matches)
    if ahead is not None and lost:
        resurrect(current, np.where(np.isin(previous, list(lost)), previous, 0), flow, ahead, counted, config)
    return current, next_id


def resurrect(
    current: LabelMap,
    lost: LabelMap,
    flow: FlowPair,
    ahead: tuple[LabelMap, FlowPair],
    counted: NDArray[np.bool_],
    config: TrackingConfig,
) -> None:
    """Paste into ``current`` the masks of t+1 that belong to tracks ``lost`` after t−1, on free pixels only."""
    instances, flow_ahead = ahead
    carried = warp_labels(instances, flow_ahead.forward_px)  # t+1 seen from t
    if config.ignore_occluded:
        carried = np.where(flow_ahead.visible_forward, carried, 0)
    composed = flow.forward_px + warp(flow_ahead.forward_px, flow.forward_px)  # t−1 to t+1
    for track, instance in match_labels(lost, warp_labels(instances, composed), counted, config.min_iou).items():
        mask = carried == instance
        free = mask & (current == 0)
        if free.any() and free.sum() >= config.min_free * mask.sum():
            current[free] = track


def match_labels(first: LabelMap, second: LabelMap, counted: NDArray[np.bool_], min_iou: float) -> dict[int, int]:
    """Pair labels of two maps of one frame one to one for the largest sum of IoU, only pairs with IoU > ``min_iou``."""
    ids_first, ids_second, overlap = overlaps(np.where(counted, first, 0), np.where(counted, second, 0))
    union = overlap.sum(axis=1, keepdims=True) + overlap.sum(axis=0, keepdims=True) - overlap
    iou = overlap / np.maximum(union, 1)
    iou[ids_first == 0] = 0
    iou[:, ids_second == 0] = 0
    iou[iou <= min_iou] = 0  # forbidden pairs must not push allowed ones aside
    pairs = zip(*linear_sum_assignment(iou, maximize=True), strict=True)
    return {int(ids_first[i]): int(ids_second[j]) for i, j in pairs if iou[i, j] > 0}


def overlaps(first: LabelMap, second: LabelMap) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return the labels of two maps, ascending, and how many pixels each pair shares (n, m); 0 counts as a label."""
    ids_first, ids_second = present(first), present(second)
    row = np.zeros(int(ids_first[-1]) + 1, np.int64)
    column = np.zeros(int(ids_second[-1]) + 1, np.int64)
    row[ids_first], column[ids_second] = np.arange(ids_first.size), np.arange(ids_second.size)
    shape = (ids_first.size, ids_second.size)
    shared = np.bincount((row[first] * shape[1] + column[second]).ravel(), minlength=shape[0] * shape[1])
    return ids_first, ids_second, shared.reshape(shape)


def present(labels: LabelMap) -> NDArray[np.int64]:
    """Return the labels of a map in ascending order; counting is faster than sorting pixels."""
    return np.flatnonzero(np.bincount(labels.ravel()))


def drop_short_tracks(tracks: Sequence[LabelMap], min_frames: int) -> list[LabelMap]:
    """Remove tracks seen in fewer than ``min_frames`` frames and number the rest 1..N in order of birth."""
    highest = max((int(frame.max(initial=0)) for frame in tracks), default=0)
    frames_seen = np.zeros(highest + 1, dtype=np.int64)
    for frame in tracks:
        frames_seen[present(frame)] += 1
    keep = frames_seen >= min_frames
    keep[0] = False
    new_id = np.where(keep, np.cumsum(keep), 0).astype(np.int32)
    return [new_id[frame] for frame in tracks]
