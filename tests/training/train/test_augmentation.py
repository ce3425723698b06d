"""Both frames of a pair and their labels are changed alike."""

from __future__ import annotations

import numpy as np
import pytest

from videocups.train.augmentation import (
    Colors,
    View,
    batch_size_px,
    draw_colors,
    draw_view,
    recolored,
    seen_image,
    seen_labels,
    working_height,
)
from videocups.train.pair import FrameLabels
from videocups.train.panoptic_config import AugmentConfig, PairConfig


def test_labels_follow_the_image():
    rng = np.random.default_rng(0)
    marks = rng.integers(1, 5, (12, 20)).astype(np.uint8)
    image = np.repeat(marks[..., None] * 50, 3, axis=2)
    labels = FrameLabels(marks, marks.astype(np.uint16), (1, 2, 3, 4), (0, 0, 0, 0))
    for view in (View(3, 2, 10, 5, False), View(3, 2, 10, 5, True)):
        seen, known = seen_image(image, view, (10, 5)), seen_labels(labels, view, (10, 5))
        expected = marks[2:7, 3:13][:, :: -1 if view.mirrored else 1]
        assert (known.semantic == expected).all()
        assert (known.objects == expected).all()
        assert (seen[..., 0] == expected * 50).all()
    doubled = seen_labels(labels, View(3, 2, 10, 5, False), (20, 10))
    assert (doubled.semantic == marks[2:7, 3:13].repeat(2, 0).repeat(2, 1)).all()


def test_views_have_the_targets_shape_and_area():
    config = AugmentConfig(crop_area=(0.7, 1.0))
    rng = np.random.default_rng(1)
    views = [draw_view((300, 1000), (128, 256), config, rng) for _ in range(300)]
    for view in views:
        assert view.left >= 0
        assert view.top >= 0
        assert view.left + view.width <= 1000
        assert view.top + view.height <= 300
        assert view.width / view.height == pytest.approx(2, rel=0.02)
        assert 0.69 < view.width * view.height / (300 * 600) < 1.01
    assert {view.mirrored for view in views} == {True, False}
    assert max(view.left for view in views) > 400


def test_whole_frames_are_seen_where_nothing_is_cut():
    view = draw_view((128, 256), (64, 128), AugmentConfig(crop_area=(1, 1), flip=0), np.random.default_rng(0))
    assert view == View(0, 0, 256, 128, False)


def test_sizes_of_batches_are_the_papers():
    sizes = {batch_size_px(PairConfig(), AugmentConfig(), np.random.default_rng(seed)) for seed in range(300)}
    assert min(sizes) == (384, 768)
    assert max(sizes) == (704, 1408)
    assert all(height % 32 == width % 32 == 0 for height, width in sizes)
    assert working_height(PairConfig(), AugmentConfig()) == 842


def test_colors_change_both_frames_alike():
    images = np.random.default_rng(0).integers(0, 255, (1, 16, 16, 3)).astype(np.uint8).repeat(2, axis=0)
    changed = recolored(images, Colors(1.2, 0.8, 0.5, 0.1, 1.0))
    assert (changed[0] == changed[1]).all()
    assert (changed != images).any()
    assert (recolored(images, Colors()) == images).all()


def test_each_change_of_colors_does_what_it_says():
    red = np.full((2, 4, 4, 3), (200, 40, 40), np.uint8)
    assert recolored(red, Colors(brightness=0.5))[0, 0, 0].tolist() == [100, 20, 20]
    # grey 0.299·200 + 0.701·40 = 87.84
    assert recolored(red, Colors(saturation=0.0))[0, 0, 0].tolist() == [88, 88, 88]
    # a third of the circle: red becomes green
    assert recolored(red, Colors(hue=1 / 3))[0, 0, 0].tolist() == [40, 200, 40]
    halves = red.copy()
    halves[1] = 0
    # mean (200 + 40 + 40) / 6 = 46.67 of both frames: 46.67 + (200 − 46.67) / 2
    assert recolored(halves, Colors(contrast=0.5))[:, 0, 0, 0].tolist() == [123, 23]
    edge = np.zeros((2, 1, 9, 3), np.uint8)
    edge[:, :, 5:] = 255
    blurred = recolored(edge, Colors(blur_sigma_px=1.0))[0, 0, :, 0]
    assert (np.diff(blurred.astype(int)) >= 0).all()
    assert 0 < blurred[4] < blurred[5] < 255


def test_draws_hang_on_the_generator_alone():
    config = AugmentConfig()
    first, again = (draw_colors(config, np.random.default_rng(5)) for _ in range(2))
    assert first == again
    still = AugmentConfig(blur=0, jitter=0, grey=0)
    assert draw_colors(still, np.random.default_rng(5)) == Colors()
    greys = [draw_colors(config, np.random.default_rng(seed)).saturation == 0 for seed in range(500)]
    assert np.mean(greys) == pytest.approx(config.grey, abs=0.06)
