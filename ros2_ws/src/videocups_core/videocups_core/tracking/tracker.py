"""The online tracker: live tracks first, then the memory; ids are never doubled and never come back."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from videocups_core.panoptic.merge import MAX_LABELS, Merged
from videocups_core.tracking.association import AssociationConfig, Candidates, associate
from videocups_core.tracking.overlap import box_overlap, iou_from_overlaps, label_overlaps_px
from videocups_core.tracking.track import SegmentIds, Track
from videocups_core.types import SegmentState


@dataclass(frozen=True)
class TrackerConfig:
    """How long a track outlives its last detection, and how detections find it."""

    # Unseen for up to this many frames a track coasts: it stays in the table and competes with the visible ones.
    coast_frames: int = 5
    # Unseen for up to this many frames a track can be reborn under its old id; then it dies.
    memory_frames: int = 20
    # At most this many tracks, memory included; beyond it the longest unseen die first.
    max_tracks: int = 512
    # Share of the newest embedding in a track's embedding; 1 keeps the newest alone.
    embedding_update: float = 1.0
    association: AssociationConfig = field(default_factory=AssociationConfig)

    def __post_init__(self) -> None:
        if not 0 <= self.coast_frames <= self.memory_frames:
            raise ValueError(
                f"tracker needs 0 <= coast_frames <= memory_frames, got {self.coast_frames} and {self.memory_frames}"
            )
        if not MAX_LABELS <= self.max_tracks <= 32_768:
            raise ValueError(f"tracker.max_tracks must be in {MAX_LABELS}..32768, got {self.max_tracks}")
        if not 0.0 < self.embedding_update <= 1.0:
            raise ValueError(f"tracker.embedding_update must be in (0, 1], got {self.embedding_update}")


@dataclass(frozen=True)
class Tracked:
    """What the tracker says about one detection."""

    segment_id: int
    track_id: int
    class_id: int
    state: SegmentState
    age: int


@dataclass(frozen=True)
class AbsentTrack:
    """A track without a detection in this frame: COASTED, or LOST in the one frame in which it stops coasting."""

    segment_id: int
    track_id: int
    class_id: int
    state: SegmentState
    age: int
    score: float


class Tracker:
    """Tracks of one camera. Deterministic; O(things) a frame, however long it has run."""

    def __init__(self, config: TrackerConfig | None = None) -> None:
        self.config = config or TrackerConfig()
        self.epoch = 0
        self._next_track_id = 1
        self._segment_ids = SegmentIds()
        self._tracks: list[Track] = []
        self._previous: Merged | None = None

    def __len__(self) -> int:
        """Tracks in the table: visible, coasting and remembered."""
        return len(self._tracks)

    @property
    def track_ids(self) -> tuple[int, ...]:
        """Ids of all tracks in the table, oldest first."""
        return tuple(track.track_id for track in self._tracks)

    @property
    def next_track_id(self) -> int:
        """The id the next new track will get; grows for ever, across resets too."""
        return self._next_track_id

    def reset(self) -> None:
        """Forget all tracks and start a new epoch; track ids go on counting, so none is ever used twice."""
        for track in self._tracks:
            self._segment_ids.give_back(track.segment_id)
        self._tracks = []
        self._previous = None
        self.epoch += 1

    def update(self, merged: Merged) -> tuple[list[Tracked], list[AbsentTrack]]:
        """Take the next frame's things; one row for each of them, in their order, and the absent tracks worth a row."""
        self._check_embedding_width(merged)
        owner = self._match(merged)
        for track in self._tracks:
            track.age += 1
            track.missed += 1
        for index, matched in enumerate(owner):
            if matched is not None:
                matched.observe(merged, index, self.config.embedding_update)
        rows = [_row(matched or self._born(merged, index)) for index, matched in enumerate(owner)]
        absent = [self._absent(track) for track in self._tracks if 0 < track.missed <= self.config.coast_frames + 1]
        self._bury()
        self._previous = merged
        return rows, absent

    def _check_embedding_width(self, merged: Merged) -> None:
        if len(merged) and self._tracks and merged.embeddings.shape[1] != len(self._tracks[0].embedding):
            raise ValueError(
                f"embeddings have {merged.embeddings.shape[1]} values, the tracks' have "
                f"{len(self._tracks[0].embedding)}; reset the tracker when the model changes"
            )

    def _match(self, merged: Merged) -> list[Track | None]:
        owner: list[Track | None] = [None] * len(merged)
        coast = self.config.coast_frames
        live = [track for track in self._tracks if track.missed <= coast]
        memory = [track for track in self._tracks if track.missed > coast]
        for level in (live, memory):
            rows = np.array([index for index, track in enumerate(owner) if track is None], dtype=np.int64)
            columns = associate(self._candidates(merged, rows, level), self.config.association)
            for row, column in zip(rows, columns, strict=True):
                if column >= 0:
                    owner[row] = level[column]
        return owner

    def _candidates(self, merged: Merged, rows: NDArray[np.int64], tracks: list[Track]) -> Candidates:
        if not tracks or not len(rows):
            empty = np.zeros((len(rows), len(tracks)))
            return Candidates(empty, empty, empty, empty.astype(bool), np.zeros(len(rows)))
        embeddings = np.stack([track.embedding for track in tracks])
        classes = np.array([track.class_id for track in tracks])
        predicted = np.stack([track.predicted_box() for track in tracks])
        iou, proximity = box_overlap(merged.boxes[rows].astype(np.float64), predicted)
        return Candidates(
            similarity=merged.embeddings[rows].astype(np.float64) @ embeddings.T,
            iou=np.maximum(iou, self._mask_iou(merged, rows, tracks)),
            proximity=proximity,
            same_class=merged.class_ids[rows][:, None] == classes[None, :],
            scores=merged.scores[rows].astype(np.float64),
        )

    def _mask_iou(self, merged: Merged, rows: NDArray[np.int64], tracks: list[Track]) -> NDArray[np.float64]:
        """IoU of the visible masks with those of the previous frame; 0 for tracks that it did not show."""
        iou = np.zeros((len(rows), len(tracks)))
        previous = self._previous
        seen = [column for column, track in enumerate(tracks) if track.missed == 0]
        if previous is not None and seen and previous.labels.shape == merged.labels.shape:
            shared = label_overlaps_px(
                merged.labels, previous.labels, merged.first_thing_label, len(merged), len(previous)
            )
            mask_iou = iou_from_overlaps(shared, merged.areas_px, previous.areas_px)
            iou[:, seen] = mask_iou[rows][:, [tracks[column].row for column in seen]]
        return iou

    def _born(self, merged: Merged, index: int) -> Track:
        if len(self._tracks) >= self.config.max_tracks:
            self._bury_longest_unseen()
        track = Track(
            track_id=self._next_track_id,
            segment_id=self._segment_ids.take(),
            embedding=merged.embeddings[index].astype(np.float64),
            box=merged.boxes[index].astype(np.float64),
        )
        track.observe(merged, index, self.config.embedding_update)
        self._next_track_id += 1
        self._tracks.append(track)
        return track

    def _bury(self) -> None:
        kept = []
        for track in self._tracks:
            if track.missed > self.config.memory_frames:
                self._segment_ids.give_back(track.segment_id)
            else:
                kept.append(track)
        self._tracks = kept

    def _bury_longest_unseen(self) -> None:
        # There is always one: a frame holds fewer things than max_tracks.
        track = max(self._tracks, key=lambda candidate: (candidate.missed, -candidate.track_id))
        self._segment_ids.give_back(track.segment_id)
        self._tracks.remove(track)

    def _absent(self, track: Track) -> AbsentTrack:
        state = SegmentState.COASTED if track.missed <= self.config.coast_frames else SegmentState.LOST
        return AbsentTrack(track.segment_id, track.track_id, track.class_id, state, track.age, track.score)


def _row(track: Track) -> Tracked:
    state = SegmentState.NEW if track.age == 0 else SegmentState.TRACKED
    return Tracked(track.segment_id, track.track_id, track.class_id, state, track.age)
