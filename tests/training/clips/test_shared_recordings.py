"""Real recordings, where they are at hand."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from videocups.cli import main
from videocups_core.clip import Clip, find_clips

DATA = Path(os.environ.get("VIDEOCUPS_DATA", Path(__file__).parents[4] / "shared" / "data"))
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="no development data; set VIDEOCUPS_DATA to its folder")


def ingest(tmp_path, *arguments):
    assert main(["ingest", *map(str, arguments), "--out", str(tmp_path / "clips")]) == 0
    return [Clip(path) for path in find_clips(tmp_path / "clips")]


def test_kitti_jam(tmp_path):
    calibration = DATA / "kitti_jam" / "calib.json"
    (clip,) = ingest(tmp_path, DATA / "kitti_jam" / "image_02", "--fps", 10, "--calibration", calibration)
    assert len(clip) == 78
    assert (clip.info.width, clip.info.height) == (1242, 375)
    camera = clip.info.camera
    assert (camera.fx, camera.fy, camera.cx, camera.cy) == (721.5377, 721.5377, 609.5593, 172.854)
    first = sorted((DATA / "kitti_jam" / "image_02").glob("*.jpg"))[0]
    assert clip.path("frames", 0, ".jpg").read_bytes() == first.read_bytes()


def test_kitti_stereo_pairs(tmp_path):
    root = DATA / "kitti_stereo" / "sequence_1"
    stereo = ("--stereo-folder", root / "image_r", "--calibration", root / "calib.txt")
    (clip,) = ingest(tmp_path, root / "image_l", "--fps", 10, *stereo)
    assert len(clip) == 51
    camera = clip.info.camera
    assert (camera.fx, camera.cx, camera.cy) == (707.0912, 601.8873, 183.1104)
    assert clip.info.stereo_baseline_m == pytest.approx(0.5372, abs=1e-4)
    left, right = (clip.frame_rgb(10, right=side)[..., 0].astype(float) for side in (False, True))
    costs = [np.abs(left[200:300, 200:1000] - right[200:300, 200 - d : 1000 - d]).mean() for d in range(-40, 80)]
    assert 5 < int(np.argmin(costs)) - 40 < 60  # the right camera sees everything further left


def test_highway_videos(tmp_path):
    videos = sorted((DATA / "highway").glob("*.mp4"))
    clips = ingest(tmp_path, *videos)
    assert len(clips) == 5
    assert sum(map(len, clips)) == 523
    assert {(clip.info.width, clip.info.height) for clip in clips} == {(960, 540), (1280, 720)}
    for clip in clips:
        assert np.diff(clip.info.stamps_ns).mean() == pytest.approx(40e6, rel=1e-3)
