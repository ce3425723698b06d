"""Predictions on disk: panoptic clips, COCO-panoptic (PNG + JSON) or STEP PNGs, told apart by what is there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from videocups.evaluate.datasets import Frame, Sequence
from videocups.evaluate.datasets.clip_truth import open_panoptic_clip, panoptic_clip_folders
from videocups.evaluate.datasets.codings import VOID_RAW, coco_maps, step
from videocups.evaluate.datasets.panoptic_json import checked_rows, is_panoptic, read_json, told_classes
from videocups_core.types import VOID_CLASS, ClassInfo

Maps = tuple[NDArray[np.int32], NDArray[np.uint64]]
FORMATS = ("auto", "clip", "coco", "step")
_EXPECTED = """expected one of
  clip   DIR/<sequence>/panoptic/segments.json and 000000.png …
  coco   DIR/<any>.json with 'annotations' and 'segments_info', and its PNGs in DIR or a folder below
  step   DIR/<sequence>/<frame>.png, or DIR/<frame>.png for images: 8-bit RGB, R = class, G * 256 + B = id"""


class Predictions(Protocol):
    """A folder of predictions. Classes are pseudo-classes unless the evaluation maps them by identity."""

    @property
    def format(self) -> str:
        """Return one of FORMATS, without auto."""
        ...

    @property
    def classes(self) -> tuple[ClassInfo, ...] | None:
        """Return what the predictions say about their classes; None where the format cannot."""
        ...

    @property
    def kinds_told(self) -> bool:
        """Return whether ``classes`` says which of them are things."""
        ...

    def locate(self, sequence: Sequence, frame: Frame) -> Any:
        """Return where the frame's prediction is, for ``read``; None if it is missing."""
        ...

    def count(self) -> int:
        """Return the number of predicted frames."""
        ...

    def lean(self) -> Predictions:
        """Return what ``read`` needs and no more, to be sent to another process."""
        ...

    def read(self, place: Any) -> Maps:
        """Return (H, W) classes, VOID_CLASS = void, and (H, W) ids; one id is one object, whatever its class."""
        ...


@dataclass(frozen=True)
class ClipPredictions:
    """Panoptic clips; a clip is found by its folder name, a frame by its place in the recording."""

    root: Path
    folders: tuple[Path, ...]
    only_sequence: bool
    kinds_told: bool = True
    format: str = "clip"

    @property
    def classes(self) -> tuple[ClassInfo, ...] | None:
        """Return the classes of the first clip; the others must have the same."""
        first = open_panoptic_clip(self.folders[0]).classes
        for folder in self.folders[1:]:
            if open_panoptic_clip(folder).classes != first:
                raise ValueError(f"clips {self.folders[0]} and {folder} were predicted with different classes")
        return first

    def locate(self, sequence: Sequence, frame: Frame) -> tuple[Path, int] | None:
        """Find the clip and the frame's place in it."""
        folder = self._folder(sequence)
        if folder is None:
            return None
        length = len(open_panoptic_clip(folder))
        place = 0 if length == 1 and len(sequence.frames) == 1 else frame.index
        if place is None:
            if length != len(sequence.frames):
                raise ValueError(
                    f"clip {folder} has {length} frames and the truth {len(sequence.frames)} labeled ones, and the "
                    "dataset does not tell where these lie; put its images beside the labels, or predict in COCO format"
                )
            place = sequence.frames.index(frame)
        return (folder, place) if 0 <= place < length else None

    def count(self) -> int:
        """Return the number of frames in all clips."""
        return sum(len(open_panoptic_clip(folder)) for folder in self.folders)

    def lean(self) -> Predictions:
        """Return itself: it is small."""
        return self

    def read(self, place: tuple[Path, int]) -> Maps:
        """Read one frame of a clip."""
        frame = open_panoptic_clip(place[0]).frame(place[1])
        return frame.class_map().astype(np.int32), frame.track_map()

    def _folder(self, sequence: Sequence) -> Path | None:
        if self.only_sequence and self.folders == (self.root,):
            return self.root  # it was named itself, so no name has to fit
        names = {sequence.key, sequence.key.replace("/", "_")}
        fitting = [folder for folder in self.folders if folder.relative_to(self.root).as_posix() in names]
        fitting = fitting or [folder for folder in self.folders if folder.name in names]
        if len(fitting) > 1:
            named = " and ".join(map(str, fitting[:2]))
            raise ValueError(f"{named} may both be the prediction of {sequence.key}; give the folder of one of them")
        return fitting[0] if fitting else None


@dataclass(frozen=True)
class CocoPredictions:
    """One JSON with a segment table a frame; frames are found by image id or file name."""

    root: Path
    rows: Mapping[str, Mapping[str, Any]]
    folders: tuple[Path, ...]
    classes: tuple[ClassInfo, ...] | None
    kinds_told: bool
    shared_names: frozenset[str]
    format: str = "coco"

    def locate(self, sequence: Sequence, frame: Frame) -> tuple[Path, tuple[Any, ...], str] | None:
        """Find the frame's row and its PNG."""
        row = next((self.rows[n] for n in _names(sequence, frame, self.shared_names) if n in self.rows), None)
        if row is None:
            return None
        file_name = str(row.get("file_name", f"{frame.name}.png"))
        path = next((folder / file_name for folder in self.folders if (folder / file_name).is_file()), None)
        return None if path is None else (path, tuple(row["segments_info"]), frame.name)

    def count(self) -> int:
        """Return the number of annotations."""
        return len({id(row) for row in self.rows.values()})

    def lean(self) -> Predictions:
        """Return a copy without the table of frames."""
        return replace(self, rows={}, shared_names=frozenset())

    def read(self, place: tuple[Path, tuple[Any, ...], str]) -> Maps:
        """Read a segment image and look its segments up."""
        path, segments, name = place
        raw, ids = coco_maps(path, [{**row, "iscrowd": 0} for row in segments], name)
        return np.where(raw == VOID_RAW, VOID_CLASS, raw).astype(np.int32), ids.astype(np.uint64)


@dataclass(frozen=True)
class StepPredictions:
    """STEP PNGs, found by sequence and frame name."""

    root: Path
    files: Mapping[str, Path]
    shared_names: frozenset[str]
    classes: tuple[ClassInfo, ...] | None = None
    kinds_told: bool = False
    format: str = "step"

    def locate(self, sequence: Sequence, frame: Frame) -> Path | None:
        """Find the frame's PNG."""
        return next((self.files[n] for n in _names(sequence, frame, self.shared_names) if n in self.files), None)

    def count(self) -> int:
        """Return the number of PNGs."""
        return len(set(self.files.values()))

    def lean(self) -> Predictions:
        """Return a copy without the index of files."""
        return replace(self, files={}, shared_names=frozenset())

    def read(self, place: Path) -> Maps:
        """Decode a PNG. The same number in two classes is two objects, so the class goes into the id."""
        raw, ids = step(place)
        object_ids = np.where(ids > 0, raw.astype(np.uint64) << np.uint64(32) | ids.astype(np.uint64), 0)
        return raw.astype(np.int32), object_ids.astype(np.uint64)


def open_predictions(root: Path | str, sequences: list[Sequence], kind: str = "auto") -> Predictions:
    """Open a folder of predictions for these sequences; ``kind`` is one of FORMATS."""
    if kind not in FORMATS:
        raise ValueError(f"prediction format must be one of {', '.join(FORMATS)}, got {kind!r}")
    folder = Path(root)
    if not folder.exists():
        raise FileNotFoundError(f"predictions {folder} do not exist")
    counts = Counter(frame.name for sequence in sequences for frame in sequence.frames)
    shared = frozenset(name for name, count in counts.items() if count > 1)
    if kind in ("auto", "clip") and (clips := panoptic_clip_folders(folder)):
        return ClipPredictions(folder, tuple(clips), only_sequence=len(sequences) == 1)
    if kind in ("auto", "coco") and (found := _coco_json(folder)):
        return _open_coco(folder, *found, shared)
    if kind == "auto" and (other := _json_files(folder)):
        raise ValueError(
            f"{other[0]} is no panoptic JSON ('annotations' with 'segments_info'), so the PNGs beside it may be of any "
            "format; correct it, or pass --format step"
        )
    if kind in ("auto", "step") and (files := _step_files(folder)):
        return StepPredictions(folder, files, shared)
    wanted = "predictions" if kind == "auto" else f"{kind} predictions"
    raise ValueError(f"{folder} holds no {wanted}; {_EXPECTED}")


def _names(sequence: Sequence, frame: Frame, shared: frozenset[str]) -> Iterable[str]:
    """Names a frame may go by; its bare name only where no other sequence has a frame called so."""
    qualified = [f"{sequence.key}/{frame.name}", f"{sequence.key}_{frame.name}"]
    return qualified if frame.name in shared else [frame.name, *qualified]


def _coco_json(folder: Path) -> tuple[Path, dict[str, Any]] | None:
    found = [(path, content) for path in _json_files(folder) if is_panoptic(content := read_json(path))]
    if len(found) > 1:
        names = ", ".join(path.name for path, _ in found)
        raise ValueError(f"{folder} holds several panoptic JSONs ({names}); give one of them as --prediction")
    return found[0] if found else None


def _json_files(folder: Path) -> list[Path]:
    return [folder] if folder.suffix == ".json" else sorted(folder.glob("*.json"))


def _open_coco(root: Path, path: Path, content: dict[str, Any], shared: frozenset[str]) -> CocoPredictions:
    rows: dict[str, Mapping[str, Any]] = {}
    for row in checked_rows(content, path):
        file_stem = Path(str(row["file_name"])).with_suffix("").as_posix() if "file_name" in row else ""
        for name in filter(None, (str(row.get("image_id", "")), file_stem)):
            rows.setdefault(name, row)
    base = path.parent
    folders = [base / path.stem, base, *sorted(entry for entry in base.iterdir() if entry.is_dir())]
    return CocoPredictions(root, rows, tuple(folders), *told_classes(content, path), shared)


def _step_files(folder: Path) -> dict[str, Path]:
    """Index PNGs by ``frame`` and by ``sequence/frame``; deeper folders keep their last two names."""
    files: dict[str, Path] = {}
    for path in sorted(folder.rglob("*.png")):
        relative = path.relative_to(folder).with_suffix("")
        for name in {relative.as_posix(), relative.name, "/".join(relative.parts[-2:])}:
            files.setdefault(name, path)
    return files
