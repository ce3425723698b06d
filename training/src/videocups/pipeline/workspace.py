"""The folder of clips a run works on: which clips, where artefacts lie, and that nobody else is at work there."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from videocups.pipeline.manifest import FOLDER
from videocups.pipeline.stage import Output, Stage
from videocups_core.clip import CLIP_FILE, Clip, find_clips, frame_name, write_atomically

DATA_FOLDER = "data_set"
"""what belongs to all clips together lies in this folder beside them."""
LOCK_FILE = "lock"


@dataclass(frozen=True)
class Workspace:
    """A root folder, its clips, and the folder of what they share."""

    root: Path
    clips: tuple[Path, ...]

    @classmethod
    def open(cls, root: Path | str) -> Workspace:
        """Find the clips at or below ``root``."""
        folder = Path(root).resolve()
        return cls(folder, tuple(find_clips(folder)))

    @property
    def data(self) -> Path:
        """The folder of artefacts of the whole data set."""
        return self.root / DATA_FOLDER

    def places(self, stage: Stage) -> Sequence[Path]:
        """Return the folders a stage has items in."""
        return (self.data,) if stage.per == "data" else self.clips

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the workspace; a second run on the same clips is refused. The system frees it if the run is killed."""
        path = self.root / FOLDER / LOCK_FILE
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise ValueError(f"another run works on {self.root}; wait for it or stop it") from None
        try:
            yield
        finally:
            os.close(descriptor)

    def remove_halves(self) -> None:
        """Remove temporary files that a killed run left; call it under the lock."""
        for folder in (*self.clips, self.data, self.root / FOLDER):
            for path in folder.rglob(".*.tmp") if folder.is_dir() else ():
                path.unlink(missing_ok=True)


def artefact_name(output: Output, number: int | None) -> str:
    """Return an artefact's path in its clip (or data set) folder."""
    if number is None:
        return f"{output.kind}{output.suffix}"
    return f"{output.kind}/{frame_name(number)}{output.suffix}"


def item_name(number: int | None) -> str:
    """Return how an item is called in manifests."""
    return "all" if number is None else frame_name(number)


def link_clips(source: Path, target: Path) -> None:
    """Make clips below ``target`` whose frames are links to those of ``source``: for recordings that are read only."""
    origin = source.resolve()
    for clip in find_clips(origin):
        folder = target / clip.relative_to(origin) if clip != origin else target / clip.name
        folder.mkdir(parents=True, exist_ok=True)
        for kind in ("frames", "frames_right"):
            link = folder / kind
            if (clip / kind).is_dir() and not link.exists():
                link.symlink_to(clip / kind, target_is_directory=True)
        content = (clip / CLIP_FILE).read_bytes()
        if not (folder / CLIP_FILE).is_file() or (folder / CLIP_FILE).read_bytes() != content:
            write_atomically(folder / CLIP_FILE, content)


def frame_file(clip: Clip, number: int) -> Path:
    """Return the image of a frame."""
    return clip.path("frames", number, clip.info.image_suffix)
