"""Folders of images and videos become clips."""

from __future__ import annotations

import os
import struct

import cv2
import numpy as np
import pytest

from videocups.cli import main
from videocups.clips.source_hash import SAMPLE_BYTES, WHOLE_BELOW_BYTES, source_sha256
from videocups.clips.video import is_cut_mp4
from videocups_core.clip import Clip, find_clips

NS = 1_000_000_000


def picture(index: int, height: int = 48, width: int = 64) -> np.ndarray:
    rows, columns = np.mgrid[:height, :width]
    return np.stack([(columns * 3 + index * 9) % 200, rows * 4, np.full_like(rows, 90)], -1).astype(np.uint8)


@pytest.fixture
def folder(tmp_path):
    """Make a folder of numbered images."""

    def folder(name="image_2", count=6, suffix=".jpg", names=None):
        path = tmp_path / "drive" / name
        path.mkdir(parents=True)
        for index in range(count):
            stem = names[index] if names else str(index)  # 10 comes after 9
            cv2.imwrite(str(path / (stem + suffix)), picture(index)[..., ::-1])
        return path

    return folder


@pytest.fixture
def run(tmp_path, capsys):
    """Run ``videocups ingest … --out clips`` and return (status, clips, what was printed)."""

    def run(*arguments, out="clips"):
        status = main(["ingest", *map(str, arguments), "--out", str(tmp_path / out)])
        printed = capsys.readouterr()
        clips = [Clip(path) for path in find_clips(tmp_path / out)] if (tmp_path / out).exists() else []
        return status, clips, printed.out + printed.err

    return run


def test_jpeg_files_are_kept_as_they_are(folder, run):
    path = folder(count=12)
    status, (clip,), text = run(path, "--fps", 10)
    assert status == 0
    assert clip.info.name == "drive_image_2_0000"
    assert "clips have no intrinsics, which labels need; give --calibration FILE" in text
    assert clip.info.stamps_ns == tuple(i * NS // 10 for i in range(12))
    for i in range(12):
        assert clip.path("frames", i, ".jpg").read_bytes() == (path / f"{i}.jpg").read_bytes()


def test_an_exif_orientation_does_not_turn_the_frame(folder, run):
    """K is the sensor's; the bytes are kept, and reading them does not turn the picture."""
    path = folder(count=2)
    entry = struct.pack(">HHIHH", 0x0112, 3, 1, 6, 0)  # orientation: turn by 90 degrees
    exif = b"Exif\0\0MM\0*" + struct.pack(">IH", 8, 1) + entry + b"\0\0\0\0"
    for file in path.iterdir():
        data = file.read_bytes()
        file.write_bytes(data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data[2:])
    assert cv2.imread(str(path / "0.jpg")).shape[:2] == (64, 48)  # OpenCV would turn it
    _, (clip,), _ = run(path, "--fps", 10)
    assert (clip.info.width, clip.info.height) == (64, 48)
    assert clip.path("frames", 0, ".jpg").read_bytes() == (path / "0.jpg").read_bytes()
    assert np.abs(clip.frame_rgb(0).astype(int) - picture(0)).mean() < 4


def test_png_files(folder, run):
    path = folder(suffix=".png")
    _, (clip,), _ = run(path, "--fps", 10, "--png")
    assert clip.path("frames", 3, ".png").read_bytes() == (path / "3.png").read_bytes()
    _, (clip,), _ = run(path, "--fps", 10, out="jpeg")
    assert np.abs(clip.frame_rgb(3).astype(int) - picture(3)).mean() < 4


@pytest.mark.parametrize(
    ("file", "text", "expected"),
    [
        ("times.txt", "0.0\n1.036e-01\n2.070e-01\n", [0, 103_600_000, 207_000_000]),
        (
            "timestamps.txt",
            "2011-09-26 13:02:25.594360375\n2011-09-26 13:02:25.694360375\n2011-09-26 13:02:26.0\n",
            [1317042145594360375, 1317042145694360375, 1317042146000000000],
        ),
        ("times.txt", "1700000000000000001\n1700000000100000001\n1700000000200000001\n", None),
    ],
)
def test_stamps_beside_the_images(folder, run, file, text, expected):
    path = folder(count=3)
    (path / file).write_text(text)
    _, (clip,), _ = run(path)
    assert list(clip.info.stamps_ns) == (expected or [int(line) for line in text.split()])


def test_kitti_raw_layout_and_stamped_names(folder, run, tmp_path):
    path = folder("image_02/data", count=3)
    (path.parent / "timestamps.txt").write_text("".join(f"2011-09-26 13:02:2{i}.0\n" for i in range(3)))
    _, (clip,), _ = run(path.parent, "--max-gap", 2)
    assert clip.info.stamps_ns[0] == 1317042140 * NS
    names = [str(1403636579763555584 + i * 50_000_000) for i in range(3)]
    _, (clip,), _ = run(folder("cam0", count=3, names=names), out="euroc")
    assert clip.info.stamps_ns == tuple(map(int, names))


def test_stereo_folders(folder, run, tmp_path):
    left, right = folder("image_0"), folder("image_1")
    calibration = tmp_path / "calib.txt"
    calibration.write_text("P0: 60 0 32 0 0 60 24 0 0 0 1 0\nP1: 60 0 32 -30 0 60 24 0 0 0 1 0\n")
    arguments = (left, "--stereo-folder", right, "--fps", 10, "--calibration", calibration)
    _, (clip,), _ = run(*arguments)
    assert clip.info.stereo_baseline_m == 0.5
    assert clip.info.camera.fx == 60
    assert clip.path("frames_right", 2, ".jpg").read_bytes() == (right / "2.jpg").read_bytes()
    (right / "4.jpg").unlink()
    status, _, text = run(*arguments, out="other")
    assert status == 1
    assert "no right image for 4.jpg" in text


def test_windows_of_folders(folder, run):
    _, (clip,), _ = run(folder(count=10), "--fps", 10, "--start", 0.2, "--end", 0.5)
    assert clip.info.stamps_ns == (200_000_000, 300_000_000, 400_000_000)


def test_damaged_images_are_told(folder, run):
    path = folder()
    data = (path / "2.jpg").read_bytes()
    (path / "2.jpg").write_bytes(data[: len(data) // 2])
    status, (clip,), text = run(path, "--fps", 10)
    assert status == 3
    assert clip.info.stamps_ns == tuple(i * NS // 10 for i in (0, 1, 3, 4, 5))
    assert "broken 1 × JPEG of" in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "have no stamps; give --fps RATE or --stamps FILE"),
        (["--fps", "0"], "--fps must be above 0"),
        (["--stamps", "STAMPS"], "holds 2 stamps for 6 images"),
        (["--stamps", "/nothing"], "cannot read stamps"),
        (["--fps", "10", "--topic", "/cam"], "is no bag"),
        (["--fps", "10", "--calibration", "CALIBRATION"], "is for 640×480 px but the images are 64×48"),
        (["--fps", "10", "--stereo-folder", "/nothing"], "is no folder"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(folder, run, tmp_path, arguments, words):
    (tmp_path / "stamps").write_text("0.1\n0.2\n")
    (tmp_path / "k.yaml").write_text("{fx: 400, fy: 400, cx: 320, cy: 240, width: 640, height: 480}")
    places = {"STAMPS": tmp_path / "stamps", "CALIBRATION": tmp_path / "k.yaml"}
    status, _, text = run(folder(), *(places.get(argument, argument) for argument in arguments))
    assert status == 1
    assert words in text
    assert len(text.strip().splitlines()) == 1
    assert not (tmp_path / "clips").exists()


def test_what_is_no_source(tmp_path, run):
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    for name, words in {
        "empty": "holds no image",
        "notes.txt": "is no bag, no video",
        "bad.mp4": "cannot open",
    }.items():
        status, _, text = run(tmp_path / name, "--fps", 10)
        assert status == 1
        assert words in text


@pytest.fixture
def video(tmp_path):
    path = tmp_path / "drive.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 25, (64, 48))
    for index in range(30):
        writer.write(picture(index)[..., ::-1])
    writer.release()
    return path


def test_video(video, run):
    status, (clip,), _ = run(video, "--rate", 12.5)
    assert status == 0
    assert clip.info.stamps_ns == tuple(i * 80_000_000 for i in range(15))
    assert np.abs(clip.frame_rgb(7).astype(int) - picture(14)).mean() < 12  # a lossy codec
    _, (clip,), _ = run(video, "--fps", 10, "--start", 1, out="other")
    assert clip.info.stamps_ns[0] == NS


def test_cut_videos_are_noticed(video, tmp_path):
    assert not is_cut_mp4(video)
    data = video.read_bytes()
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(data[:-20])
    assert is_cut_mp4(cut)
    moov = struct.pack(">I4s", 16, b"ftyp") + b"isom0000" + struct.pack(">I4s", 5000, b"mdat") + b"0" * 100
    cut.write_bytes(moov)
    assert is_cut_mp4(cut)
    cut.write_bytes(b"RIFF" + data)
    assert not is_cut_mp4(cut)


def test_the_hash_notices_growth_and_change(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"a" * 1000)
    small = source_sha256([path])
    path.write_bytes(b"a" * 999 + b"b")
    assert source_sha256([path]) != small
    with path.open("wb") as file:
        file.truncate(WHOLE_BELOW_BYTES + 10 * SAMPLE_BYTES)
    large = source_sha256([path])
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"x")
    assert source_sha256([path]) != large
