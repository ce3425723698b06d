"""What was done: one row an item, appended as it ends, by one writer a process.

<folder>/.label/rows.jsonl               the rows of earlier runs, the newest of each item
<folder>/.label/rows-HOST-PID-NS.jsonl   those a process added; folded into rows.jsonl by the next run

A row comes after its files are on disk, in one write; a torn last line is a row that never was.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from videocups_core.clip import write_atomically

FOLDER = ".label"
ROWS_FILE = "rows.jsonl"
Outcome = Literal["done", "failed", "left out"]


@dataclass(frozen=True)
class FileMark:
    """How a file is known again: size and time of change, or else its content."""

    size: int
    mtime_ns: int
    digest: str


@dataclass(frozen=True)
class Row:
    """The outcome of one item.

    ``key``: hash of inputs, settings and stage version; ``files``: by path in the folder.
    """

    stage: str
    item: str
    key: str
    outcome: Outcome
    seconds: float = 0.0
    files: Mapping[str, FileMark] = field(default_factory=dict)
    error: str = ""
    trace: str = ""
    at_ns: int = 0


Rows = dict[tuple[str, str], Row]


def read_rows(folder: Path) -> Rows:
    """Return the newest row of every (stage, item)."""
    rows: Rows = {}
    for path in sorted((folder / FOLDER).glob("rows*.jsonl")):
        for line in path.read_bytes().split(b"\n")[:-1]:
            row = _parse(line)
            if row is None:
                continue  # torn by a kill, then written on by nobody: the item counts as not done
            known = rows.get((row.stage, row.item))
            if known is None or row.at_ns >= known.at_ns:
                rows[row.stage, row.item] = row
    return rows


def fold_rows(folder: Path) -> None:
    """Gather the rows of all writers in one file; safe to be killed in between."""
    added = sorted((folder / FOLDER).glob("rows-*.jsonl"))
    if added:
        lines = [json.dumps(asdict(row)) + "\n" for row in read_rows(folder).values()]
        write_atomically(folder / FOLDER / ROWS_FILE, "".join(lines).encode())
        for path in added:
            path.unlink()


def mark_file(path: Path, digest: str) -> FileMark:
    """Return the mark of a file with known content."""
    status = path.stat()
    return FileMark(status.st_size, status.st_mtime_ns, digest)


def is_intact(path: Path, mark: FileMark) -> bool:
    """Tell whether the file is still the one that was written; its content is read only if its time changed."""
    try:
        status = path.stat()
        if status.st_size != mark.size:
            return False
        return status.st_mtime_ns == mark.mtime_ns or content_digest(path.read_bytes()) == mark.digest
    except FileNotFoundError:
        return False


def content_digest(data: bytes) -> str:
    """Return a short hash of a file's content."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


class RowWriter:
    """Appends rows for the items of one process."""

    def __init__(self) -> None:
        self._name = f"rows-{socket.gethostname()}-{os.getpid()}-{time.time_ns()}.jsonl"

    def append(self, folder: Path, row: Row) -> None:
        """Add a row to the manifest of ``folder``."""
        (folder / FOLDER).mkdir(parents=True, exist_ok=True)
        line = (json.dumps(asdict(row)) + "\n").encode()
        descriptor = os.open(folder / FOLDER / self._name, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            if os.write(descriptor, line) != len(line):
                raise OSError(f"cannot write a manifest row into {folder / FOLDER}; is the disk full?")
        finally:
            os.close(descriptor)


def _parse(line: bytes) -> Row | None:
    try:
        raw = json.loads(line)
        raw["files"] = {name: FileMark(**mark) for name, mark in raw["files"].items()}
        return Row(**raw)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
