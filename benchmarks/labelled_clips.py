"""Clips with exact truth for the benchmarks: labelled streets on disk and rendered worlds."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from machine import machine

from videocups.instances.quality import moving_objects
from videocups.synthetic import World, WorldConfig, read_truth
from videocups_core.clip import Clip, ClipInfo, read_rgb, write_clip_info
from videocups_core.types import VOID_CLASS, CameraModel

HERE = Path(__file__).resolve().parent
FRAMES_PER_S = 10
HELD_WORLDS = tuple(
    WorldConfig(seed=seed, num_frames=40, scenario=scenario)
    for seed, scenario in ((1000, "drive"), (1001, "turn"), (1002, "stop"), (1003, "stand"))
)


@dataclass(frozen=True)
class Truth:
    """What is true of a frame; ``flow_px`` is None where the clip has none for it. ``objects``: moving ones only."""

    flow_px: np.ndarray | None
    flow_valid: np.ndarray | None
    depth_m: np.ndarray
    objects: np.ndarray


def heading(title: str) -> str:
    """Return the head of a results table: what, when, on which machine."""
    versions = f"Python {platform.python_version()}, OpenCV {cv2.__version__}"
    return f"# {title}\n\n{datetime.date.today().isoformat()}, {machine()}, {platform.system()}, {versions}\n"


class LabelledClip(Protocol):
    """A clip with truth."""

    name: str
    camera: CameraModel

    def __len__(self) -> int: ...

    def rgb(self, index: int) -> np.ndarray:
        """Return frame ``index``."""
        ...

    def truth(self, index: int) -> Truth:
        """Return what is true of it."""
        ...

    def ways(self, index: int) -> dict[int, str]:
        """Return how each moving object moves: "across", "oncoming", "along", or "standing" where the ego stands."""
        ...


@dataclass(frozen=True)
class Source:
    """Which clips a benchmark runs on: ``streets`` by letter, rendered ``worlds``, or rendered clips in ``folders``."""

    streets: str
    worlds: bool
    folders: tuple[Path, ...]

    @property
    def title(self) -> str:
        """How a heading names them."""
        return "rendered worlds (held seeds)" if self.worlds or self.folders else "the labelled streets"

    def clips(self) -> list[LabelledClip]:
        """Open them."""
        if self.folders:
            return [RenderedClip(folder) for folder in self.folders]
        return [WorldClip(config) for config in HELD_WORLDS] if self.worlds else street_clips(self.streets)


def add_source_options(parser: argparse.ArgumentParser) -> None:
    """Let a command choose its clips."""
    parser.add_argument("--clips", default="abcd", help="labelled streets (default abcd)")
    parser.add_argument("--worlds", action="store_true", help="rendered worlds of held seeds instead")
    parser.add_argument(
        "--folders", nargs="+", type=Path, default=[], help="clips of videocups render, with their truth, instead"
    )


def source_of(options: argparse.Namespace) -> Source:
    """Return the clips that were chosen."""
    return Source(options.clips, options.worlds, tuple(options.folders))


def data_folder() -> Path:
    """Return the folder of recordings that are not part of the repository."""
    return Path(os.environ.get("VIDEOCUPS_DATA", HERE.parents[1] / "shared" / "data"))


def street_clips(names: Sequence[str] = "abcd") -> list[LabelledClip]:
    """Open the labelled streets, or say where they were looked for."""
    folders = [data_folder() / "streets" / f"clip_{name}" for name in names]
    if not all(folder.is_dir() for folder in folders):
        raise SystemExit(f"no labelled streets at {folders[0].parent}; set VIDEOCUPS_DATA to the folder that has them")
    return [StreetClip(folder) for folder in folders]


def labelled_clip(folder: Path) -> LabelledClip:
    """Open a rendered clip with its truth, or a labelled street."""
    return RenderedClip(folder) if (folder / "truth" / "truth.json").is_file() else StreetClip(folder)


def frames_as_clip(frames: Sequence[Path], folder: Path, camera: CameraModel) -> Path:
    """Make a clip ``folder`` of copies of images at 10 Hz, with intrinsics."""
    (folder / "frames").mkdir(parents=True)
    for index, path in enumerate(frames):
        shutil.copy(path, folder / "frames" / f"{index:06d}{path.suffix}")
    stamps = tuple(index * 1_000_000_000 // FRAMES_PER_S for index in range(len(frames)))
    shape = camera.width, camera.height
    write_clip_info(folder, ClipInfo(folder.name, "front", *shape, stamps, camera, image_suffix=frames[0].suffix))
    return folder


def street_as_clip(street: Path, scratch: Path, *, truth: bool = False) -> Path:
    """Make a clip of a street's frames below ``scratch``; its truth comes along only where it is asked for."""
    frames = sorted((street / "frames").iterdir())
    folder = frames_as_clip(frames, scratch / street.name, StreetClip(street).camera)
    if truth:
        for kind in ("class", "track"):
            shutil.copytree(street / "truth" / kind, folder / "truth" / kind)
        meta = json.loads((street / "clip.json").read_text())
        meta["classes"] = {key: name for key, name in meta["classes"].items() if int(key) != VOID_CLASS}
        kept = {key: meta[key] for key in ("classes", "thing_classes", "moving_tracks")}
        (folder / "truth" / "truth.json").write_text(json.dumps(kept) + "\n")
    return folder


class StreetClip:
    """A labelled street: frames, and truth as PNG."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.name = folder, folder.name
        meta = self.meta
        k = (meta["fx"], 0.0, meta["cx"], 0.0, meta["fy"], meta["cy"], 0.0, 0.0, 1.0)
        self.camera = CameraModel(meta["width"], meta["height"], k)

    @cached_property
    def meta(self) -> dict[str, Any]:
        """The content of clip.json."""
        return json.loads((self.folder / "clip.json").read_text())

    def __len__(self) -> int:
        return int(self.meta["frames"])

    def rgb(self, index: int) -> np.ndarray:
        """Return frame ``index``."""
        return read_rgb(self.folder / "frames" / f"{index:06d}.jpg")

    def truth(self, index: int) -> Truth:
        """Return what is true of it."""
        moving = self.meta["moving_tracks"].get(str(index), [])
        flow, valid = self._flow(index)
        depth = self._png("depth", index).astype(np.float32) / 256
        return Truth(flow, valid, depth, moving_objects(self._png("track", index).astype(np.int32), moving))

    def ways(self, index: int) -> dict[int, str]:
        """Return how each moving object moves against the ego."""
        if index + 1 >= len(self):
            return {}
        here, there = (np.array(self.meta["camera_to_world"][at])[:3, 3] for at in (index, index + 1))
        now, then = (self.meta["objects"][at] for at in (index, index + 1))
        ways = {}
        for track in self.meta["moving_tracks"].get(str(index), []):
            if str(track) in now and str(track) in then:
                step = [np.array(table[str(track)]["pose"])[:3, 3] for table in (now, then)]
                ways[int(track)] = way_of(step[1] - step[0], there - here)
        return ways

    def _flow(self, index: int) -> tuple[np.ndarray | None, np.ndarray | None]:
        if not (self.folder / "truth" / "flow" / f"{index:06d}.png").is_file():
            return None, None
        coded = self._png("flow", index)[..., ::-1].astype(np.float32)
        return (coded[..., :2] - 32768) / 64, coded[..., 2] > 0

    def _png(self, kind: str, index: int) -> np.ndarray:
        return cv2.imread(str(self.folder / "truth" / kind / f"{index:06d}.png"), cv2.IMREAD_UNCHANGED)


def way_of(object_step: np.ndarray, ego_step: np.ndarray) -> str:
    """Return how an object's step lies to the ego's: within 30° of it or against it, or across."""
    ego, other = np.linalg.norm(ego_step[:2]), np.linalg.norm(object_step[:2])
    if ego < 0.05:
        return "standing"
    cosine = float(object_step[:2] @ ego_step[:2]) / (ego * max(other, 1e-9))
    return "along" if cosine > 0.866 else "oncoming" if cosine < -0.866 else "across"


class WorldClip:
    """A rendered world."""

    def __init__(self, config: WorldConfig) -> None:
        self.world = World(config)
        self.name, self.camera = f"world {config.seed} {config.scenario}", self.world.camera
        self._frame = lru_cache(maxsize=None)(self._kept)

    def _kept(self, index: int) -> tuple[np.ndarray, Truth]:
        frame = self.world.frame(index)
        objects = moving_objects(frame.track_map.astype(np.int32), frame.moving_tracks)
        return frame.rgb, Truth(frame.flow_fw_px, ~frame.occluded_fw, frame.depth_m, objects)

    def __len__(self) -> int:
        return len(self.world)

    def rgb(self, index: int) -> np.ndarray:
        """Return frame ``index``."""
        return self._frame(index)[0]

    def truth(self, index: int) -> Truth:
        """Return what is true of it."""
        return self._frame(index)[1]

    def ways(self, index: int) -> dict[int, str]:
        """Return nothing: rendered worlds keep no poses of their objects."""
        return {}


class RenderedClip:
    """A rendered world on disk."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.name = folder, folder.name
        self._clip = Clip(folder)
        if self._clip.info.camera is None:
            raise SystemExit(f"{folder} has no intrinsics; make clips with videocups render")
        self.camera = self._clip.info.camera

    def __len__(self) -> int:
        return len(self._clip)

    def rgb(self, index: int) -> np.ndarray:
        """Return frame ``index``."""
        return self._clip.frame_rgb(index)

    def truth(self, index: int) -> Truth:
        """Return what is true of it."""
        truth = read_truth(self._clip.folder, index)
        seen = ~truth.occluded_fw & np.isfinite(truth.flow_fw_px).all(axis=2)
        objects = moving_objects(truth.track_map.astype(np.int32), truth.moving_tracks)
        return Truth(np.nan_to_num(truth.flow_fw_px), seen, truth.depth_m, objects)

    def ways(self, index: int) -> dict[int, str]:
        """Return nothing: rendered worlds keep no poses of their objects."""
        return {}
