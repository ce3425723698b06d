"""Pictures of flow, depth and probability say what the numbers say."""

from __future__ import annotations

import colorsys

import numpy as np
import pytest

from videocups_core.visualize import colorize_depth, colorize_flow, colorize_probability


def hue_deg(color):
    return colorsys.rgb_to_hsv(*(color / 255.0))[0] * 360


def test_flow_direction_is_hue_and_speed_is_saturation():
    flow = np.array([[[4.0, 0.0], [0.0, 4.0], [-4.0, 0.0], [0.0, -4.0], [0.0, 0.0], [2.0, 0.0], [99.0, 0.0]]])
    picture = colorize_flow(flow, max_px=4.0)[0]
    for color, angle in zip(picture[:4], (0, 90, 180, 270), strict=True):
        assert abs((hue_deg(color) - angle + 180) % 360 - 180) < 2
    assert picture[4].tolist() == [255, 255, 255]
    assert picture[5].min() == pytest.approx(128, abs=1)
    np.testing.assert_array_equal(picture[6], picture[0])  # faster than full is full


def test_unknown_values_are_black():
    flow = np.array([[[1.0, 1.0], [np.nan, 0.0], [0.0, np.inf]]])
    assert colorize_flow(flow).sum(axis=2).astype(bool).tolist() == [[True, False, False]]
    depth = np.array([[5.0, 0.0, -1.0, np.nan, np.inf]])
    assert colorize_depth(depth).sum(axis=2).astype(bool).tolist() == [[True, False, False, False, False]]
    assert colorize_probability(np.array([[0.5, np.nan]])).sum(axis=2).astype(bool).tolist() == [[True, False]]


def test_near_is_red_and_far_is_blue():
    picture = colorize_depth(np.geomspace(1, 100, 64)[None], min_m=1, max_m=100)[0].astype(int)
    assert picture[4, 0] > picture[4, 2] + 50
    assert picture[-8, 2] > picture[-8, 0] + 50


@pytest.mark.parametrize("shape", [(1, 1), (1, 3), (2, 5)])
def test_flat_and_unknown_fields_draw(shape):
    assert colorize_flow(np.zeros((*shape, 2))).shape == (*shape, 3)
    assert colorize_depth(np.full(shape, 7.0)).shape == (*shape, 3)
    assert colorize_depth(np.full(shape, np.nan)).shape == (*shape, 3)


def test_wrong_shapes_are_named():
    with pytest.raises(ValueError, match="flow must be"):
        colorize_flow(np.zeros((4, 4)))
    with pytest.raises(ValueError, match="depth must be"):
        colorize_depth(np.zeros((4, 4, 1)))
