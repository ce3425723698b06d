"""Clips with exact truth for the benchmarks: labelled streets on disk and rendered worlds."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np

from videocups.instances.quality import moving_objects
from videocups.synthetic import World, WorldConfig
from videocups_core.clip import read_rgb
from videocups_core.types import CameraModel

HERE = Path(__file__).resolve().parent
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


class LabelledClip(Protocol):
    name: str
    camera: CameraModel

    def __len__(self) -> int: ...

    def rgb(self, index: int) -> np.ndarray: ...

    def truth(self, index: int) -> Truth: ...


def data_folder() -> Path:
    """Return the folder of recordings that are not part of the repository."""
    return Path(os.environ.get("VIDEOCUPS_DATA", HERE.parents[1] / "shared" / "data"))


def street_clips(names: Sequence[str] = "abcd") -> list[LabelledClip]:
    """Open the labelled streets, or say where they were looked for."""
    folders = [data_folder() / "streets" / f"clip_{name}" for name in names]
    if not all(folder.is_dir() for folder in folders):
        raise SystemExit(f"no labelled streets at {folders[0].parent}; set VIDEOCUPS_DATA to the folder that has them")
    return [StreetClip(folder) for folder in folders]


def world_clips() -> list[LabelledClip]:
    return [WorldClip(config) for config in HELD_WORLDS]


class StreetClip:
    """A labelled street: frames, and truth as PNG."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.name = folder, folder.name
        meta = self.meta
        k = (meta["fx"], 0.0, meta["cx"], 0.0, meta["fy"], meta["cy"], 0.0, 0.0, 1.0)
        self.camera = CameraModel(meta["width"], meta["height"], k)

    @cached_property
    def meta(self) -> dict[str, Any]:
        return json.loads((self.folder / "clip.json").read_text())

    def __len__(self) -> int:
        return int(self.meta["frames"])

    def rgb(self, index: int) -> np.ndarray:
        return read_rgb(self.folder / "frames" / f"{index:06d}.jpg")

    def truth(self, index: int) -> Truth:
        moving = self.meta["moving_tracks"].get(str(index), [])
        flow, valid = self._flow(index)
        depth = self._png("depth", index).astype(np.float32) / 256
        return Truth(flow, valid, depth, moving_objects(self._png("track", index).astype(np.int32), moving))

    def camera_pose(self, index: int) -> np.ndarray:
        return np.array(self.meta["camera_to_world"][index])

    def _flow(self, index: int) -> tuple[np.ndarray | None, np.ndarray | None]:
        if not (self.folder / "truth" / "flow" / f"{index:06d}.png").is_file():
            return None, None
        coded = self._png("flow", index)[..., ::-1].astype(np.float32)
        return (coded[..., :2] - 32768) / 64, coded[..., 2] > 0

    def _png(self, kind: str, index: int) -> np.ndarray:
        return cv2.imread(str(self.folder / "truth" / kind / f"{index:06d}.png"), cv2.IMREAD_UNCHANGED)


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
        return self._frame(index)[0]

    def truth(self, index: int) -> Truth:
        return self._frame(index)[1]
