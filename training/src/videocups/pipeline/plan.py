"""What is to be done: the key every item should have, compared with what manifests say it has.

A key is the hash of the stage's fingerprint and of the keys of what the item reads, down to the content of the frames.
So a changed setting changes the keys of exactly what depends on it, and whether an item is up to date is known without
the files it was made from: intermediate ones may be removed once the final ones are there.
"""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from videocups.pipeline.manifest import Row, Rows, RowWriter, content_digest, is_intact, mark_file, read_rows
from videocups.pipeline.stage import Input, Stage, Stages
from videocups.pipeline.workspace import Workspace, artefact_name, frame_file, item_name
from videocups_core.clip import CLIP_FILE, Clip

Artefact = tuple[str, Path, int | None]
"""kind, clip (or data set) folder, number."""


class Verdict(Enum):
    """How an item stands. GONE: it was done as it should be, but its files were cleaned or lost."""

    DONE = "done"
    GONE = "gone"
    FAILED = "failed"
    LEFT_OUT = "left out"
    TODO = "to do"


@dataclass(frozen=True)
class Item:
    """One item of a stage. ``missing``: what it could read but failed; ``reads``: the items it reads, by stage."""

    stage: str
    place: Path
    number: int | None
    key: str
    verdict: Verdict
    missing: tuple[Artefact, ...] = ()
    reads: tuple[tuple[str, Path, int | None], ...] = ()


Items = dict[int | None, Item]


class Planner:
    """Knows how every item stands; ``record`` what was done meanwhile and ``refresh`` what depends on it."""

    def __init__(self, stages: Stages, workspace: Workspace, *, retry_failed: bool = False) -> None:
        self.stages, self.workspace = stages, workspace
        self.clips = {folder: Clip(folder) for folder in workspace.clips}
        self.items: dict[tuple[str, Path], Items] = {}
        self._retry_failed = retry_failed
        self._rows: dict[Path, Rows] = {place: read_rows(place) for place in (*workspace.clips, workspace.data)}
        self._fresh: set[tuple[Path, str, str]] = set()  # rows of this run, and those whose files were checked
        self._clip_keys = {folder: content_digest((folder / CLIP_FILE).read_bytes()) for folder in workspace.clips}

    def look_at_frames(self, writer: RowWriter | None = None) -> None:
        """Learn the content of all frames; hashes are noted with ``writer``, so that they are made once."""
        for place, clip in self.clips.items():
            items: Items = {}
            for number in range(len(clip)):
                items[number] = self._frame(clip, place, number, writer)
            self.items["frames", place] = items

    def refresh_all(self) -> None:
        """Find out how every item of every stage stands."""
        for stage in self.stages.all:
            for place in self.workspace.places(stage):
                self.refresh(stage, place)

    def refresh(self, stage: Stage, place: Path) -> Items:
        """Find out how the items of one stage in one folder stand, given those it reads from."""
        items = {number: self._item(stage, place, number) for number in self.numbers(stage, place)}
        self.items[stage.name, place] = items
        return items

    def record(self, place: Path, row: Row) -> None:
        """Take note of an item that ended in this run."""
        self._rows[place][row.stage, row.item] = row
        self._fresh.add((place, row.stage, row.item))

    def row(self, item: Item) -> Row | None:
        """Return the newest row of an item."""
        return self._rows[item.place].get((item.stage, item_name(item.number)))

    def numbers(self, stage: Stage, place: Path) -> Iterator[int | None]:
        """Yield the items of a stage in a folder."""
        if stage.per in ("clip", "data"):
            yield None
        else:
            yield from range(max(len(self.clips[place]) - (stage.per == "pair"), 0))

    def count(self, verdict: Verdict) -> Counter[str]:
        """Return how many items stand so, by stage."""
        return Counter(
            item.stage for items in self.items.values() for item in items.values() if item.verdict is verdict
        )

    def can_read(self, item: Item) -> bool:
        """Tell whether the files an item reads are there."""
        return all(self.items[name, place][number].verdict is Verdict.DONE for name, place, number in item.reads)

    def to_do(self) -> dict[tuple[str, Path], set[int | None]]:
        """Return all that must run: what is not done, and what was cleaned but is needed again."""
        wanted: dict[tuple[str, Path], set[int | None]] = {}
        read = {needed.kind for stage in self.stages.all for needed in stage.inputs}
        for stage in reversed(self.stages.all):
            is_target = stage.final or not any(output.kind in read for output in stage.outputs)
            for place in self.workspace.places(stage):
                demanded = wanted.setdefault((stage.name, place), set())
                for item in self.items[stage.name, place].values():
                    if item.verdict is Verdict.TODO or (item.verdict is Verdict.GONE and is_target):
                        demanded.add(item.number)
                for number in demanded:
                    for name, folder, other in self.items[stage.name, place][number].reads:
                        if self.items[name, folder][other].verdict is Verdict.GONE:
                            wanted.setdefault((name, folder), set()).add(other)
        return {node: numbers for node, numbers in wanted.items() if numbers}

    def _frame(self, clip: Clip, place: Path, number: int, writer: RowWriter | None) -> Item:
        name, path = item_name(number), frame_file(clip, number)
        row = self._rows[place].get(("frames", name))
        mark = row.files.get(path.name) if row else None
        try:
            if mark is None or mark != mark_file(path, mark.digest):
                mark = mark_file(path, content_digest(path.read_bytes()))
                row = Row("frames", name, mark.digest, "done", files={path.name: mark}, at_ns=time.time_ns())
                if writer is not None:
                    writer.append(place, row)
                self._rows[place]["frames", name] = row
        except OSError:
            return Item("frames", place, number, "missing", Verdict.FAILED)
        return Item("frames", place, number, mark.digest, Verdict.DONE)

    def _item(self, stage: Stage, place: Path, number: int | None) -> Item:
        digest = hashlib.blake2b(stage.fingerprint().encode(), digest_size=16)
        missing: list[Artefact] = []
        reads: list[tuple[str, Path, int | None]] = []
        for needed in stage.inputs:
            present, absent = self._inputs(stage, needed, place, number)
            missing += absent
            reads += [read for read, _ in present if read[0] not in ("frames", "clip")]
            if needed.need != "optional" and (not present or (needed.need == "all" and absent)):
                return Item(stage.name, place, number, "", Verdict.LEFT_OUT, tuple(missing))
            for (name, folder, other), key in present:
                where = "" if folder == place else folder.relative_to(self.workspace.root).as_posix()
                digest.update(f"\n{needed.kind} {name} {where} {item_name(other)} {key}".encode())
        digest.update(("\nwithout " + " ".join(f"{kind}{item_name(t)}" for kind, _, t in missing)).encode())
        key = digest.hexdigest()
        return Item(
            stage.name, place, number, key, self._verdict(stage, place, number, key), tuple(missing), tuple(reads)
        )

    def _inputs(
        self, stage: Stage, needed: Input, place: Path, number: int | None
    ) -> tuple[list[tuple[tuple[str, Path, int | None], str]], list[Artefact]]:
        """Return (what item is read, its key) for what is or will be there, and what failed."""
        present: list[tuple[tuple[str, Path, int | None], str]] = []
        absent: list[Artefact] = []
        for folder in self._folders(stage, needed, place):
            if needed.kind == "clip":
                present.append((("clip", folder, None), self._clip_keys[folder]))
                continue
            producer = None if needed.kind == "frames" else self.stages.of_kind[needed.kind]
            items = self.items[producer.name if producer else "frames", folder]
            for other in self._numbers_read(needed, folder, items, number):
                item = items.get(None, items.get(other))
                if item is None or not self._is_there(producer, item, needed.kind, other):
                    absent.append((needed.kind, folder, other))
                else:
                    present.append(((item.stage, folder, item.number), item.key))
        return present, absent

    def _folders(self, stage: Stage, needed: Input, place: Path) -> tuple[Path, ...]:
        producer = self.stages.of_kind.get(needed.kind)
        if producer is not None and producer.per == "data":
            return (self.workspace.data,)
        return self.workspace.clips if stage.per == "data" else (place,)

    def _numbers_read(self, needed: Input, folder: Path, items: Items, number: int | None) -> list[int | None]:
        """Return the numbers of the artefacts an item asks for; outside the clip only where all of them are needed."""
        if number is None:
            return list(items)
        if None in items and not self._is_each_frame(needed.kind):
            return [None]
        inside = range(len(self.clips[folder])) if None in items else items
        return [number + offset for offset in needed.offsets if needed.need == "all" or number + offset in inside]

    def _is_each_frame(self, kind: str) -> bool:
        stage = self.stages.of_kind.get(kind)
        return stage is not None and stage.output(kind).each_frame

    def _is_there(self, producer: Stage | None, item: Item, kind: str, number: int | None) -> bool:
        """Tell whether an artefact is or will be there; an item of a whole clip may have left a frame out."""
        if item.verdict in (Verdict.FAILED, Verdict.LEFT_OUT):
            return False
        if producer is None or item.number is not None or number is None or item.verdict is Verdict.TODO:
            return True
        row = self.row(item)
        return row is None or artefact_name(producer.output(kind), number) in row.files

    def _verdict(self, stage: Stage, place: Path, number: int | None, key: str) -> Verdict:
        name = item_name(number)
        row, is_fresh = self._rows[place].get((stage.name, name)), (place, stage.name, name) in self._fresh
        if row is None or row.key != key:
            return Verdict.TODO
        if row.outcome == "left out":
            return Verdict.LEFT_OUT
        if row.outcome == "failed":
            return Verdict.FAILED if is_fresh or not self._retry_failed else Verdict.TODO
        if is_fresh or all(is_intact(place / path, mark) for path, mark in row.files.items()):
            self._fresh.add((place, stage.name, name))
            return Verdict.DONE
        return Verdict.GONE
