from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from videocups.pretrain.config import PretrainConfig
from videocups.synthetic import World, WorldConfig
from videocups_core.clip import ClipInfo, write_clip_info
from videocups_core.config import from_mapping

SMALL = {
    "encoder": {"resnet": {"kind": "resnet18", "width": 0.125}, "dim": 8},
    "views": {
        "height": 64,
        "width": 96,
        "crop": 32,
        "crop_region": [0.5, 0.8],
        "locals": 1,
        "local_crop": 32,
        "local_region": [0.2, 0.4],
    },
    "image": {"prototypes": 16, "hidden": 8, "bottleneck": 8},
    "pixel": {"classes": 6, "guided": 0.5, "frames": 3},
    "schedule": {"momentum": 0.9},
    "loop": {"steps": 6, "batch_size": 2, "workers": 0, "learning_rate": 0.002, "log_every": 1, "checkpoint_every": 3},
}


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture
def small():
    """Make a small config, changed by nested settings."""

    def make(**changes) -> PretrainConfig:
        content = {name: {**part, **changes.get(name, {})} for name, part in SMALL.items()}
        return from_mapping(PretrainConfig, content, "test")

    return make


@pytest.fixture(scope="session")
def street(tmp_path_factory) -> Path:
    """Six frames of a rendered street as a clip, without any truth beside it."""
    world = World(WorldConfig(seed=3, num_frames=6, height=64, width=96))
    return write_clip(tmp_path_factory.mktemp("clips") / "street", [world.frame(index).rgb for index in range(6)])


@pytest.fixture(scope="session")
def sliding(tmp_path_factory) -> Path:
    """Two frames of smooth random texture; the second shows everything 6 px further left."""
    rng = np.random.default_rng(0)
    texture = cv2.GaussianBlur(rng.uniform(0, 255, (64, 120, 3)).astype(np.float32), (0, 0), 2)
    texture = np.clip((texture - texture.mean()) * 5 + 128, 0, 255).astype(np.uint8)
    frames = [np.ascontiguousarray(texture[:, start : start + 96]) for start in (6, 12)]
    return write_clip(tmp_path_factory.mktemp("clips") / "sliding", frames)


def write_clip(folder: Path, frames: list[np.ndarray]) -> Path:
    (folder / "frames").mkdir(parents=True)
    for index, rgb in enumerate(frames):
        assert cv2.imwrite(str(folder / "frames" / f"{index:06d}.png"), np.ascontiguousarray(rgb[..., ::-1]))
    height, width = frames[0].shape[:2]
    stamps = tuple(index * 100_000_000 for index in range(len(frames)))
    write_clip_info(folder, ClipInfo(folder.name, "camera", width, height, stamps, image_suffix=".png"))
    return folder
