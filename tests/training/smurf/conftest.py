from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from videocups.synthetic import World, WorldConfig, WorldFrame
from videocups_core.clip import ClipInfo, write_clip_info


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def turning_pair() -> tuple[World, tuple[WorldFrame, WorldFrame]]:
    """Two frames, 1/60 s apart, while the ego turns: all moves by a px or two, mostly sideways."""
    world = World(WorldConfig(seed=5, num_frames=182, fps=60, setting="city", scenario="turn", height=128, width=128))
    return world, (world.frame(180), world.frame(181))


@pytest.fixture(scope="session")
def turning_clip(turning_pair, tmp_path_factory) -> Path:
    """The pair as a clip without intrinsics, which flow does not need."""
    folder = tmp_path_factory.mktemp("clips") / "turn"
    (folder / "frames").mkdir(parents=True)
    for index, frame in enumerate(turning_pair[1]):
        assert cv2.imwrite(str(folder / "frames" / f"{index:06d}.png"), np.ascontiguousarray(frame.rgb[..., ::-1]))
    stamps = tuple(frame.stamp_ns for frame in turning_pair[1])
    write_clip_info(folder, ClipInfo("turn", "camera", 128, 128, stamps, image_suffix=".png"))
    return folder
