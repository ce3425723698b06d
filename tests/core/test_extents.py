from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from videocups_core.engine.base import InputSpec
from videocups_core.panoptic.extents import measure_labels
from videocups_core.panoptic.regions import measure_regions
from videocups_core.preprocess import place, repetitions, to_image


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 90), st.integers(1, 90), st.integers(1, 255))
def test_measures_what_the_resized_map_shows(seed: int, height: int, width: int, highest: int) -> None:
    rng = np.random.default_rng(seed)
    placement = place((height, width), InputSpec(32, 48))
    labels = rng.integers(1, highest + 1, placement.content_hw).astype(np.uint8)
    areas, boxes = measure_labels(labels, *repetitions(placement))
    expected = measure_regions(to_image(labels, placement))
    assert np.flatnonzero(areas).tolist() == expected.ids.tolist()
    np.testing.assert_array_equal(areas[expected.ids], expected.areas_px)
    np.testing.assert_array_equal(boxes[expected.ids], expected.boxes_xywh)
    assert areas.sum() == height * width


@pytest.mark.parametrize("image_hw", [(1080, 1920), (721, 1283), (480, 640), (375, 1242), (200, 300)])
def test_camera_sizes(image_hw: tuple[int, int]) -> None:
    placement = place(image_hw, InputSpec(256, 512))
    labels = np.random.default_rng(0).integers(1, 60, placement.content_hw).astype(np.uint8)
    areas, boxes = measure_labels(labels, *repetitions(placement))
    expected = measure_regions(to_image(labels, placement))
    np.testing.assert_array_equal(areas[expected.ids], expected.areas_px)
    np.testing.assert_array_equal(boxes[expected.ids], expected.boxes_xywh)
