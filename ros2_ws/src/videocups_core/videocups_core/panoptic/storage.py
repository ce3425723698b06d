"""A panoptic clip on disk: what labels, predictions and rendered truth are written to and read from.

clip/panoptic/
  000000.png …     16-bit segment ids, 0 = void
  segments.json    {schema_version, classes, frames: [{stamp_ns, …, segments: [row, …]}, …]}, when complete
  segments.jsonl   the same while it is being written: a header line, then one line a frame

A killed writer leaves ``segments.jsonl``: its whole lines are a readable prefix of the clip.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from videocups_core.clip import frame_name, write_atomically
from videocups_core.labels import classes_from_json, classes_to_json
from videocups_core.panoptic.codecs import CodecError, ids_to_png, png_to_ids
from videocups_core.panoptic.frames import check_frame, panoptic_from_maps
from videocups_core.types import ClassInfo, PanopticFrame, Segment, SegmentState

__all__ = ["PanopticClip", "PanopticClipError", "PanopticClipWriter", "panoptic_from_maps"]

KIND = "panoptic"
TABLE_FILE = "segments.json"
JOURNAL_FILE = "segments.jsonl"
SCHEMA_VERSION = 1


class PanopticClipError(ValueError):
    """A panoptic clip that is missing, damaged or contradicts itself."""


class PanopticClipWriter:
    """Append frames to ``folder``/``kind``; use it as a context manager.

    Leaving the context without an exception (or calling ``close``) completes the clip; leaving it with one
    keeps the frames written so far as an incomplete clip.
    """

    def __init__(
        self, folder: Path | str, classes: Sequence[ClassInfo], *, kind: str = KIND, overwrite: bool = False
    ) -> None:
        self.folder = Path(folder) / kind
        if not overwrite and any((self.folder / name).exists() for name in (TABLE_FILE, JOURNAL_FILE)):
            raise FileExistsError(f"{self.folder} already holds a panoptic clip; remove it or pass overwrite=True")
        self._class_ids = {info.class_id for info in classes}
        header = {"schema_version": SCHEMA_VERSION, "classes": classes_to_json(classes)}
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / TABLE_FILE).unlink(missing_ok=True)
        (self.folder / JOURNAL_FILE).unlink(missing_ok=True)
        for stale in self.folder.glob("[0-9]*.png"):
            stale.unlink()
        self._journal = (self.folder / JOURNAL_FILE).open("w", encoding="utf-8")
        self._count = 0
        self._write_line(header)

    def __len__(self) -> int:
        return self._count

    def append(self, frame: PanopticFrame) -> None:
        """Write the next frame: its image first, then its row, so that a row always has its image."""
        if self._journal.closed:
            raise PanopticClipError(f"{self.folder} is closed; open a new writer")
        check_frame(frame)
        unknown = {segment.class_id for segment in frame.segments} - self._class_ids
        if unknown:
            raise PanopticClipError(f"frame {self._count} has class {min(unknown)}, which the clip's classes lack")
        write_atomically(self.folder / f"{frame_name(self._count)}.png", ids_to_png(frame.segment_ids))
        self._write_line(_frame_to_row(frame))
        self._count += 1

    def close(self) -> None:
        """Complete the clip: turn the journal into ``segments.json``, atomically. A second call does nothing."""
        if self._journal.closed:
            return
        self._journal.close()
        journal = self.folder / JOURNAL_FILE
        header, *rows = journal.read_text(encoding="utf-8").splitlines()
        text = header[:-1] + ', "frames": [\n' + ",\n".join(rows) + "\n]}\n"
        write_atomically(self.folder / TABLE_FILE, text.encode())
        journal.unlink()

    def abort(self) -> None:
        """Stop without completing: what was appended stays readable, marked incomplete."""
        self._journal.close()

    def __enter__(self) -> PanopticClipWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()

    def _write_line(self, content: dict[str, Any]) -> None:
        self._journal.write(json.dumps(content, allow_nan=False) + "\n")
        self._journal.flush()
        os.fsync(self._journal.fileno())


class PanopticClip:
    """A panoptic clip opened for reading: ``len``, ``frame(i)``, iteration, ``classes``.

    ``complete`` is False for the readable prefix of an interrupted writer.
    """

    def __init__(self, folder: Path | str, *, kind: str = KIND) -> None:
        self.folder = Path(folder) / kind
        self.complete = (self.folder / TABLE_FILE).is_file()
        header, self._rows = _read_table(self.folder) if self.complete else _read_journal(self.folder)
        if header.get("schema_version") != SCHEMA_VERSION:
            raise PanopticClipError(
                f"{self.folder} has schema_version {header.get('schema_version')}, this program reads {SCHEMA_VERSION}"
            )
        try:
            self.classes: tuple[ClassInfo, ...] = classes_from_json(header.get("classes"))
        except ValueError as error:
            raise PanopticClipError(f"{self.folder}: {error}") from error

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[PanopticFrame]:
        return (self.frame(index) for index in range(len(self)))

    @property
    def stamps_ns(self) -> tuple[int, ...]:
        """The stamp of every frame."""
        return tuple(int(row["stamp_ns"]) for row in self._rows)

    def segments(self, index: int) -> tuple[Segment, ...]:
        """Return the rows of one frame without reading its image."""
        try:
            return tuple(_segment_from_json(row) for row in self._row(index)["segments"])
        except (ValueError, KeyError, TypeError) as error:
            raise PanopticClipError(f"a row of frame {index} in {self.folder} is damaged: {error}") from error

    def frame(self, index: int) -> PanopticFrame:
        """Read one frame; PanopticClipError where image and rows are damaged or disagree."""
        row = self._row(index)
        path = self.folder / f"{frame_name(index)}.png"
        try:
            segment_ids = png_to_ids(path.read_bytes())
            frame = PanopticFrame(
                int(row["stamp_ns"]),
                segment_ids,
                self.segments(index),
                int(row["frame_index"]),
                int(row["track_epoch"]),
            )
            return check_frame(frame)
        except FileNotFoundError as error:
            raise PanopticClipError(f"{path} is missing though {TABLE_FILE} lists it; write the clip again") from error
        except (CodecError, ValueError, KeyError, TypeError) as error:
            raise PanopticClipError(f"{path} or its rows are damaged: {error}") from error

    def _row(self, index: int) -> dict[str, Any]:
        if not 0 <= index < len(self):
            raise IndexError(f"{self.folder} has {len(self)} frames, frame {index} was asked for")
        return self._rows[index]


def _frame_to_row(frame: PanopticFrame) -> dict[str, Any]:
    return {
        "stamp_ns": int(frame.stamp_ns),
        "frame_index": int(frame.frame_index),
        "track_epoch": int(frame.track_epoch),
        "segments": [_segment_to_json(segment) for segment in frame.segments],
    }


def _segment_to_json(segment: Segment) -> dict[str, Any]:
    return {
        "segment_id": int(segment.segment_id),
        "class_id": int(segment.class_id),
        "is_thing": bool(segment.is_thing),
        "track_id": int(segment.track_id),
        "score": float(segment.score),
        "state": SegmentState(segment.state).name,
        "age": int(segment.age),
        "area_px": int(segment.area_px),
        "bbox_xywh": [int(value) for value in segment.bbox_xywh],
        "ignore": bool(segment.ignore),
    }


def _segment_from_json(row: dict[str, Any]) -> Segment:
    return Segment(**{**row, "state": SegmentState[row["state"]], "bbox_xywh": tuple(row["bbox_xywh"])})


def _read_table(folder: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    try:
        table = json.loads((folder / TABLE_FILE).read_text(encoding="utf-8"))
        return table, [_checked_row(row) for row in table["frames"]]
    except (ValueError, KeyError, TypeError) as error:
        raise PanopticClipError(f"{folder / TABLE_FILE} is damaged ({error!r}); write the clip again") from error


def _read_journal(folder: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Read the whole lines of an interrupted writer's journal; the torn last line is left out."""
    path = folder / JOURNAL_FILE
    if not path.is_file():
        raise PanopticClipError(
            f"{folder} is no panoptic clip: it has neither {TABLE_FILE} nor {JOURNAL_FILE}; "
            "make one with 'videocups label' or 'videocups predict'"
        )
    *lines, torn = path.read_bytes().split(b"\n")
    try:
        header, *rows = [json.loads(line) for line in lines]
        return header, [_checked_row(row) for row in rows]
    except (ValueError, KeyError, TypeError) as error:
        cut = f"; {len(torn)} bytes follow its last whole line" if torn else ""
        raise PanopticClipError(f"{path} is damaged ({error!r}){cut}") from error


def _checked_row(row: dict[str, Any]) -> dict[str, Any]:
    for key in ("stamp_ns", "frame_index", "track_epoch", "segments"):
        if key not in row:
            raise KeyError(key)
    return row
