"""Clip folders on disk: they appear whole or not at all, and remember what they were made from."""

from __future__ import annotations

import glob
import json
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from videocups.clips.report import IngestReport
from videocups_core.clip import ClipInfo, frame_name, read_clip_info, write_atomically, write_clip_info

LEDGER_FOLDER = ".ingest"
ORIGIN_FILE = "ingest.json"
LEFT, RIGHT = "frames", "frames_right"


class ClipStoreError(ValueError):
    """The clip folder cannot take what should go in; the message names the fix."""


class ClipStore:
    """A folder of clips; ``key`` identifies one source cut with one set of options."""

    def __init__(self, root: Path, key: str) -> None:
        self.root = root
        self.key = key
        self._ledger = root / LEDGER_FOLDER / f"{key}.json"
        self._staging = root / LEDGER_FOLDER / f"partial-{key[:16]}"
        self._is_new = not root.exists()
        try:
            (root / LEDGER_FOLDER).mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=root):
                pass
        except OSError as error:
            raise ClipStoreError(f"cannot write into {root}: {error.strerror}; give another --out") from None
        shutil.rmtree(self._staging, ignore_errors=True)  # what a killed run left

    def finished(self) -> dict[str, Any] | None:
        """Return what an earlier complete run with this key noted, if all its clips are still there."""
        try:
            entry: dict[str, Any] = json.loads(self._ledger.read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            return None
        return entry if all(self.has(name) for name in entry["clips"]) else None

    def has(self, name: str) -> bool:
        """Tell whether clip ``name`` is there, whole, and made with this key."""
        folder = self.root / name
        try:
            if json.loads((folder / ORIGIN_FILE).read_text())["key"] != self.key:
                return False
            info = read_clip_info(folder)
        except (OSError, ValueError, KeyError, TypeError):
            return False
        last = folder / LEFT / (frame_name(len(info) - 1) + info.image_suffix)
        return last.is_file() and sum(1 for _ in (folder / LEFT).iterdir()) == len(info)

    def clear_way(self, prefix: str, *, overwrite: bool) -> None:
        """Refuse, or with ``overwrite`` remove, clips called ``prefix_NNNN`` that were made differently."""
        others = [path for path in sorted(self.root.glob(f"{glob.escape(prefix)}_[0-9]*")) if not self.has(path.name)]
        others = [path for path in others if path.name.removeprefix(f"{prefix}_").isdigit()]
        if others and not overwrite:
            raise ClipStoreError(
                f"{others[0]} exists and was made from another source or with other options; "
                "give another --out or --name, or --overwrite"
            )
        for path in others:
            shutil.rmtree(path)

    def new_clip(self, name: str, *, stereo: bool) -> PendingClip:
        """Begin a clip; it appears under its name when it is finished."""
        folder = self._staging / name
        for kind in (LEFT, RIGHT) if stereo else (LEFT,):
            (folder / kind).mkdir(parents=True)
        return PendingClip(folder, self.root / name, self.key)

    def finish(self, report: IngestReport) -> None:
        """Note that everything this key stands for is done."""
        entry = {"clips": report.clips, "frames": report.frames, "damage": report.damage}
        entry |= {"skipped": dict(report.skipped), "broken": dict(report.broken)}
        write_atomically(self._ledger, (json.dumps(entry, indent=1) + "\n").encode())

    def discard(self) -> None:
        """Remove clips that were begun and not finished, and the folder itself where nothing came of it."""
        shutil.rmtree(self._staging, ignore_errors=True)
        for folder in (self.root / LEDGER_FOLDER, *([self.root] if self._is_new else ())):
            if not any(folder.iterdir()):
                folder.rmdir()


@dataclass(frozen=True)
class PendingClip:
    """A clip in the making, out of everybody's sight."""

    folder: Path
    target: Path
    key: str

    def write_image(self, kind: str, index: int, suffix: str, data: bytes | memoryview) -> None:
        """Write frame ``index``; safe to call from several threads for different frames."""
        with (self.folder / kind / (frame_name(index) + suffix)).open("wb") as file:
            file.write(data)

    def finish(self, info: ClipInfo, options: dict[str, Any]) -> None:
        """Put everything on disk and let the clip appear under its name."""
        origin = {"key": self.key, "options": options}
        (self.folder / ORIGIN_FILE).write_text(json.dumps(origin, indent=1) + "\n")
        for path in sorted(self.folder.rglob("*")):
            flush_to_disk(path)  # one pass at the end: the system has written most of it already
        write_clip_info(self.folder, info)
        flush_to_disk(self.folder)
        if self.target.exists():
            shutil.rmtree(self.target)
        self.folder.rename(self.target)
        flush_to_disk(self.target.parent)

    def drop(self) -> None:
        """Throw the clip away."""
        shutil.rmtree(self.folder, ignore_errors=True)


def flush_to_disk(path: Path) -> None:
    """Wait until a file, or the names in a folder, are stored."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
