"""Readers of label layouts. A reader lists the sequences below a root and reads (raw class, object id) of a frame."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from videocups.evaluate.datasets import patterns
from videocups.evaluate.datasets.codings import CODINGS, VOID_RAW, Maps, coco_maps, read_png
from videocups.evaluate.datasets.panoptic_json import checked_rows, is_panoptic, read_json
from videocups.evaluate.datasets.rle import decode_mask
from videocups.evaluate.datasets.types import Frame, Sequence


class Reader(Protocol):
    """One layout of one dataset at one place."""

    def sequences(self) -> list[Sequence]:
        """Return what is there; empty where the layout does not fit."""
        ...

    def read(self, frame: Frame) -> Maps:
        """Return (H, W) raw classes, VOID_RAW where the coding says void, and (H, W) object ids."""
        ...


@dataclass(frozen=True)
class IdPngReader:
    """One label image a frame; ``coding`` says how its pixels hold class and id."""

    root: Path
    layout: Mapping[str, Any]
    split: str

    def sequences(self) -> list[Sequence]:
        """List the label images."""
        return _grouped([((path,), parts) for path, parts in _found(self, "truth")], self.layout)

    def read(self, frame: Frame) -> Maps:
        """Decode the label image."""
        return CODINGS[self.layout["coding"]](frame.files[0])


@dataclass(frozen=True)
class ClassAndIdPngReader:
    """Two images a frame: an 8- or 16-bit class image and an object id image of the same size."""

    root: Path
    layout: Mapping[str, Any]
    split: str

    def sequences(self) -> list[Sequence]:
        """List the class images; each needs its id image."""
        pairs: list[tuple[tuple[Path, ...], dict[str, str]]] = []
        for path, parts in _found(self, "class"):
            ids = self.root / patterns.fill(self.layout["id"], parts)
            if not ids.is_file():
                raise FileNotFoundError(f"{path} has no id image; expected {ids}")
            pairs.append(((path, ids), parts))
        return _grouped(pairs, self.layout)

    def read(self, frame: Frame) -> Maps:
        """Read both images."""
        raw_class, ids = (read_png(path, 1).astype(np.int32) for path in frame.files)
        if raw_class.shape != ids.shape:
            raise ValueError(f"{frame.files[0]} and {frame.files[1]} differ in size: {raw_class.shape}, {ids.shape}")
        return raw_class, ids


@dataclass(frozen=True)
class CocoPanopticReader:
    """COCO-panoptic: one JSON with a segment table a frame, and RGB images of segment ids."""

    root: Path
    layout: Mapping[str, Any]
    split: str

    def sequences(self) -> list[Sequence]:
        """List the annotations; ``id`` of the layout says how an image id splits into sequence and frame."""
        path = self.root / patterns.fill(self.layout["json"], {"split": self.split})
        if not path.is_file():
            return []
        content = read_json(path)
        if not is_panoptic(content):
            raise ValueError(f"{path} is no panoptic JSON: it has no 'annotations' with 'segments_info'")
        by_sequence: dict[str, list[Frame]] = defaultdict(list)
        for place, row in enumerate(checked_rows(content, path)):
            if not {"image_id", "file_name"} <= row.keys():
                raise ValueError(f"{path}: annotation {place} needs 'image_id' and 'file_name'; write the file anew")
            parts = {"split": self.split, "frame": str(row["image_id"]), **self._id_parts(str(row["image_id"]))}
            file = self._png(str(row["file_name"]))
            name = parts["frame"]
            frame = Frame(name, _index(name, self.layout), (file,), parts, tuple(row["segments_info"]))
            by_sequence[parts.get("sequence", name)].append(frame)
        context = self._context()
        return [_sequence(key, frames, context.get(key, [])) for key, frames in sorted(by_sequence.items())]

    def read(self, frame: Frame) -> Maps:
        """Decode the segment image with the frame's table."""
        return coco_maps(frame.files[0], frame.segments, frame.name)

    def _id_parts(self, image_id: str) -> dict[str, str]:
        if "id" not in self.layout:
            return {}
        match = re.fullmatch(patterns.to_regex(self.layout["id"]), image_id)
        if not match:
            raise ValueError(f"image id {image_id!r} does not have the form {self.layout['id']}")
        return match.groupdict()

    def _png(self, file_name: str) -> Path:
        folders = self.layout["png"] if isinstance(self.layout["png"], list) else [self.layout["png"]]
        paths = [self.root / patterns.fill(folder, {"split": self.split}) / file_name for folder in folders]
        return next((path for path in paths if path.is_file()), paths[0])

    def _context(self) -> dict[str, list[str]]:
        """Names of all frames of a video, labeled or not, where the dataset ships their images."""
        names: dict[str, list[str]] = defaultdict(list)
        if "context" in self.layout:
            for _, parts in _found(self, "context"):
                names[self._id_parts(parts["frame"])["sequence"]].append(parts["frame"])
        return names


@dataclass(frozen=True)
class MotsTextReader:
    """MOTS text: one file a sequence, one line an object: frame, id, class, height, width, run-length mask."""

    root: Path
    layout: Mapping[str, Any]
    split: str

    def sequences(self) -> list[Sequence]:
        """List the frames that have at least one line; the text format knows no others."""
        found = []
        for path, parts in _found(self, "truth"):
            key = patterns.fill(self.layout.get("sequence", "{sequence}"), parts)
            lines = _mots_lines(path)
            if not lines:
                raise ValueError(f"{path} lists no object, so none of its frames is known; download it again")
            names = [f"{number:06d}" for number in lines]
            frames = [
                Frame(name, _index(name, self.layout), (path,), {**parts, "frame": name, "sequence": key})
                for name in names
            ]
            found.append(_sequence(key, frames, []))
        return sorted(found, key=lambda sequence: sequence.key)

    def read(self, frame: Frame) -> Maps:
        """Paint the objects of the frame; nothing may overlap."""
        rows = _mots_lines(frame.files[0])[int(frame.name)]
        height, width = int(rows[0][2]), int(rows[0][3])
        pixels = np.zeros((height, width), dtype=np.int32)
        for object_id, _, row_height, row_width, text in rows:
            mask = decode_mask(text, int(row_height), int(row_width))
            if mask.shape != pixels.shape or (pixels[mask] != 0).any():
                raise ValueError(f"{frame.files[0]}: objects of frame {frame.name} overlap or differ in size")
            pixels[mask] = int(object_id)
        return pixels // 1000, np.where((pixels >= 1000), pixels % 1000 + 1, 0)


READERS: dict[str, Callable[[Path, Mapping[str, Any], str], Reader]] = {
    "id_png": IdPngReader,
    "class_and_id_png": ClassAndIdPngReader,
    "coco_panoptic": CocoPanopticReader,
    "mots_txt": MotsTextReader,
}


@lru_cache(maxsize=4)
def _mots_lines(path: Path) -> dict[int, list[list[str]]]:
    frames: dict[int, list[list[str]]] = defaultdict(list)
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        words = line.split(" ", 5)
        if len(words) != 6 or not all(word.isdecimal() for word in words[:5]):
            raise ValueError(
                f"{path}:{number} is no object; expected the fields 'frame id class height width rle', five of them "
                f"whole numbers, got {line[:60]!r}"
            )
        frames[int(words[0])].append(words[1:])
    return dict(sorted(frames.items()))


def _found(reader: Any, option: str) -> list[tuple[Path, dict[str, str]]]:
    known = {"split": reader.split, "root": reader.root.resolve().name}
    return patterns.find(reader.root, reader.layout[option], known)


def _grouped(files: list[tuple[tuple[Path, ...], dict[str, str]]], layout: Mapping[str, Any]) -> list[Sequence]:
    """Group frames by sequence: the path's {sequence}, what ``sequence`` of the layout says, or each frame its own."""
    by_sequence: dict[str, list[Frame]] = defaultdict(list)
    for paths, parts in files:
        name = parts["frame"]
        frame = Frame(name, _index(name, layout), paths, parts)
        named = patterns.fill(layout["sequence"], parts) if "sequence" in layout else parts.get("sequence", name)
        by_sequence[named].append(frame)
    return [_sequence(key, frames, []) for key, frames in sorted(by_sequence.items())]


def _index(name: str, layout: Mapping[str, Any]) -> int | None:
    """Return the frame's place in the recording: ``index`` of the layout, or its number less ``first_frame``."""
    if "index" in layout:
        return int(layout["index"])
    return int(name) - int(layout.get("first_frame", 0)) if name.isdecimal() else None


def _sequence(key: str, frames: list[Frame], context: list[str]) -> Sequence:
    """Put frames in time order; with the whole recording known, number them by their place in it."""
    ordered = sorted(frames, key=lambda frame: (frame.index if frame.index is not None else -1, frame.name))
    names = sorted({*context, *(frame.name for frame in ordered)})
    if context:
        place = {name: index for index, name in enumerate(names)}
        ordered = [Frame(f.name, place[f.name], f.files, f.parts, f.segments) for f in ordered]
    return Sequence(key, tuple(ordered), frozenset(names) - {frame.name for frame in ordered})


__all__ = ["READERS", "VOID_RAW", "Reader"]
