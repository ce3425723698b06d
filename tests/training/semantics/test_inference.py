from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from videocups.semantics.inference import (
    InferenceConfig,
    SemanticModel,
    depth_scale,
    fused_log_probs,
    fusion_weight,
    predict,
    predict_all,
    resize_map,
    window_starts,
    windowed_log_probs,
)
from videocups.semantics.kmeans import Clusters, KMeansConfig

PLAIN = InferenceConfig(flip=False, crf=False)


def model(codes, windowed=True):
    """Two clusters: (1, 0) and (0, 1)."""
    centers = np.eye(2, dtype=np.float32)
    clusters = Clusters(centers, np.zeros(2, np.float32), np.ones(2, np.float32), 1.0, KMeansConfig(metric="cosine"))
    return SemanticModel(codes, clusters, windowed)


def size_codes(rgb):
    """Codes that tell how large the image was: below 20 px high class 0, else class 1."""
    code = np.array([1, 0] if rgb.shape[0] < 20 else [0, 1], np.float32)
    return np.broadcast_to(code, (4, 4, 2)).copy()


def brightness_codes(rgb):
    bright = (rgb[..., 0] > 127).astype(np.float32)
    return np.stack([1 - bright, bright], axis=2)


def test_fusion_follows_equation_2():
    log_low = model(size_codes).clusters.log_probs(np.array([1, 0], np.float32))  # 16 px high
    log_high = model(size_codes).clusters.log_probs(np.array([0, 1], np.float32))  # 32 px high
    depth = np.full((32, 48), 3.0, np.float32)
    depth[:, 10] = np.inf
    config = InferenceConfig(flip=False, crf=False, window=1.0)
    fused = fused_log_probs([np.zeros((32, 48, 3), np.uint8)], model(size_codes), [depth], config)[0]
    np.testing.assert_allclose(fused[0, 0], 0.25 * log_low + 0.75 * log_high, atol=1e-6)  # 1 / (3 + 1)
    np.testing.assert_allclose(fused[5, 10], log_high, atol=1e-6)


def test_weight_is_one_at_the_camera_and_none_where_depth_is_unknown():
    depth = np.array([[0, 1, 15, np.inf, np.nan]], np.float32)
    np.testing.assert_allclose(fusion_weight(depth), [[1, 0.5, 1 / 16, 0, 0]])


def test_windows_cover_the_image_and_overlap_softly():
    assert list(window_starts(640, 320, 160)) == [0, 160, 320]
    assert list(window_starts(100, 40, 30)) == [0, 30, 60]
    assert list(window_starts(90, 40, 30)) == [0, 30, 50]
    assert list(window_starts(40, 40, 10)) == [0]
    assert list(window_starts(50, 20, 99)) == [0, 20, 30]  # no gaps

    calls = []

    def counting(rgb):
        calls.append(rgb.shape)
        left = np.array([1, 0] if len(calls) % 2 else [0, 1], np.float32)  # windows disagree in turn
        return np.broadcast_to(left, (*rgb.shape[:2], 2)).copy()

    config = InferenceConfig(flip=False, crf=False, window=1.0, stride=0.5)
    found = windowed_log_probs([np.zeros((16, 24, 3), np.uint8)], model(counting), config)[0]
    assert calls == [(16, 16, 3)] * 2
    first, second = found[0, 0], found[0, -1]
    np.testing.assert_allclose(found[0, 12], (first + second) / 2, atol=1e-6)


def test_flip_averages_codes_of_the_mirror_image():
    def left_is_one(rgb):
        codes = np.zeros((*rgb.shape[:2], 2), np.float32)
        codes[:, :4, 0] = 1
        codes[:, 4:, 1] = 1
        return codes

    config = InferenceConfig(guided=False, crf=False, low_scale=1.0)
    found = fused_log_probs([np.zeros((8, 8, 3), np.uint8)], model(left_is_one), [None], config)[0]
    np.testing.assert_allclose(found, np.log(0.5), atol=1e-6)


def test_features_that_know_the_row_see_the_whole_image():
    shapes = []

    def codes(rgb):
        shapes.append(rgb.shape[:2])
        return brightness_codes(rgb)

    predict(np.zeros((32, 64, 3), np.uint8), model(codes, windowed=False), np.ones((32, 64), np.float32), PLAIN)
    assert shapes == [(16, 32), (32, 64)]


def test_prediction_with_the_field_keeps_sharp_borders():
    rgb = np.zeros((48, 64, 3), np.uint8)
    rgb[:, 30:] = 220
    labels = predict(rgb, model(brightness_codes), np.full((48, 64), 10, np.float32), InferenceConfig())
    assert labels.dtype == np.uint8
    np.testing.assert_array_equal(labels, np.broadcast_to(np.arange(64) >= 30, (48, 64)))


@pytest.mark.parametrize("windowed", [True, False])
def test_several_images_are_seen_in_few_calls_and_as_alone(windowed):
    calls = []

    def codes_of_all(images):
        calls.append(len(images))
        return [brightness_codes(rgb) for rgb in images]

    rng = np.random.default_rng(0)
    images = [cv2.resize(rng.integers(0, 255, (6, 8, 3), np.uint8), (64, 48)) for _ in range(3)]
    depths = [np.full((48, 64), depth, np.float32) for depth in (3, 10, np.inf)]
    alone = model(brightness_codes, windowed=windowed)
    found = predict_all(images, replace(alone, codes_of_all=codes_of_all), depths)
    # with mirror images: 3 coarse ones, and 3 times 15 windows, of which 5 make up an image
    assert calls == ([6, 30, 30, 30] if windowed else [3, 3])
    for labels, rgb, depth in zip(found, images, depths, strict=True):
        np.testing.assert_array_equal(labels, predict(rgb, alone, depth))
        assert labels.min() != labels.max()


def test_depth_is_brought_to_metres():
    depths = [np.array([[1, 2], [3, np.nan]], np.float32), np.array([[np.inf, 0]], np.float32)]
    assert depth_scale(depths, InferenceConfig()) == pytest.approx(15 / 2)
    assert depth_scale(depths, InferenceConfig(), camera_height=0.5) == pytest.approx(3.0)
    with pytest.raises(ValueError, match="guided: false"):
        depth_scale([np.zeros((2, 2), np.float32)], InferenceConfig())
    with pytest.raises(ValueError, match="must be > 0"):
        depth_scale(depths, InferenceConfig(), camera_height=0)


def test_guided_inference_asks_for_depth():
    with pytest.raises(ValueError, match="guided: false"):
        predict(np.zeros((8, 8, 3), np.uint8), model(brightness_codes), None, PLAIN)


def test_maps_of_many_channels_are_resized():
    field = np.random.default_rng(0).random((4, 6, 600)).astype(np.float32)
    assert resize_map(field, 8, 12).shape == (8, 12, 600)
    np.testing.assert_array_equal(resize_map(field, 4, 6), field)
