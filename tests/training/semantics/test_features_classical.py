from __future__ import annotations

import time

import numpy as np
import pytest

from videocups.semantics.features_classical import ClassicalFeatures, ClassicalFeaturesConfig

EXTRACTOR = ClassicalFeatures()
COLOR, GABOR, CONTRAST, ROW = slice(0, 3), slice(21, 33), slice(33, 37), 37


def stripes(period, horizontal):
    """Grey stripes of ``period`` px along one axis, 64 × 64."""
    wave = 128 + 60 * np.sin(2 * np.pi * np.arange(64) / period)
    grey = np.broadcast_to(wave[:, None] if horizontal else wave[None, :], (64, 64))
    return np.repeat(grey[..., None], 3, axis=2).astype(np.uint8)


def test_shape_covers_an_image_of_any_size():
    for height, width in ((64, 128), (61, 90), (3, 5)):
        features = EXTRACTOR.extract(np.zeros((height, width, 3), np.uint8))
        assert features.shape == (-(-height // 4), -(-width // 4), EXTRACTOR.dim)
        assert features.dtype == np.float32
        assert np.isfinite(features).all()
    assert EXTRACTOR.weights.shape == (EXTRACTOR.dim,)


def test_a_uniform_image_has_its_colour_and_no_texture():
    features = EXTRACTOR.extract(np.full((32, 32, 3), 255, np.uint8))
    np.testing.assert_allclose(features[..., COLOR], np.broadcast_to([100, 0, 0], (8, 8, 3)), atol=0.1)
    np.testing.assert_allclose(features[..., 12:37], 0, atol=0.1)
    np.testing.assert_allclose(features[:, 0, ROW], (np.arange(8) + 0.5) / 8)


@pytest.mark.parametrize(("period", "scale"), [(4, 0), (8, 1), (16, 2)])
def test_gabor_energy_answers_to_wavelength_and_direction(period, scale):
    upright = EXTRACTOR.extract(stripes(period, horizontal=False))[4:-4, 4:-4, GABOR].mean(axis=(0, 1)).reshape(3, 4)
    lying = EXTRACTOR.extract(stripes(period, horizontal=True))[4:-4, 4:-4, GABOR].mean(axis=(0, 1)).reshape(3, 4)
    assert upright[scale].argmax() == 0  # waves along x
    assert lying[scale].argmax() == 2
    assert upright[:, 0].argmax() == scale


def test_contrast_sees_the_direction_in_which_neighbours_differ():
    features = EXTRACTOR.extract(stripes(8, horizontal=False))[4:-4, 4:-4, CONTRAST].mean(axis=(0, 1))
    assert features[0] > 0.5  # to the right
    assert features[1] == 0  # below


def test_a_group_weighs_the_same_whatever_its_size():
    config = ClassicalFeaturesConfig(color=2, mean=2, deviation=2, gabor=2, contrast=2, row=2)
    weights = ClassicalFeatures(config).weights
    np.testing.assert_allclose((weights**2).sum(), 6 * 4, rtol=1e-6)


def test_half_a_megapixel_takes_milliseconds():
    image = np.random.default_rng(0).integers(0, 255, (256, 512, 3)).astype(np.uint8)
    times = []
    for _ in range(5):
        begin = time.process_time()
        EXTRACTOR.extract(image)
        times.append(time.process_time() - begin)
    assert min(times) < 0.060


def test_only_rgb_bytes_are_taken():
    with pytest.raises(ValueError, match="uint8 RGB"):
        EXTRACTOR.extract(np.zeros((8, 8), np.uint8))
