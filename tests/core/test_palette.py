"""Colours: stable, apart, and apart for colour-blind eyes too."""

from __future__ import annotations

import numpy as np
import pytest

from videocups_core.palette import class_colors, simulate_dichromacy, to_lab, track_colors

SEEDS = [0, 1, 2, 3]


def smallest_distance(colors):
    lab = to_lab(colors)
    distance = np.linalg.norm(lab[:, None] - lab[None], axis=2)
    return distance[~np.eye(len(colors), dtype=bool)].min()


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("eye", [None, "protanope", "deuteranope"])
def test_thirty_classes_stay_apart_for_every_eye(seed, eye):
    colors = class_colors(30, seed=seed)
    seen = simulate_dichromacy(colors, eye) if eye else colors
    # 2.3 is a just noticeable difference; a random draw of 30 colours comes to about 2 for a dichromat
    assert smallest_distance(seen) > 12
    assert smallest_distance(simulate_dichromacy(colors, eye)[:10] if eye else colors[:10]) > 25


def test_random_colours_would_fail_that_test():
    colors = np.random.default_rng(0).integers(0, 256, (30, 3)).astype(np.uint8)
    assert smallest_distance(simulate_dichromacy(colors, "deuteranope")) < 6


@pytest.mark.parametrize("seed", SEEDS)
def test_every_class_has_its_own_colour_and_none_is_void_black(seed):
    colors = class_colors(255, seed=seed)
    assert len(np.unique(colors, axis=0)) == 255
    assert to_lab(colors)[:, 0].min() > 20


def test_class_colours_are_stable():
    np.testing.assert_array_equal(class_colors(5), class_colors(100)[:5])
    np.testing.assert_array_equal(class_colors(9, seed=4), class_colors(9, seed=4))
    assert (class_colors(9, seed=4) != class_colors(9, seed=5)).any()
    assert class_colors(0).shape == (0, 3)
    class_colors(5)[:] = 0  # a caller's change must not reach the next caller
    assert class_colors(5).any()
    with pytest.raises(ValueError, match=r"0\.\.255, got 256"):
        class_colors(256)


def test_dichromacy_matches_what_it_is_known_for():
    grey = np.array([[0, 0, 0], [128, 128, 128], [255, 255, 255]], np.uint8)
    for eye in ("protanope", "deuteranope"):
        assert np.abs(simulate_dichromacy(grey, eye).astype(int) - grey).max() <= 1  # greys stay
    # an orange and an olive that normal eyes tell apart and deuteranopes hardly do
    pair = np.array([[220, 120, 0], [150, 140, 0]], np.uint8)
    assert smallest_distance(simulate_dichromacy(pair, "deuteranope")) < 0.5 * smallest_distance(pair)


def test_lab_of_known_colours():
    lab = to_lab(np.array([[255, 255, 255], [0, 0, 0], [255, 0, 0]], np.uint8))
    assert np.abs(lab - [[100, 0, 0], [0, 0, 0], [53.24, 80.09, 67.20]]).max() < 0.3


def test_track_colours_depend_on_the_id_alone():
    ids = np.array([[1, 2], [3, 1]], np.uint64)
    colors = track_colors(ids)
    assert colors.shape == (2, 2, 3)
    assert colors.dtype == np.uint8
    np.testing.assert_array_equal(colors[0, 0], colors[1, 1])
    np.testing.assert_array_equal(track_colors(np.array([3]))[0], colors[1, 0])
    assert track_colors(np.array([0])).tolist() == [[0, 0, 0]]


def test_tracks_born_near_each_other_look_different():
    lab = to_lab(track_colors(np.arange(1, 2000)))
    for lag in range(1, 21):
        assert np.linalg.norm(lab[lag:] - lab[:-lag], axis=1).min() > 8, lag
    for lag in (1, 2, 3, 4):
        assert np.linalg.norm(lab[lag:] - lab[:-lag], axis=1).min() > 20, lag


def test_track_colours_take_64_bit_ids():
    ids = np.array([2**64 - 1, 2**63, 2**32 + 1, 1], np.uint64)
    colors = track_colors(ids)
    assert len(np.unique(colors, axis=0)) == 4
    assert colors.max(axis=1).min() > 120  # none is close to void's black
