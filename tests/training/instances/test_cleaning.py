from __future__ import annotations

import numpy as np

from videocups.instances.cleaning import CleaningConfig, clean_regions, fill_holes


def ring(value, size=9):
    regions = np.zeros((15, 15), np.int32)
    regions[3 : 3 + size, 3 : 3 + size] = value
    regions[6:9, 6:9] = 0
    return regions


def test_hole_enclosed_by_one_region_is_filled():
    filled = fill_holes(ring(4))
    assert (filled[3:12, 3:12] == 4).all()
    assert (filled == 4).sum() == 81


def test_hole_between_two_regions_stays_open():
    regions = ring(4)
    regions[3:12, 8:12][regions[3:12, 8:12] > 0] = 5
    np.testing.assert_array_equal(fill_holes(regions), regions)


def test_bay_that_reaches_the_image_edge_stays_open():
    regions = np.zeros((6, 6), np.int32)
    regions[0:6, 0] = regions[0, :] = regions[:, 5] = 2  # open at the bottom: the image edge closes it
    np.testing.assert_array_equal(fill_holes(regions), regions)


def test_borders_are_cleared_and_crumbs_dropped_and_the_rest_renumbered():
    regions = np.zeros((20, 100), np.int32)
    regions[:, :40] = 1  # 8 columns remain right of the 32 cleared ones
    regions[0:2, 50:52] = 2  # 4 px: a crumb
    regions[5:15, 55:65] = 3
    cleaned = clean_regions(regions, CleaningConfig(border_px=32, min_area_px=64))
    assert np.bincount(cleaned.ravel()).tolist() == [2000 - 160 - 100, 160, 100]
    assert cleaned[10, 60] == 2
    assert not cleaned[:, :32].any()
