"""A dataset description brought together with a folder: the truth as the metrics want it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from videocups.evaluate.datasets import patterns
from videocups.evaluate.datasets.clip_truth import PanopticClipReader, classes_of_clips
from videocups.evaluate.datasets.readers import READERS, VOID_RAW, Reader
from videocups.evaluate.datasets.spec import (
    CLASSES_FROM_CLIP,
    DatasetSpec,
    Rules,
    load_classes,
    load_raw_to_class,
    load_spec,
)
from videocups.evaluate.datasets.types import VOID, Frame, LayoutError, Sequence
from videocups.evaluate.datasets.waymo import WaymoParquetReader
from videocups_core.clip import read_rgb
from videocups_core.types import ClassInfo

_READERS = {**READERS, "panoptic_clip": PanopticClipReader, "waymo_parquet": WaymoParquetReader}

_OF_CLIPS = ("clips", "rendered")  # datasets whose sequences are clips of our own
_UNKNOWN = np.iinfo(np.uint16).max


@dataclass(frozen=True)
class TableDataset:
    """A ``Dataset`` made of a description file, a reader and a root folder."""

    name: str
    title: str
    classes: tuple[ClassInfo, ...]
    things: frozenset[int]
    scored: frozenset[int]
    has_video_ids: bool
    vpq_windows: tuple[int, ...]
    root: Path
    reader: Reader
    raw_to_class: dict[int, int]
    class_of_name: dict[str, int]
    strict: bool
    rules: Rules
    images: tuple[str, ...]
    found: tuple[Sequence, ...]

    @property
    def void(self) -> int:
        """Class id of pixels without truth."""
        return VOID

    @property
    def num_classes(self) -> int:
        """Class ids run from 0 to one less than this."""
        return len(self.classes)

    @property
    def class_of_number(self) -> dict[int, int]:
        """Return the label images' own numbers where these are classes, else the dataset's class ids."""
        return self.raw_to_class if self.strict else {info.class_id: info.class_id for info in self.classes}

    def sequences(self) -> list[Sequence]:
        """Return the sequences of the split."""
        return list(self.found)

    def truth(self, sequence: Sequence, frame: Frame) -> tuple[NDArray[np.uint8], NDArray[np.uint32]]:
        """Return the class map and the object ids, after the dataset's rules."""
        raw, ids = self.reader.read(frame)
        class_map = self._classes_of(raw, frame)
        tracked = np.isin(class_map, sorted(self.things))
        object_ids: NDArray[np.uint32] = np.where(tracked, ids, 0).astype(np.uint32)
        if self.rules.min_instance_px:
            _drop_small(class_map, object_ids, self.rules.min_instance_px)
        return self.prepare(class_map), self.prepare(object_ids)

    def prepare(self, labels: NDArray[Any]) -> NDArray[Any]:
        """Apply the dataset's resize rule to a label map; without a rule it stays as it is."""
        return centre_crop(resize_short_side(labels, self.rules.resize_short_side_px), self.rules.centre_crop_px)

    def image(self, sequence: Sequence, frame: Frame) -> NDArray[np.uint8] | None:
        """Return the picture if it lies where the layout has it."""
        path = patterns.first(self.root, list(self.images), {"sequence": sequence.key, **frame.parts})
        return None if path is None else read_rgb(path)

    def _classes_of(self, raw: NDArray[np.int32], frame: Frame) -> NDArray[np.uint8]:
        """Look the raw values up; where they are class ids themselves, a strange one is an error and not void."""
        others = _UNKNOWN if self.strict else VOID
        table = np.full(max(raw.max(initial=0), max(self.raw_to_class), VOID) + 2, others, dtype=np.uint16)
        table[[VOID_RAW + 1, VOID + 1]] = VOID
        for value, class_id in self.raw_to_class.items():
            table[value + 1] = class_id
        classes = table[raw + 1]
        if self.strict and (strange := classes == _UNKNOWN).any():
            raise ValueError(
                f"{frame.files[0]} holds class {raw[strange].min()}, which dataset {self.name} does not have "
                f"(0..{self.num_classes - 1}, void {VOID}); is it in another coding?"
            )
        return classes.astype(np.uint8)


def open_dataset(
    name: str,
    root: Path | str,
    *,
    split: str | None = None,
    sequences: Iterable[str] | None = None,
    things: Iterable[int] | None = None,
) -> TableDataset:
    """Open dataset ``name`` at ``root``; LayoutError shows the expected tree where the folder does not fit.

    ``sequences`` picks some of the split. ``things`` replaces the classes whose objects are tracked.
    """
    spec = load_spec(name)
    split = spec.default_split if split is None else split
    if split not in spec.splits:
        raise ValueError(f"dataset {name} has no split {split!r}; choose one of {', '.join(spec.splits)}")
    layout, reader, found = _first_layout(spec, Path(root), split)
    found = _selected(spec, found, split, sequences)
    classes = _classes(spec, Path(root), found, reader)
    raw_table = load_raw_to_class(layout.get("raw_to_class", spec.raw_to_class))
    strict = raw_table is None
    raw_classes = classes
    classes, merged_table = _merged(classes, spec.merge or {})
    return TableDataset(
        name=name,
        title=spec.title,
        classes=classes,
        things=_things(spec, classes, things),
        scored=frozenset(info.class_id for info in classes) - set(spec.not_scored),
        has_video_ids=spec.has_video_ids,
        vpq_windows=spec.vpq_windows,
        root=Path(root),
        reader=reader,
        raw_to_class=merged_table if raw_table is None else raw_table,
        class_of_name={info.name: merged_table[info.class_id] for info in raw_classes},
        strict=strict,
        rules=spec.rules,
        images=tuple(layout.get("image", ())),
        found=tuple(found),
    )


def resize_short_side(labels: NDArray[Any], short_side_px: int) -> NDArray[Any]:
    """Resize (nearest) so that the shorter side has ``short_side_px``; 0 leaves the map alone."""
    height, width = labels.shape
    if not short_side_px or min(height, width) == short_side_px:
        return labels
    scale = short_side_px / min(height, width)
    return resize_nearest(labels, (round(height * scale), round(width * scale)))


def centre_crop(labels: NDArray[Any], size_px: int) -> NDArray[Any]:
    """Cut a square out of the middle; 0 leaves the map alone."""
    if not size_px:
        return labels
    top, left = (labels.shape[0] - size_px) // 2, (labels.shape[1] - size_px) // 2
    return labels[top : top + size_px, left : left + size_px]


def resize_nearest(labels: NDArray[Any], shape: tuple[int, int]) -> NDArray[Any]:
    """Resize a label map to (H, W), each pixel taking the label under its centre; any integer type."""
    rows = ((np.arange(shape[0]) + 0.5) * labels.shape[0] / shape[0]).astype(np.intp)
    columns = ((np.arange(shape[1]) + 0.5) * labels.shape[1] / shape[1]).astype(np.intp)
    return np.ascontiguousarray(labels[rows[:, None], columns[None, :]])


def _first_layout(spec: DatasetSpec, root: Path, split: str) -> tuple[dict[str, Any], Reader, list[Sequence]]:
    for layout in spec.layouts:
        reader = _READERS[layout["reader"]](root, layout, split)
        if found := reader.sequences():
            return layout, reader, found
    other = _clips_of_other_kind(spec, root) if root.is_dir() else ""
    what = "does not exist" if not root.is_dir() else f"does not hold {spec.title}, split {split!r}{other}"
    raise LayoutError(f"{root} {what}. Expected:\n\n{spec.tree}\nDownload: {spec.download}")


def _clips_of_other_kind(spec: DatasetSpec, root: Path) -> str:
    """Return a hint where someone has the clips but not the right name: labels and truth lie in the same folders."""
    for name in _OF_CLIPS:
        other = load_spec(name)
        if name != spec.name and any(_READERS[at["reader"]](root, at, "all").sequences() for at in other.layouts):
            return f", but what --dataset {name} reads"
    return ""


def _selected(spec: DatasetSpec, found: list[Sequence], split: str, wanted: Iterable[str] | None) -> list[Sequence]:
    listed = spec.splits[split]
    keys = list(wanted) if wanted is not None else (None if listed == "all" else list(listed))
    if keys is None:
        return found
    by_key = {sequence.key: sequence for sequence in found}
    if missing := [key for key in keys if key not in by_key]:
        raise LayoutError(
            f"sequences {', '.join(missing)} of {spec.title}, split {split!r}, are missing; there are "
            f"{', '.join(list(by_key)[:20])}. Pass --sequences to evaluate a part. Expected:\n\n{spec.tree}"
        )
    return [by_key[key] for key in keys]


def _classes(spec: DatasetSpec, root: Path, found: list[Sequence], reader: Reader) -> tuple[ClassInfo, ...]:
    if spec.classes != CLASSES_FROM_CLIP:
        return load_classes(spec.classes)
    folders = [_clip_folder(root, sequence) for sequence in found]
    # a rendered clip may hold pseudo-labels too; their classes are not the truth's
    return classes_of_clips(folders, of_labels=isinstance(reader, PanopticClipReader))


def _clip_folder(root: Path, sequence: Sequence) -> Path:
    named = Path(sequence.frames[0].parts.get("folder", root / sequence.key))
    return named if named.is_dir() else root


def _merged(classes: tuple[ClassInfo, ...], merge: dict[str, str]) -> tuple[tuple[ClassInfo, ...], dict[int, int]]:
    """Drop classes that count as another one and number the rest from 0 without gaps; also return raw id -> class."""
    names = {info.name for info in classes}
    merge = {name: target for name, target in merge.items() if target in names}
    kept = tuple(info for info in classes if info.name not in merge)
    numbered = tuple(replace(info, class_id=index) for index, info in enumerate(kept))
    by_name = {info.name: info.class_id for info in numbered}
    return numbered, {info.class_id: by_name[merge.get(info.name, info.name)] for info in classes}


def _things(spec: DatasetSpec, classes: tuple[ClassInfo, ...], wanted: Iterable[int] | None) -> frozenset[int]:
    known = {info.class_id for info in classes}
    chosen = spec.things if wanted is None else tuple(wanted)
    if chosen is None:
        return frozenset(info.class_id for info in classes if info.is_thing)
    if unknown := sorted(set(chosen) - known):
        raise ValueError(f"things {unknown} are no classes of {spec.name}; choose among {sorted(known)}")
    return frozenset(chosen)


def _drop_small(class_map: NDArray[np.uint8], ids: NDArray[np.uint32], least_px: int) -> None:
    """Make objects void that cover fewer than ``least_px`` px in this frame; an object is a (class, id)."""
    keys = class_map.astype(np.int64) << 32 | ids
    values, inverse, counts = np.unique(keys, return_inverse=True, return_counts=True)
    small = (counts < least_px) & ((values & 0xFFFFFFFF) > 0)
    gone = small[inverse].reshape(ids.shape)
    class_map[gone], ids[gone] = VOID, 0


__all__ = ["TableDataset", "open_dataset", "resize_nearest"]
