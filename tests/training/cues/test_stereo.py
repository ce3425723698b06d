from __future__ import annotations

import cv2
import numpy as np
import pytest

from videocups.cues.stereo import StereoConfig, clip_depth_m, stereo_depth_m
from videocups.synthetic import World, WorldConfig, read_truth, write_clip
from videocups_core.clip import Clip


def pair(shift):
    noise = np.random.default_rng(0).integers(0, 255, (80, 200 + 64, 3)).astype(np.uint8)
    wide = cv2.GaussianBlur(noise, (0, 0), 1.0)
    return wide[:, 64 - shift : 264 - shift], wide[:, 64:264]


def test_disparity_becomes_metres():
    left, right = pair(12)  # a point at column x in the left is at x − 12 in the right
    depth = stereo_depth_m(left, right, focal_px=600.0, baseline_m=0.5, config=StereoConfig(max_disparity_px=32))
    inner = depth[10:-10, 40:-10]
    assert (inner > 0).mean() > 0.95
    assert np.median(inner) == pytest.approx(600 * 0.5 / 12, rel=0.01)


@pytest.mark.parametrize("change", [{"max_disparity_px": 40}, {"window_px": 4}])
def test_what_the_matcher_cannot_do_is_refused(change):
    with pytest.raises(ValueError, match="stereo"):
        StereoConfig(**change)


def test_pairs_that_are_none_are_refused():
    left, right = pair(4)
    with pytest.raises(ValueError, match="one size"):
        stereo_depth_m(left, right[:, :-2], 600.0, 0.5)
    with pytest.raises(ValueError, match="baseline"):
        stereo_depth_m(left, right, 600.0, 0.0)


def test_a_rendered_stereo_clip_gives_its_true_depth(tmp_path):
    world = World(WorldConfig(seed=3, num_frames=1, height=192, width=384, stereo_baseline_m=0.5))
    clip = Clip(write_clip(world, tmp_path / "clip"))
    depth, truth = clip_depth_m(clip, 0), read_truth(clip.folder, 0).depth_m
    near = (truth > 0) & (truth < 20)  # farther than this a pixel of disparity is more than 15 %
    both = near & (depth > 0)
    assert both.sum() > 0.5 * near.sum()
    assert np.median(np.abs(depth - truth)[both] / truth[both]) < 0.03


def test_a_clip_of_one_camera_is_refused_with_the_way_out(tmp_path):
    world = World(WorldConfig(seed=3, num_frames=1, height=96, width=192))
    with pytest.raises(ValueError, match="--stereo-topic"):
        clip_depth_m(Clip(write_clip(world, tmp_path / "clip")), 0)
