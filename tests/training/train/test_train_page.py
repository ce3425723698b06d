"""The way to bring labels of one's own, as docs/train.md shows it."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np

from videocups.train.labelled_clips import LabelledFrames, PairIndex
from videocups.train.panoptic_config import PairConfig
from videocups_core.clip import ClipInfo, write_clip_info

PAGE = Path(__file__).parents[3] / "docs" / "train.md"


def test_labels_from_elsewhere_can_be_trained_on(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    clip = tmp_path / "labelled" / "drive_camera_0000"
    (clip / "frames").mkdir(parents=True)
    (tmp_path / "mine").mkdir()
    write_clip_info(clip, ClipInfo("drive_camera_0000", "front", 64, 32, (0, 10**8)))
    for index in range(2):
        kinds, objects = np.zeros((32, 64), np.uint8), np.zeros((32, 64), np.uint16)
        kinds[:8] = 255
        kinds[10:20, 10 + index : 30 + index], objects[10:20, 10 + index : 30 + index] = 1, 40_000
        cv2.imwrite(str(clip / "frames" / f"{index:06d}.jpg"), np.zeros((32, 64, 3), np.uint8))
        cv2.imwrite(f"mine/{index:06d}_class.png", kinds)
        cv2.imwrite(f"mine/{index:06d}_object.png", objects)
    (block,) = re.findall(r"## Labels from elsewhere.*?```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    exec(compile(block, str(PAGE), "exec"), {})
    frames = LabelledFrames([clip], PairConfig(height=32, width=64, min_area_px=0), working_height=32)
    assert PairIndex(frames).pairs == [(0, 0)]
    _, labels = frames.frame(0, 1)
    assert labels.tracks == (40_000,)
    assert np.count_nonzero(labels.objects == 1) == 200
