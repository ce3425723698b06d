"""Depth and pose give the flow of what stands still: checked on the rendered world's truth."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from videocups.cues.dynamo.geometry import (
    back_project,
    inverse_motion,
    moved,
    pixel_rays,
    project,
    rigid_flow,
    rigid_motion,
)
from videocups.cues.learned.sampling import pixel_grid
from videocups.synthetic import World, WorldConfig, write_clip
from videocups.train.clip_windows import ClipWindows, jittered, mirrored_intrinsics, scaled_intrinsics
from videocups.train.settings import WindowConfig
from videocups_core.clip import read_clip_info, write_clip_info

K = torch.tensor([[[100.0, 0, 31.5], [0, 110, 23.5], [0, 0, 1]]], dtype=torch.float64)


def test_points_and_pixels_are_each_others_way_back():
    depth = torch.rand(1, 1, 48, 64, dtype=torch.float64) * 20 + 1
    points = back_project(depth, pixel_rays(K, 48, 64))
    assert torch.equal(points[:, 2:], depth)
    torch.testing.assert_close(project(points, K)[0], pixel_grid(48, 64, depth))
    # column 41.5 is 10 px right of the centre: x = 10/100 of the depth
    assert float(pixel_rays(K + 0, 48, 64)[0, 0, 0, 41]) == pytest.approx(9.5 / 100)


def test_points_behind_the_camera_stay_finite():
    points = torch.tensor([0.5, 0.5, -1.0]).double().view(1, 3, 1, 1)
    assert torch.isfinite(project(points, K)).all()


def test_rigid_motion_is_rodrigues_and_has_a_way_back():
    turn, shift = torch.tensor([[0.1, -0.3, 0.2]]).double(), torch.tensor([[1.0, 2, 3]]).double()
    motion = rigid_motion(turn, shift)
    np.testing.assert_allclose(motion[0, :3, :3], cv2.Rodrigues(turn.numpy())[0], atol=1e-12)
    torch.testing.assert_close(inverse_motion(motion) @ motion, torch.eye(4, dtype=torch.float64)[None])
    points = torch.rand(1, 3, 2, 2, dtype=torch.float64)
    torch.testing.assert_close(moved(moved(points, motion), inverse_motion(motion)), points)


@pytest.mark.parametrize(("seed", "scenario"), [(5, "turn"), (9, "drive")])
def test_rigid_flow_is_the_true_flow_of_the_static_world(seed, scenario):
    world = World(WorldConfig(seed=seed, num_frames=40, height=96, width=192, scenario=scenario))
    frame = world.frame(30)
    motion = np.linalg.inv(world.camera_to_world(31)) @ frame.camera_to_world
    depth = torch.from_numpy(frame.depth_m).double()[None, None]
    flow = rigid_flow(depth, torch.from_numpy(world.camera.matrix())[None], torch.from_numpy(motion)[None])
    static = (frame.depth_m > 0) & (frame.track_map == 0) & np.isfinite(frame.flow_fw_px).all(-1)
    error = np.linalg.norm(flow[0].permute(1, 2, 0).numpy() - frame.flow_fw_px, axis=-1)[static]
    assert static.mean() > 0.3
    assert np.linalg.norm(frame.flow_fw_px, axis=-1)[static].max() > 3
    assert error.max() <= 0.05


def test_intrinsics_follow_resizing_and_mirroring():
    """A point's place in the resized and in the mirrored image is where the changed K sees it."""
    k = K[0].numpy()
    point = np.array([0.2, -0.1, 2.0])
    column, row = (k @ point / point[2])[:2]
    small = scaled_intrinsics(k, (0.5, 0.25)) @ point / point[2]
    np.testing.assert_allclose(small[:2], [(column + 0.5) * 0.5 - 0.5, (row + 0.5) * 0.25 - 0.5])
    mirrored = mirrored_intrinsics(K, 64)[0].numpy() @ (point * [-1, 1, 1]) / point[2]
    np.testing.assert_allclose(mirrored[:2], [63 - column, row])


def test_windows_are_resized_frames_in_a_row(clip, world):
    windows = ClipWindows([clip], 3, WindowConfig(height=32, width=64, gap=2, cache_mib=0), need_camera=True)
    assert len(windows) == 2  # frames 0 2 4 and 1 3 5
    frames = windows.frames(1)
    assert frames.shape == (3, 3, 32, 64)
    expected = cv2.resize(world.frame(3).rgb, (64, 32), interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal((frames[1] * 255).round().byte().permute(1, 2, 0).numpy(), expected)
    np.testing.assert_allclose(windows.intrinsics(0)[0, 0], world.camera.fx / 2, rtol=1e-6)
    cached = ClipWindows([clip], 3, WindowConfig(height=32, width=64, gap=2), need_camera=True)
    assert torch.equal(cached.frames(1), frames)
    assert torch.equal(cached.frames(1), frames)


def test_jitter_changes_all_frames_alike():
    config = WindowConfig(jitter=1)
    frame = torch.rand(1, 3, 8, 8) * 0.6 + 0.2
    changed = jittered(frame.repeat(3, 1, 1, 1), config, np.random.default_rng(0))
    assert torch.equal(changed[0], changed[2])
    assert not torch.allclose(changed[0], frame[0])
    assert changed.min() >= 0
    assert changed.max() <= 1
    untouched = jittered(frame, replace(config, jitter=0), np.random.default_rng(0))
    assert torch.equal(untouched, frame)


def test_clips_without_what_depth_needs(clip, tmp_path):
    info = read_clip_info(clip)
    (tmp_path / "a").mkdir()
    write_clip_info(tmp_path / "a", replace(info, camera=None))
    with pytest.raises(ValueError, match="has no calibration, which depth needs"):
        ClipWindows([tmp_path / "a"], 3, WindowConfig(), need_camera=True)
    bent = replace(info.camera, distortion_model="plumb_bob", distortion=(0.1, 0.0, 0.0, 0.0))
    write_clip_info(tmp_path / "a", replace(info, camera=bent))
    with pytest.raises(ValueError, match=r"distorted .*--undistort"):
        ClipWindows([tmp_path / "a"], 3, WindowConfig(), need_camera=True)
    with pytest.raises(ValueError, match="at least 9 frames"):
        ClipWindows([clip], 3, WindowConfig(gap=4), need_camera=True)


def test_a_rendered_clip_is_read_as_it_was_written(tmp_path):
    world = World(WorldConfig(seed=6, num_frames=3, height=32, width=64))
    folder = write_clip(world, tmp_path / "clip", image_suffix=".png")
    frames = ClipWindows([folder], 3, WindowConfig(height=32, width=64), need_camera=True).frames(0)
    np.testing.assert_array_equal((frames[2] * 255).round().byte().permute(1, 2, 0).numpy(), world.frame(2).rgb)
