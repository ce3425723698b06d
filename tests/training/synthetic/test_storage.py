from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from videocups.cli import main
from videocups.synthetic import World, WorldConfig, iter_frames, read_truth, write_clip
from videocups.synthetic.storage import decode_flow, encode_depth, encode_flow
from videocups_core.clip import Clip

CONFIG = WorldConfig(seed=4, num_frames=3, height=64, width=128, stereo_baseline_m=0.4)


@pytest.fixture(scope="module")
def world() -> World:
    return World(CONFIG)


@pytest.fixture(scope="module")
def folder(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(world, tmp_path_factory.mktemp("clips") / "street", image_suffix=".png")


def test_a_clip_reads_back_as_it_was_rendered(world: World, folder: Path) -> None:
    clip = Clip(folder)
    assert clip.info.camera == world.camera
    assert clip.info.stereo_baseline_m == 0.4
    assert len(clip) == 3
    for frame in iter_frames(world):
        assert clip.info.stamps_ns[frame.index] == frame.stamp_ns
        np.testing.assert_array_equal(clip.frame_rgb(frame.index), frame.rgb)
        np.testing.assert_array_equal(clip.frame_rgb(frame.index, right=True), frame.right_rgb)


def test_truth_reads_back_within_its_coding(world: World, folder: Path) -> None:
    for frame in iter_frames(world):
        truth = read_truth(folder, frame.index)
        np.testing.assert_array_equal(truth.class_map, frame.class_map)
        np.testing.assert_array_equal(truth.track_map, frame.track_map)
        np.testing.assert_array_equal(truth.occluded_fw, frame.occluded_fw)
        np.testing.assert_array_equal(truth.occluded_bw, frame.occluded_bw)
        np.testing.assert_array_equal(truth.camera_to_world, frame.camera_to_world)
        assert truth.moving_tracks == frame.moving_tracks
        near = frame.depth_m < 255.0
        np.testing.assert_allclose(truth.depth_m[near], frame.depth_m[near], atol=0.5 / 256 + 1e-4)
        for coded, exact in ((truth.flow_fw_px, frame.flow_fw_px), (truth.flow_bw_px, frame.flow_bw_px)):
            small = np.abs(np.nan_to_num(exact, nan=1e6)).max(axis=2) < 511
            np.testing.assert_allclose(coded[small], exact[small], atol=0.5 / 64 + 1e-4)
            assert np.isnan(coded[np.isnan(exact)]).all()


def test_files_are_what_other_programs_expect(world: World, folder: Path) -> None:
    flow = cv2.imread(str(folder / "truth/flow/000001.png"), cv2.IMREAD_UNCHANGED)
    depth = cv2.imread(str(folder / "truth/depth/000001.png"), cv2.IMREAD_UNCHANGED)
    assert flow.dtype == depth.dtype == np.uint16
    u = (float(flow[40, 64, 2]) - 32768) / 64  # OpenCV reads blue first, so red is last
    assert u == pytest.approx(float(world.frame(1).flow_fw_px[40, 64, 0]), abs=0.01)
    table = json.loads((folder / "truth/truth.json").read_text())
    assert table["classes"]["6"] == "car"
    assert table["thing_classes"] == [6, 7, 8, 9, 10]
    assert len(table["camera_to_world"]) == 3
    assert set(table["moving_tracks"]) == {"0", "1", "2"}


def test_flow_coding_marks_what_it_cannot_hold() -> None:
    flow = np.array([[[0.0, 0.0], [-512.0, 3.25], [511.9, -1.5], [600.0, 0.0], [np.nan, np.nan]]], dtype=np.float32)
    coded = encode_flow(flow)
    assert coded[0, :, 0].tolist() == [1, 1, 1, 0, 0]
    assert coded[0, 0].tolist() == [1, 32768, 32768]
    assert coded[0, 1].tolist() == [1, 32768 + 208, 0]
    back = decode_flow(coded)
    np.testing.assert_allclose(back[0, :3], flow[0, :3], atol=1 / 128)
    assert np.isnan(back[0, 3:]).all()


def test_depth_coding_keeps_sky_apart() -> None:
    depth = np.array([[0.0, 0.001, 1.0, 300.0]], dtype=np.float32)
    assert encode_depth(depth).tolist() == [[0, 1, 256, 65535]]


def test_a_failing_render_leaves_nothing(world: World, tmp_path: Path) -> None:
    def fail(done: int, total: int) -> None:
        if done == 2:
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        write_clip(world, tmp_path / "street", fail)
    assert list(tmp_path.iterdir()) == []


def test_an_existing_folder_is_not_touched(world: World, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="give another folder"):
        write_clip(world, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_the_command_renders_a_clip(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "clip"
    status = main(["render", "--out", str(out), "--seed", "7", "--frames", "2", "--size", "96x48", "--stereo", "0.5"])
    assert status == 0
    assert "2 frames of 96×48 px" in capsys.readouterr().out
    clip = Clip(out)
    assert clip.frame_rgb(1).shape == (48, 96, 3)
    assert (out / "frames_right/000001.jpg").is_file()
    assert read_truth(out, 1).class_map.shape == (48, 96)


@pytest.mark.parametrize(
    ("arguments", "fix"),
    [
        (["--size", "512"], "must look like 512x256"),
        (["--frames", "0"], "num_frames must be >= 1"),
        (["--seed", "-3"], "seed must be >= 0"),
    ],
)
def test_bad_arguments_get_one_sentence(
    arguments: list[str], fix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["render", "--out", str(tmp_path / "clip"), *arguments]) == 1
    assert fix in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_truth_that_is_not_there_says_how_to_make_it(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(FileNotFoundError, match="videocups render"):
        read_truth(tmp_path, 0)
    with pytest.raises(IndexError, match=r"0\.\.2"):
        read_truth(folder, 3)
