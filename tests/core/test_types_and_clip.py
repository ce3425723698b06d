"""The contract types refuse what they must, and a clip folder gives back what was written."""

from __future__ import annotations

import json
import os

import cv2
import numpy as np
import pytest

from videocups_core.clip import (
    Clip,
    ClipInfo,
    ClipSource,
    find_clips,
    read_clip_info,
    write_atomically,
    write_clip_info,
)
from videocups_core.types import CameraModel, ClassInfo, PanopticFrame, Segment, SegmentState

K = (50.0, 0.0, 4.0, 0.0, 50.0, 3.0, 0.0, 0.0, 1.0)
CAMERA = CameraModel(8, 6, K, "plumb_bob", (0.1, 0.0, 0.0, 0.0))
INFO = ClipInfo(
    "drive",
    "front",
    8,
    6,
    (10, 20, 30),
    camera=CAMERA,
    source=ClipSource("a.mcap", "ff", "/image"),
    stereo_baseline_m=0.5,
    ego_speed_mps=(1.0, 2.0, 3.0),
    image_suffix=".png",
)
IDS = np.array([[0, 4], [9, 9]], np.uint16)
ROWS = (Segment(4, 1, False), Segment(9, 2, True, 77))


def test_frame_maps():
    frame = PanopticFrame(1, IDS, ROWS)
    assert (frame.width, frame.height) == (2, 2)
    assert frame.class_map().tolist() == [[255, 1], [2, 2]]
    assert frame.track_map().tolist() == [[0, 0], [77, 77]]
    assert frame.segment(9) is ROWS[1]
    with pytest.raises(KeyError):
        frame.segment(5)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: ClassInfo(255, "x", False, (0, 0, 0)), "255 is void"),
        (lambda: ClassInfo(-1, "x", False, (0, 0, 0)), r"0\.\.254"),
        (lambda: ClassInfo(1, "", False, (0, 0, 0)), "empty name"),
        (lambda: ClassInfo(1, "x", False, (0, 0, 256)), r"0\.\.255"),
        (lambda: Segment(0, 1, False), "0 is void"),
        (lambda: Segment(65_536, 1, False), r"1\.\.65535"),
        (lambda: Segment(1, 255, False), r"0\.\.254"),
        (lambda: Segment(1, 1, True), "a thing needs a track_id"),
        (lambda: Segment(1, 1, False, 5), "stuff has track_id 0"),
        (lambda: Segment(1, 1, False, 0, ignore=True, score=1.1), "score of segment 1"),
        (lambda: Segment(1, 1, True, 2, float("nan")), "score of segment 1"),
        (lambda: Segment(1, 1, True, 1 << 64), r"2\^64-1"),
        (lambda: Segment(1, 1, True, -1, ignore=True), "track_id"),
        (lambda: PanopticFrame(0, IDS.astype(np.int32), ROWS), "uint16"),
        (lambda: PanopticFrame(0, IDS[0], ROWS), r"\(H, W\)"),
        (lambda: PanopticFrame(0, IDS, (*ROWS, ROWS[0])), "same segment_id twice"),
        (lambda: CameraModel(0, 6, K), "at least 1×1"),
        (lambda: CameraModel(8, 6, K[:8]), "9 values"),
        (lambda: CameraModel(8, 6, (float("nan"), *K[1:])), "finite"),
        (lambda: CameraModel(8, 6, (0.0, *K[1:])), "is the camera calibrated"),
        (lambda: CameraModel(8, 6, (*K[:8], 0.0)), "row-major"),
        (lambda: CameraModel(8, 6, K, "brown"), "'brown'"),
        (lambda: CameraModel(8, 6, K, "plumb_bob", (0.1,)), "needs 4 or 5 distortion values, got 1"),
    ],
)
def test_types_refuse_what_breaks_the_contract(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_a_crowd_is_a_thing_without_a_track():
    crowd = Segment(1, 1, True, ignore=True)
    assert (crowd.track_id, crowd.state) == (0, SegmentState.TRACKED)


def test_clip_info_round_trip(tmp_path):
    write_clip_info(tmp_path, INFO)
    assert read_clip_info(tmp_path) == INFO
    bare = ClipInfo("bare", "front", 8, 6, ())
    write_clip_info(tmp_path, bare)
    assert read_clip_info(tmp_path) == bare
    assert [path.name for path in tmp_path.iterdir()] == ["clip.json"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda raw: raw.update(schema_version=2), "schema_version 2, this program reads 1"),
        (lambda raw: raw.pop("schema_version"), "schema_version"),
        (lambda raw: raw.update(stamps_ns=[1, 1]), "must increase strictly"),
        (lambda raw: raw.update(stamps_ns=[1, 2.5, 3]), "whole nanoseconds"),
        (lambda raw: raw.update(stamps_ns=None), "cannot be used"),
        (lambda raw: raw.pop("schema_version"), "it lacks 'schema_version'"),
        (lambda raw: raw.pop("name"), "name"),
        (lambda raw: raw.update(colour=1), "colour"),
        (lambda raw: raw.update(width=9), "calibration is for"),
        (lambda raw: raw.update(ego_speed_mps=[1.0]), "3 frames but 1 ego speeds"),
        (lambda raw: raw["camera"].update(k=[1, 2]), "9 values"),
        (lambda raw: raw["camera"].pop("k"), "'k'"),
        (lambda raw: raw.update(camera=3), "cannot be used"),
        (lambda raw: raw.update(source={"path": 1, "x": 2}), "'x'"),
    ],
)
def test_damaged_clip_info_is_named(tmp_path, change, words):
    write_clip_info(tmp_path, INFO)
    raw = json.loads((tmp_path / "clip.json").read_text())
    change(raw)
    (tmp_path / "clip.json").write_text(json.dumps(raw))
    with pytest.raises(ValueError, match=words):
        read_clip_info(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '"x"'])
def test_what_is_no_clip_info_is_named(tmp_path, text):
    (tmp_path / "clip.json").write_text(text)
    with pytest.raises(ValueError, match=r"clip\.json cannot be used"):
        read_clip_info(tmp_path)


def test_clip_reads_frames_as_rgb(tmp_path):
    write_clip_info(tmp_path, INFO)
    rgb = np.random.default_rng(0).integers(0, 256, (6, 8, 3)).astype(np.uint8)
    for folder, image in (("frames", rgb), ("frames_right", 255 - rgb)):
        (tmp_path / folder).mkdir()
        cv2.imwrite(str(tmp_path / folder / "000001.png"), image[..., ::-1])
    clip = Clip(tmp_path)
    assert len(clip) == 3
    np.testing.assert_array_equal(clip.frame_rgb(1), rgb)
    np.testing.assert_array_equal(clip.frame_rgb(1, right=True), 255 - rgb)
    assert clip.path("flow", 12, ".npz") == tmp_path / "flow" / "000012.npz"
    with pytest.raises(FileNotFoundError, match=r"000002\.png"):
        clip.frame_rgb(2)


def test_find_clips(tmp_path):
    for name in ("b", "a/deep"):
        (tmp_path / name).mkdir(parents=True)
        write_clip_info(tmp_path / name, INFO)
    assert find_clips(tmp_path) == [tmp_path / "a/deep", tmp_path / "b"]
    assert find_clips(tmp_path / "b") == [tmp_path / "b"]
    (tmp_path / "none").mkdir()
    with pytest.raises(FileNotFoundError, match="make clips with 'videocups ingest'"):
        find_clips(tmp_path / "none")
    with pytest.raises(FileNotFoundError, match="is no clip"):
        Clip(tmp_path / "none")


def test_a_failed_write_keeps_the_old_file_and_leaves_no_half(tmp_path, monkeypatch):
    target = tmp_path / "sub" / "file.bin"
    write_atomically(target, b"old")

    def full_disk(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(target, b"new")
    assert target.read_bytes() == b"old"
    assert [path.name for path in target.parent.iterdir()] == ["file.bin"]
