"""What a worker does: run a stage on a chunk of items, write what comes out, note how each item ended."""

from __future__ import annotations

import sys
import time
import traceback
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2

from videocups.pipeline.formats import decode, encode, size_of
from videocups.pipeline.manifest import FileMark, Row, RowWriter, content_digest, mark_file
from videocups.pipeline.plan import Artefact
from videocups.pipeline.stage import Output, Returned, Stage, Stages
from videocups.pipeline.workspace import Workspace, artefact_name, frame_file, item_name
from videocups_core.clip import Clip, read_rgb, write_atomically
from videocups_core.config import ConfigError

CACHE_BYTES = 192 * 2**20
TRACE_CHARACTERS = 2000
NOT_A_FRAMES_FAULT = (ImportError, MemoryError, ConfigError)
"""these stop the run: another frame would fare no better."""


class ArtefactError(OSError):
    """An artefact of the run itself is not there or cannot be read or written; no frame is to blame."""


class LeaveOut(Exception):  # noqa: N818 - no error: the item has nothing to say, and says so
    """Raised by a stage that can tell nothing of an item: it is left out downstream, with the reason noted."""


@dataclass(frozen=True)
class Task:
    """One item to run. ``missing``: artefacts it does without because they failed."""

    number: int | None
    key: str
    missing: tuple[Artefact, ...] = ()


@dataclass(frozen=True)
class Chunk:
    """Items of one stage in one folder, run in a row by one worker.

    ``outputs`` and ``of_data``: what every kind is and which kinds belong to the whole data set.
    """

    stage: Stage
    place: Path
    tasks: tuple[Task, ...]
    outputs: Mapping[str, Output]
    clips: tuple[Path, ...]
    data: Path
    of_data: frozenset[str]


def new_chunk(stages: Stages, workspace: Workspace, stage: Stage, place: Path, tasks: tuple[Task, ...]) -> Chunk:
    """Return a chunk with what its stage has to know about the others."""
    upstream = stages.upstream(stage)
    outputs = {output.kind: output for other in upstream for output in other.outputs}
    of_data = frozenset(output.kind for other in upstream if other.per == "data" for output in other.outputs)
    clips = workspace.clips if stage.per == "data" else ()
    return Chunk(stage, place, tasks, outputs, clips, workspace.data, of_data)


class Cache:
    """The artefacts a worker read last: neighbours need the same ones. Entries are shared, so arrays are read only."""

    def __init__(self, limit_bytes: int = CACHE_BYTES) -> None:
        self._limit = limit_bytes
        self._entries: OrderedDict[tuple[Path, int, int], tuple[Any, int]] = OrderedDict()
        self._bytes = 0

    def read(self, path: Path, load: Callable[[Path], Any]) -> Any:
        """Return what ``load(path)`` returns, from memory if the file has not changed since."""
        status = path.stat()
        name = (path, status.st_size, status.st_mtime_ns)
        if name in self._entries:
            self._entries.move_to_end(name)
            return self._entries[name][0]
        value = load(path)
        _protect(value)
        self._entries[name] = (value, size_of(value))
        self._bytes += size_of(value)
        while self._bytes > self._limit and len(self._entries) > 1:
            self._bytes -= self._entries.popitem(last=False)[1][1]
        return value


@dataclass(frozen=True)
class Work:
    """What a stage's function gets: its item and the way to read artefacts.

    ``number``: of the frame or pair; None for a whole clip or data set.
    """

    chunk: Chunk
    place: Path
    number: int | None
    missing: frozenset[Artefact]
    cache: Cache
    _clips: dict[Path, Clip] = field(default_factory=dict)

    @property
    def index(self) -> int:
        """The number of the frame or pair; an error for items that have none."""
        if self.number is None:
            raise TypeError(f"stage {self.chunk.stage.name!r} works on whole clips; its items have no number")
        return self.number

    @property
    def clip(self) -> Clip:
        """The clip the item belongs to."""
        if self.place not in self._clips:
            self._clips[self.place] = Clip(self.place)
        return self._clips[self.place]

    def members(self) -> Iterable[Work]:
        """Yield the clips of the data set, for reading."""
        return (Work(self.chunk, clip, None, self.missing, self.cache, self._clips) for clip in self.chunk.clips)

    def numbers(self, kind: str) -> list[int]:
        """Return the frames or pairs of the clip for which ``kind`` is there."""
        return [number for number in range(len(self.clip)) if self.has(kind, number)]

    def has(self, kind: str, number: int | None) -> bool:
        """Tell whether an artefact is there."""
        return (kind, self._folder(kind), number) not in self.missing and self._path(kind, number).is_file()

    def read(self, kind: str, number: int | None = None) -> Any:
        """Return an artefact: (H, W, 3) RGB of a frame, (H, W) int32 ids, a dict of arrays, or a table; read only."""
        path = self._path(kind, number)
        if (kind, self._folder(kind), number) in self.missing:
            raise ArtefactError(f"{self.chunk.stage.name} read {path}, which failed; a stage must ask 'has' first")
        if kind == "frames":
            return self.cache.read(path, read_rgb)
        try:
            return self.cache.read(path, decode)
        except (OSError, ValueError) as error:
            raise ArtefactError(f"cannot read {path}: {error}; run again to make it anew") from error

    def _path(self, kind: str, number: int | None) -> Path:
        if kind == "frames":
            if number is None:
                raise ValueError("frames are read by number")
            return frame_file(self.clip, number)
        return self._folder(kind) / artefact_name(self.chunk.outputs[kind], number)

    def _folder(self, kind: str) -> Path:
        return self.chunk.data if kind in self.chunk.of_data else self.place


def run_chunk(chunk: Chunk, cache: Cache, writer: RowWriter) -> list[Row]:
    """Run all items of a chunk and return their rows, which are in the manifest already."""
    rows: list[Row] = []
    clips: dict[Path, Clip] = {}
    batch = chunk.stage.batch if chunk.stage.run_many is not None else 1
    for first in range(0, len(chunk.tasks), batch):
        tasks = chunk.tasks[first : first + batch]
        works = [Work(chunk, chunk.place, task.number, frozenset(task.missing), cache, clips) for task in tasks]
        begin = time.perf_counter()
        for work, task, values in zip(works, tasks, _values_of_all(works), strict=True):
            row = run_item(work, task.key, values)
            rows.append(replace(row, seconds=_since(begin) / len(tasks)) if len(tasks) > 1 else row)
            writer.append(chunk.place, rows[-1])
    return rows


def _values_of_all(works: Sequence[Work]) -> Sequence[Returned | None]:
    """Return what a batch of items gives; None for each where one of them raises: run alone, they show which."""
    stage = works[0].chunk.stage
    if len(works) == 1 or stage.run_many is None:
        return [None] * len(works)
    try:
        with one_thread():
            return stage.run_many(works, stage.config)
    except (ArtefactError, *NOT_A_FRAMES_FAULT):
        raise
    except Exception as error:
        _check_memory(error)
        return [None] * len(works)


def run_item(work: Work, key: str, values: Returned | None = None) -> Row:
    """Run one item: its artefacts are on disk, or it failed and nothing of it is. ``values``: if they are there."""
    stage, name, begin = work.chunk.stage, item_name(work.number), time.perf_counter()
    try:
        with one_thread():
            files = _write(work, stage.run(work, stage.config) if values is None else values)
    except (ArtefactError, *NOT_A_FRAMES_FAULT):
        raise
    except LeaveOut as reason:
        remove_outputs(stage, work.place, work.number)
        return Row(stage.name, name, key, "left out", _since(begin), error=str(reason), at_ns=time.time_ns())
    except Exception as error:
        _check_memory(error)
        # Whatever a frame's content makes a stage raise: it is noted with its trace and counted, not swallowed.
        remove_outputs(stage, work.place, work.number)
        trace = "".join(traceback.format_exception(error))[-TRACE_CHARACTERS:]
        text = f"{type(error).__name__}: {error}"
        return Row(stage.name, name, key, "failed", _since(begin), error=text, trace=trace, at_ns=time.time_ns())
    return Row(stage.name, name, key, "done", _since(begin), files=files, at_ns=time.time_ns())


def _check_memory(error: Exception) -> None:
    """Refuse to blame a frame for a GPU that is full; torch's error for it is no MemoryError."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(error, torch.OutOfMemoryError):
        raise MemoryError("the GPU is full; lower run.batch or run.workers in label.yaml") from error


@contextmanager
def one_thread() -> Iterator[None]:
    """Let OpenCV and torch use one thread: items run side by side, and some results depend on how work is split."""
    threads, torch = cv2.getNumThreads(), sys.modules.get("torch")
    torch_threads = torch.get_num_threads() if torch else 0
    cv2.setNumThreads(1)
    if torch:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(threads)
        if torch:
            torch.set_num_threads(torch_threads)


def remove_outputs(stage: Stage, place: Path, number: int | None) -> None:
    """Remove what an item wrote earlier, so that no reader takes it for valid."""
    for output in stage.outputs:
        if output.each_frame:
            _keep_only(place, output, set())
        else:
            (place / artefact_name(output, number)).unlink(missing_ok=True)


def _write(work: Work, values: Returned) -> dict[str, FileMark]:
    """Write what a stage returned, one artefact at a time: a generator's results never lie in memory together."""
    outputs = {output.kind: output for output in work.chunk.stage.outputs}
    files: dict[str, FileMark] = {}
    seen = set()
    for kind, number, value in _artefacts(work, values):
        if kind not in outputs:
            raise ArtefactError(f"stage {work.chunk.stage.name!r} returned {kind!r}, which it does not declare")
        name = artefact_name(outputs[kind], number)
        files[name] = _store(work.place / name, encode(value, outputs[kind].suffix))
        seen.add(kind)
    missing = [kind for kind, output in outputs.items() if kind not in seen and not output.each_frame]
    if missing:
        raise ArtefactError(f"stage {work.chunk.stage.name!r} did not return {', '.join(missing)}")
    for output in outputs.values():
        if output.each_frame:
            _keep_only(work.place, output, set(files))
    return files


def _artefacts(work: Work, values: Returned) -> Iterator[tuple[str, int | None, Any]]:
    if not isinstance(values, Mapping):
        yield from values
        return
    for kind, value in values.items():
        if any(output.kind == kind and output.each_frame for output in work.chunk.stage.outputs):
            yield from ((kind, number, each) for number, each in value)
        else:
            yield kind, work.number, value


def _store(path: Path, data: bytes) -> FileMark:
    try:
        write_atomically(path, data)
        return mark_file(path, content_digest(data))
    except OSError as error:
        raise ArtefactError(f"cannot write {path}: {error.strerror}; make room or check the folder's rights") from error


def _keep_only(place: Path, output: Output, names: set[str]) -> None:
    for path in (place / output.kind).glob(f"[0-9]*{output.suffix}"):
        if path.relative_to(place).as_posix() not in names:
            path.unlink()


def _protect(value: Any) -> None:
    for array in value.values() if isinstance(value, dict) else [value]:
        if hasattr(array, "setflags"):
            array.setflags(write=False)


def _since(begin: float) -> float:
    return round(time.perf_counter() - begin, 6)
