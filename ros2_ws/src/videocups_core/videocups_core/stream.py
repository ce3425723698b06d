"""One camera's way from image to panoptic frame: preprocess, infer, merge, track."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from videocups_core.bundle import ModelBundle
from videocups_core.engine.base import Engine, RawOutputs
from videocups_core.panoptic.extents import measure_labels
from videocups_core.panoptic.merge import MergeConfig, Merged, MergeTable, merge_panoptic
from videocups_core.preprocess import Placement, place, repetitions, to_image, to_network
from videocups_core.tracking import AbsentTrack, Tracked, Tracker, TrackerConfig
from videocups_core.tracking.track import stuff_segment_id
from videocups_core.types import PanopticFrame, Segment


@dataclass(frozen=True)
class StreamConfig:
    """What may differ from the bundle's own settings; None takes the bundle's."""

    merge: MergeConfig | None = None
    tracker: TrackerConfig | None = None


@dataclass(frozen=True)
class Timings:
    """Milliseconds the last step spent before, in and after the network."""

    pre_ms: float = 0.0
    infer_ms: float = 0.0
    post_ms: float = 0.0

    @property
    def total_ms(self) -> float:
        """The whole step."""
        return self.pre_ms + self.infer_ms + self.post_ms


@dataclass(frozen=True)
class Prepared:
    """A camera image as the network takes it, and where it lies in there."""

    network_image: NDArray[np.uint8]
    placement: Placement


class Stream:
    """One camera's state. ``step`` is called by one thread; frames in order of arrival.

    A step that raises leaves the tracker as it was, so that the next frame can be tried.
    """

    def __init__(self, bundle: ModelBundle, engine: Engine, config: StreamConfig | None = None) -> None:
        self.bundle = bundle
        self.engine = engine
        self._table = MergeTable.from_classes(bundle.classes)
        config = config or StreamConfig()
        self._merge_config = config.merge or bundle.merge
        self._table.check(self._merge_config)
        self.tracker = Tracker(config.tracker or bundle.tracker)
        self.timings = Timings()
        self.frame_index = 0
        self.last_stamp_ns: int | None = None
        self.confidence: NDArray[np.uint8] | None = None

    @property
    def merge_config(self) -> MergeConfig:
        """The thresholds in force."""
        return self._merge_config

    @merge_config.setter
    def merge_config(self, config: MergeConfig) -> None:
        self._table.check(config)
        self._merge_config = config

    @property
    def track_epoch(self) -> int:
        """Counts tracker resets."""
        return self.tracker.epoch

    def goes_back(self, stamp_ns: int) -> bool:
        """Return whether ``stamp_ns`` lies before the last frame's; to reset then or not is the caller's decision."""
        return self.last_stamp_ns is not None and stamp_ns < self.last_stamp_ns

    def reset(self) -> None:
        """Forget all tracks and the last stamp; bumps ``track_epoch``."""
        self.tracker.reset()
        self.last_stamp_ns = None

    def step(self, image_rgb: NDArray[np.uint8], stamp_ns: int, *, confidence: bool = False) -> PanopticFrame:
        """Segment one (H, W, 3) uint8 RGB image and continue the tracks; the frame has the image's resolution.

        With ``confidence`` the (H, W) uint8 map (probability·255) is in ``self.confidence`` afterwards.
        """
        start = time.perf_counter()
        prepared = self.prepare(image_rgb)
        prepared_at = time.perf_counter()
        raw = self.engine.infer(prepared.network_image)
        inferred_at = time.perf_counter()
        frame = self.finish(raw, prepared.placement, stamp_ns, confidence=confidence)
        end = time.perf_counter()
        self.timings = Timings(
            (prepared_at - start) * 1e3, (inferred_at - prepared_at) * 1e3, (end - inferred_at) * 1e3
        )
        return frame

    def prepare(self, image_rgb: NDArray[np.uint8]) -> Prepared:
        """First part of ``step``: fit the image into the network input. Touches no state."""
        if image_rgb.ndim != 3 or image_rgb.shape[2] != 3 or image_rgb.dtype != np.uint8:
            raise ValueError(
                f"a stream takes (H, W, 3) uint8 RGB images, got shape {tuple(image_rgb.shape)} "
                f"and dtype {image_rgb.dtype}"
            )
        placement = place((image_rgb.shape[0], image_rgb.shape[1]), self.bundle.input)
        return Prepared(to_network(image_rgb, placement, self.bundle.input), placement)

    def finish(
        self, raw: RawOutputs, placement: Placement, stamp_ns: int, *, confidence: bool = False
    ) -> PanopticFrame:
        """Last part of ``step``: merge, track, bring to camera resolution."""
        if confidence and raw.semantic_score is None:
            raise ValueError(f"model {self.bundle.model_id} has no output 'semantic_score', so no confidence map")
        merged = merge_panoptic(raw, self._table, self._merge_config, placement.network_hw, placement.content_hw)
        tracked, absent = self.tracker.update(merged)
        labels = to_image(merged.labels, placement)
        found = [*self._stuff_segments(), *_thing_segments(merged, tracked)]
        frame = PanopticFrame(
            stamp_ns=stamp_ns,
            segment_ids=_paint(labels, found),
            segments=(*_measured(merged.labels, placement, found), *map(_absent_segment, absent)),
            frame_index=self.frame_index,
            track_epoch=self.tracker.epoch,
        )
        self.confidence = _confidence(raw, merged, labels, placement) if confidence else None
        self.frame_index += 1
        self.last_stamp_ns = stamp_ns
        return frame

    def _stuff_segments(self) -> list[Segment]:
        return [Segment(stuff_segment_id(c), c, is_thing=False) for c in self._table.stuff_class_ids]


def _thing_segments(merged: Merged, tracked: list[Tracked]) -> list[Segment]:
    return [
        Segment(row.segment_id, row.class_id, True, row.track_id, float(score), row.state, row.age)
        for row, score in zip(tracked, merged.scores, strict=True)
    ]


def _paint(labels: NDArray[np.uint8], found: list[Segment]) -> NDArray[np.uint16]:
    """Segment id of every pixel; ``found`` are the segments of labels 1, 2, …."""
    table = np.zeros(256, dtype=np.uint16)
    table[1 : len(found) + 1] = [segment.segment_id for segment in found]
    return np.asarray(cv2.LUT(labels, table), dtype=np.uint16)


def _measured(labels: NDArray[np.uint8], placement: Placement, found: list[Segment]) -> list[Segment]:
    """Fill in areas and boxes; stuff without a pixel gets no row, a thing lost to the resize keeps an empty one."""
    areas, boxes = (values.tolist() for values in measure_labels(labels, *repetitions(placement)))
    return [
        replace(segment, area_px=areas[label], bbox_xywh=tuple(boxes[label]))
        for label, segment in enumerate(found, start=1)
        if areas[label] or segment.is_thing
    ]


def _absent_segment(track: AbsentTrack) -> Segment:
    return Segment(track.segment_id, track.class_id, True, track.track_id, track.score, track.state, track.age)


def _confidence(raw: RawOutputs, merged: Merged, labels: NDArray[np.uint8], placement: Placement) -> NDArray[np.uint8]:
    """(H, W) uint8: probability·255 of the pixel's stuff class, or its thing's score."""
    assert raw.semantic_score is not None
    rows, columns = placement.content_hw
    size = (placement.network_hw[1], placement.network_hw[0])
    network = np.asarray(cv2.resize(raw.semantic_score, size, interpolation=cv2.INTER_NEAREST_EXACT), dtype=np.uint8)
    stuff = to_image(network[:rows, :columns], placement)
    score = np.zeros(256, dtype=np.uint8)
    first = merged.first_thing_label
    score[first : first + len(merged)] = np.rint(np.clip(merged.scores, 0, 1) * 255)
    return np.where(labels < first, stuff, score[labels])
