from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from videocups_core.clip import ClipInfo, write_clip_info

ClipMaker = Callable[..., Path]


def write_noise_clip(folder: Path, frames: int, height: int = 16, width: int = 24, seed: int = 0) -> None:
    rng = np.random.default_rng(seed)
    (folder / "frames").mkdir(parents=True)
    for index in range(frames):
        cv2.imwrite(str(folder / "frames" / f"{index:06d}.png"), rng.integers(0, 256, (height, width, 3), np.uint8))
    stamps = tuple(range(1, frames + 1))
    write_clip_info(folder, ClipInfo(folder.name, "camera", width, height, stamps, image_suffix=".png"))


@pytest.fixture
def make_clips(tmp_path: Path) -> ClipMaker:
    """Return a function that writes clips of noise and gives their root folder."""

    def make(*frames: int, name: str = "clips") -> Path:
        root = tmp_path / name
        for number, count in enumerate(frames):
            write_noise_clip(root / f"clip_{number}", count, seed=number)
        return root

    return make
