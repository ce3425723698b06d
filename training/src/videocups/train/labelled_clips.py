"""Clips with their labels as training data: every pair of consecutive frames whose labels can be trusted.

Labels are panoptic clips beside the frames (pseudo-labels, predictions, human labels) or the class and track images of
rendered and labelled clips ("truth").
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from videocups.evaluate.datasets.clip_truth import truth_classes
from videocups.model.classes import ClassTable
from videocups.train.pair import FrameLabels, frame_labels
from videocups.train.panoptic_config import PairConfig
from videocups.train.resizing import resized, resized_ids
from videocups_core.clip import CLIP_FILE, Clip
from videocups_core.panoptic.frames import panoptic_from_maps
from videocups_core.panoptic.storage import TABLE_FILE, PanopticClip
from videocups_core.types import ClassInfo, PanopticFrame

TRUTH = "truth"
LEFT_OUT_FILE = "left_out.json"


class ClipLabels(Protocol):
    """The labels of one clip."""

    @property
    def classes(self) -> tuple[ClassInfo, ...]:
        """Return the class table."""
        ...

    def __len__(self) -> int: ...

    def frame(self, index: int) -> PanopticFrame:
        """Read the labels of a frame."""
        ...

    def objects(self, index: int) -> int:
        """Return how many objects a frame has, without decoding it where that can be."""
        ...

    def digest(self) -> str:
        """Return what changes where the labels do."""
        ...


class PanopticLabels:
    """Labels of a panoptic clip; the frames that the pipeline left out have none."""

    def __init__(self, folder: Path, kind: str) -> None:
        self._clip = PanopticClip(folder, kind=kind)
        if not self._clip.complete:
            raise ValueError(f"{self._clip.folder} is not finished; go on with what wrote it before training on it")
        self.classes = self._clip.classes

    def __len__(self) -> int:
        return len(self._clip)

    def frame(self, index: int) -> PanopticFrame:
        """Read the labels of a frame."""
        return self._clip.frame(index)

    def objects(self, index: int) -> int:
        """Count the rows of a frame."""
        return sum(row.is_thing and not row.ignore and row.area_px > 0 for row in self._clip.segments(index))

    def digest(self) -> str:
        """Return the digest of the table of all segments, with their areas and boxes."""
        return _digest((self._clip.folder / TABLE_FILE).read_bytes())


class TruthLabels:
    """Class and track images under ``truth``; ``merge`` lets a class count as another, by name."""

    def __init__(self, clip: Clip, merge: dict[str, str]) -> None:
        self._clip = clip
        known = truth_classes(clip.folder)
        id_of = {info.name: info.class_id for info in known}
        strange = {*merge.keys(), *merge.values()} - set(id_of)
        if strange:
            raise ValueError(f"data.merge names {sorted(strange)}, which {clip.folder} lacks; it has {sorted(id_of)}")
        self.classes = tuple(info for info in known if info.name not in merge)
        self._table = np.arange(256, dtype=np.uint8)
        for name, target in merge.items():
            self._table[id_of[name]] = id_of[target]
        self._is_thing = np.zeros(256, bool)
        self._is_thing[[info.class_id for info in self.classes if info.is_thing]] = True

    def __len__(self) -> int:
        return len(self._clip)

    def frame(self, index: int) -> PanopticFrame:
        """Read the labels of a frame; ids on stuff are no objects."""
        classes = self._table[_grey_png(self._clip.path(f"{TRUTH}/class", index, ".png"))]
        tracks = np.where(self._is_thing[classes], _grey_png(self._clip.path(f"{TRUTH}/track", index, ".png")), 0)
        return panoptic_from_maps(classes.astype(np.uint8), tracks, self.classes, self._clip.info.stamps_ns[index])

    def objects(self, index: int) -> int:
        """Count the tracks of a frame."""
        return sum(row.is_thing and not row.ignore for row in self.frame(index).segments)

    def digest(self) -> str:
        """Return the digest of the classes: truth is not made twice."""
        return _digest(repr(self.classes).encode())


class NoLabels:
    """The labels of a clip that has none: nothing is known of any pixel, and every frame may be looked at."""

    def __init__(self, clip: Clip, table: ClassTable) -> None:
        self._clip = clip
        self.classes = (*table.stuff, *table.things)

    def __len__(self) -> int:
        return len(self._clip)

    def frame(self, index: int) -> PanopticFrame:
        """Return a frame that is void."""
        info = self._clip.info
        return PanopticFrame(info.stamps_ns[index], np.zeros((info.height, info.width), np.uint16), ())

    def objects(self, index: int) -> int:
        """Return 0."""
        return 0

    def digest(self) -> str:
        """Return the same for all clips."""
        return ""


class LabelledFrames:
    """Frames and labels of some clips, at the size training needs them, remembered after the first look.

    With a ``table`` of classes the clips' own labels are not looked at: nothing is known of any pixel.
    """

    def __init__(
        self, folders: Sequence[Path], config: PairConfig, *, working_height: int, table: ClassTable | None = None
    ) -> None:
        self.config = config if table is None else replace(config, min_objects=0)
        self.clips = [Clip(folder) for folder in folders]
        self.labels: list[ClipLabels] = [
            _open_labels(clip, config) if table is None else NoLabels(clip, table) for clip in self.clips
        ]
        self.table = table or _one_table(self.clips, self.labels)
        self._working_height = working_height
        self._kept: dict[tuple[int, int], tuple[NDArray[np.uint8], FrameLabels]] = {}
        self._kept_bytes = 0

    def digest(self) -> str:
        """Return what changes with the clips, their order or their labels, wherever they lie."""
        tables = [(clip.folder / CLIP_FILE).read_bytes() for clip in self.clips]
        found = [_digest(table) + labels.digest() for table, labels in zip(tables, self.labels, strict=True)]
        return _digest(" ".join(found).encode())

    def frame(self, at: int, index: int) -> tuple[NDArray[np.uint8], FrameLabels]:
        """Return image (H, W, 3) and labels of frame ``index`` of clip ``at``."""
        key = (at, index)
        if key not in self._kept:
            entry = self._read(at, index)
            size = entry[0].nbytes + entry[1].semantic.nbytes + entry[1].objects.nbytes
            if self._kept_bytes + size > self.config.cache_mib * 2**20:
                return entry
            self._kept[key] = entry
            self._kept_bytes += size
        return self._kept[key]

    def _read(self, at: int, index: int) -> tuple[NDArray[np.uint8], FrameLabels]:
        image = self.clips[at].frame_rgb(index)
        labels = frame_labels(self.labels[at].frame(index), self.table, unknown_things=self.config.unknown_things)
        if labels.semantic.shape != image.shape[:2]:
            raise ValueError(
                f"frame {index} of {self.clips[at].folder} is {image.shape[1]}×{image.shape[0]} px but its labels are "
                f"{labels.semantic.shape[1]}×{labels.semantic.shape[0]}; label the clip again"
            )
        height = min(self._working_height, image.shape[0])
        size = (round(image.shape[1] * height / image.shape[0]), height)
        return resized(image, size), FrameLabels(
            resized_ids(labels.semantic, size), resized_ids(labels.objects, size), labels.tracks, labels.classes
        )


class PairIndex:
    """Which pairs there are: (clip, first frame)."""

    def __init__(self, frames: LabelledFrames) -> None:
        gap, wanted = frames.config.gap, frames.config.min_objects
        self.gap = gap
        self.clips = frames.clips
        self.pairs: list[tuple[int, int]] = []
        self.left_out = 0
        for at, (clip, labels) in enumerate(zip(frames.clips, frames.labels, strict=True)):
            unusable = set() if isinstance(labels, NoLabels) else _unusable_frames(clip)
            enough = [wanted == 0 or labels.objects(index) >= wanted for index in range(len(labels))]
            for first in range(len(clip) - gap):
                pair = (first, first + gap)
                if unusable & set(pair) or not any(enough[index] for index in pair):
                    self.left_out += 1
                else:
                    self.pairs.append((at, first))
        if not self.pairs:
            raise ValueError(
                f"none of {self.left_out} pairs of frames in {len(frames.clips)} clips can be trained on: their labels "
                f"failed or hold fewer than {wanted} objects; look at one with 'videocups inspect', or lower "
                "data.min_objects"
            )

    def __len__(self) -> int:
        return len(self.pairs)


def _open_labels(clip: Clip, config: PairConfig) -> ClipLabels:
    true = config.labels == TRUTH
    if not true and not (clip.folder / config.labels).is_dir() and (clip.folder / TRUTH).is_dir():
        raise ValueError(
            f"{clip.folder} has no labels in {config.labels}/ but the truth of a rendered or labelled clip; learn from "
            f"it with --set data.labels={TRUTH}, or make labels with 'videocups label'"
        )
    labels = TruthLabels(clip, config.merge) if true else PanopticLabels(clip.folder, config.labels)
    if len(labels) != len(clip):
        raise ValueError(
            f"{clip.folder} has {len(clip)} frames but {len(labels)} labels in {config.labels}/; finish the labelling"
        )
    return labels


def _one_table(clips: Sequence[Clip], labels: Sequence[ClipLabels]) -> ClassTable:
    if not clips:
        raise ValueError("training needs clips, got none")
    for clip, found in zip(clips, labels, strict=True):
        if found.classes != labels[0].classes:
            raise ValueError(
                f"{clips[0].folder} and {clip.folder} were labelled with different classes; "
                "label all clips in one run of 'videocups label'"
            )
    return ClassTable.of(labels[0].classes)


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def _unusable_frames(clip: Clip) -> set[int]:
    """Return the frames without classes; one without tracks still teaches stuff, its things are ignored already."""
    path = clip.folder / LEFT_OUT_FILE
    if not path.is_file():
        return set()
    return {int(index) for index in json.loads(path.read_text(encoding="utf-8"))["without_classes"]}


def _grey_png(path: Path) -> NDArray[np.integer]:
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if image is None or image.ndim != 2:
        raise FileNotFoundError(f"cannot read the label image {path}; it is missing, damaged or has colours")
    return np.asarray(image, dtype=image.dtype)
