"""Regions, links between the cells of two views, and guide classes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from videocups.pretrain.guides import GuideClasses
from videocups.pretrain.pairs import FramePairs
from videocups.pretrain.task import PretrainTask
from videocups.pretrain.views import Region, draw_region, link, recolored

STILL = {"flip": 0.0, "jitter_size": [0, 0, 0, 0], "grey": 0.0, "blur": 0.0}


def test_cells_of_a_region_by_hand():
    # 8 px cut into 2 cells: pixels 0-3 and 4-7 of the region, whose middles are 1.5 and 5.5
    places = Region(10, 20, 8, mirrored=False).cells_px(2)
    assert places[..., 0].tolist() == [[11.5, 15.5], [11.5, 15.5]]
    assert places[..., 1].tolist() == [[21.5, 21.5], [25.5, 25.5]]
    assert Region(10, 20, 8, mirrored=True).cells_px(2)[..., 0].tolist() == [[15.5, 11.5], [15.5, 11.5]]


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_regions_own_cells_are_torchs_own_grid(mirrored):
    region = Region(7, 3, 20, mirrored)
    own = functional.affine_grid(torch.eye(2, 3)[None], [1, 1, 5, 5], align_corners=False)[0]
    np.testing.assert_allclose(region.inside(region.cells_px(5)), own.numpy(), atol=1e-5)


@pytest.mark.parametrize("mirrored", [False, True])
def test_the_crop_shows_what_lies_at_the_cells(mirrored):
    y, x = np.mgrid[:64, :96]
    ramp = np.stack([2 * x, 3 * y, x + y], axis=2).astype(np.uint8)
    region = Region(30, 12, 32, mirrored)
    shown = region.crop(ramp, 32)
    places = region.cells_px(32)
    np.testing.assert_array_equal(shown, ramp[places[..., 1].astype(int), places[..., 0].astype(int)])


def test_regions_lie_in_the_frame_and_use_all_of_it():
    rng = np.random.default_rng(0)
    drawn = [draw_region(rng, (64, 96), (0.5, 1.0), False) for _ in range(300)]
    assert all(32 <= region.side <= 64 and region.x + region.side <= 96 for region in drawn)
    assert all(region.y >= 0 and region.y + region.side <= 64 for region in drawn)
    assert min(region.x for region in drawn) == 0
    assert max(region.x + region.side for region in drawn) == 96


def test_links_follow_the_flow_and_what_is_visible():
    flow = np.zeros((64, 96, 2), np.float16)
    flow[..., 0], flow[..., 1] = 3, -2
    visible = np.ones((64, 96), bool)
    visible[:, 40:] = False
    region = Region(32, 16, 16, mirrored=False)
    places, seen = link(region, flow, visible, 4)
    np.testing.assert_allclose(places - region.cells_px(4), np.broadcast_to([3.0, -2.0], (4, 4, 2)))
    assert seen.tolist() == [[True, True, False, False]] * 4


@pytest.mark.parametrize("flip", [0.0, 1.0])
def test_linked_cells_of_two_views_look_the_same(small, sliding, flip):
    task = PretrainTask([sliding], small(views={**STILL, "flip": flip, "crop_region": [0.5, 0.5]}))
    task.cells = 32  # a link for every pixel
    compared = 0
    for seed in range(4):
        sample = task._sample(np.random.default_rng(seed))
        views, grid, linked = sample["views"].float(), sample["grid"], sample["linked"]
        there = functional.grid_sample(views.flip(0), grid, mode="bilinear", align_corners=False)
        gap = (there - views).abs().mean(dim=1)[linked]
        unlinked = (views[0] - views[1]).abs().mean()
        assert gap.median() < 3 < unlinked / 5
        compared += int(linked.sum())
    # a 32 px wide view that moved by 6 px overlaps 26 columns: 81 %
    assert compared / (4 * 2 * 32 * 32) == pytest.approx(26 / 32, abs=0.06)


def test_guide_classes_follow_the_flow(small, sliding):
    pairs = FramePairs([sliding], small().views)
    guides = GuideClasses(pairs, 6, 2, seed=0)
    first, second = guides.map(0), guides.map(1)
    assert first.shape == (16, 24)
    assert len(np.unique(first)) == 6
    places = np.array([[[8.0, 20.0], [400.0, -7.0]]], np.float32)  # the second lies outside: the border's class
    assert guides.at(1, places).tolist() == [[second[5, 2], second[0, 23]]]


def test_colours_change_within_their_bounds(small):
    config = small(views={"jitter_size": [0.2, 0, 0, 0], "grey": 0.0, "blur": 0.0}).views
    grey = np.full((8, 8, 3), 100, np.uint8)
    found = [recolored(grey, config, np.random.default_rng(seed)).mean() for seed in range(50)]
    assert 80 <= min(found) < 85
    assert 115 < max(found) <= 120
    colourless = small(views={"jitter_size": [0, 0, 0, 0], "grey": 1.0, "blur": 0.0}).views
    red = np.zeros((4, 4, 3), np.uint8) + np.array([200, 0, 0], np.uint8)
    assert recolored(red, colourless, np.random.default_rng(0)).tolist() == np.full((4, 4, 3), 60).tolist()


def test_clips_without_a_pair_are_refused(small, sliding):
    with pytest.raises(ValueError, match="at least 4 frames, got 1 clips, the longest of 2"):
        FramePairs([sliding], small(views={"gap": 3}).views)
