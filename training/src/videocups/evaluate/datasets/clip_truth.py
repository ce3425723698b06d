"""Truth that lies in clip folders: panoptic clips, and the class table of rendered clips."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from videocups.evaluate.datasets.codings import VOID_RAW, Maps
from videocups.evaluate.datasets.panoptic_json import read_json
from videocups.evaluate.datasets.types import Frame, LayoutError, Sequence
from videocups_core.labels import read_classes
from videocups_core.palette import class_colors
from videocups_core.panoptic.storage import JOURNAL_FILE, TABLE_FILE, PanopticClip
from videocups_core.types import VOID_CLASS, ClassInfo

DESCRIPTION_FILES = ("clip.json", "truth/truth.json")
"""Where a rendered clip keeps ``classes``, ``thing_classes`` and perhaps ``colors_rgb``."""
CLASS_FILES = ("labels.json", "truth/labels.json")
"""Where else a clip may keep its classes, in the JSON form of ``videocups_core.labels``."""


@dataclass(frozen=True)
class PanopticClipReader:
    """Panoptic clips as truth: a thing marked ``ignore`` is crowd, stuff marked so is void."""

    root: Path
    layout: Mapping[str, Any]
    split: str

    def sequences(self) -> list[Sequence]:
        """List the panoptic clips at or below the root."""
        return [_clip_sequence(self.root, folder) for folder in panoptic_clip_folders(self.root)]

    def read(self, frame: Frame) -> Maps:
        """Read one frame of the panoptic clip."""
        content = open_panoptic_clip(Path(frame.parts["folder"])).frame(int(frame.name))
        raw_class = content.class_map().astype(np.int32)
        raw_class[content.segment_ids == 0] = VOID_RAW
        ids = content.track_map()
        for segment in content.segments:
            if segment.ignore:
                here = content.segment_ids == segment.segment_id
                ids[here] = 0
                raw_class[here] = segment.class_id if segment.is_thing else VOID_RAW
        return raw_class, _small_ids(ids, frame.files[0])


def panoptic_clip_folders(root: Path) -> list[Path]:
    """Return the clip folders at or below ``root`` that hold a panoptic clip, sorted."""
    tables = [path for name in (TABLE_FILE, JOURNAL_FILE) for path in root.glob(f"panoptic/{name}")]
    tables += [path for name in (TABLE_FILE, JOURNAL_FILE) for path in root.rglob(f"*/panoptic/{name}")]
    return sorted({path.parent.parent for path in tables})


@lru_cache(maxsize=64)
def open_panoptic_clip(folder: Path) -> PanopticClip:
    """Open a panoptic clip once; its table is kept."""
    return PanopticClip(folder)


def classes_of_clips(folders: list[Path], *, of_labels: bool) -> tuple[ClassInfo, ...]:
    """Return the class table that all clips share: of their panoptic labels, or of the truth beside their frames."""
    tables = {folder: open_panoptic_clip(folder).classes if of_labels else truth_classes(folder) for folder in folders}
    (first, classes), *others = tables.items()
    for folder, found in others:
        if found != classes:
            raise LayoutError(f"clips {first} and {folder} have different classes; evaluate them one after the other")
    return classes


def truth_classes(folder: Path) -> tuple[ClassInfo, ...]:
    """Return the classes of one clip's truth: of clip.json, of truth.json, or of a labels file."""
    for name in DESCRIPTION_FILES:
        content = read_json(folder / name) if (folder / name).is_file() else {}
        if "classes" in content:
            return _described_classes(content, folder / name)
    for name in CLASS_FILES:
        if (folder / name).is_file():
            return read_classes(folder / name)
    raise LayoutError(f"{folder} does not name its classes; write 'classes' and 'thing_classes' to truth/truth.json")


def _described_classes(content: dict[str, Any], path: Path) -> tuple[ClassInfo, ...]:
    """Read ``classes`` (id -> name), ``thing_classes`` and, if given, ``colors_rgb`` (id -> colour)."""
    listed = content["classes"]
    if not isinstance(listed, dict) or not listed or not all(class_id.isdecimal() for class_id in listed):
        raise LayoutError(f'{path}: \'classes\' must name each class id, such as {{"0": "road"}}; write it so')
    names = {int(class_id): str(name) for class_id, name in listed.items()}
    ids = sorted(class_id for class_id in names if class_id != VOID_CLASS)
    things = {int(class_id) for class_id in content.get("thing_classes", [])}
    if strange := sorted(things - set(ids)):
        raise LayoutError(f"{path}: 'thing_classes' has {strange}, which 'classes' does not list; correct one of them")
    colors = dict(zip(ids, class_colors(len(ids)).tolist(), strict=True))
    colors |= {int(class_id): color for class_id, color in content.get("colors_rgb", {}).items()}
    return tuple(
        ClassInfo(class_id, names[class_id], class_id in things, (color[0], color[1], color[2]))
        for class_id, color in ((class_id, colors[class_id]) for class_id in ids)
    )


def _clip_sequence(root: Path, folder: Path) -> Sequence:
    key = folder.relative_to(root).as_posix() if folder != root else folder.resolve().name
    count = len(open_panoptic_clip(folder))
    parts = {"folder": str(folder), "sequence": key}
    frames = [
        Frame(f"{i:06d}", i, (folder / "panoptic" / f"{i:06d}.png",), {**parts, "frame": f"{i:06d}"})
        for i in range(count)
    ]
    return Sequence(key, tuple(frames))


def _small_ids(ids: np.ndarray[Any, np.dtype[np.uint64]], path: Path) -> np.ndarray[Any, np.dtype[np.int32]]:
    if ids.size and int(ids.max()) > np.iinfo(np.int32).max:
        raise ValueError(f"{path} has track id {int(ids.max())}, but ids of a truth must be below 2**31; number anew")
    return ids.astype(np.int32)
