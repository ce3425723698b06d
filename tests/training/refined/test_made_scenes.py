"""Scenes that are made: their flow is true, both ways, at borders and behind things."""

from __future__ import annotations

import numpy as np
import pytest

from videocups.cues.flow import warp
from videocups.cues.refined.config import RefinedConfig, ScenesConfig
from videocups.cues.refined.made_scenes import Scene, inverse_flow, make_scene

HEIGHT, WIDTH = 96, 128


def paintings(seed: int) -> list[np.ndarray]:
    """Return three smooth pictures, so that a px off costs little and a wrong place much."""
    rng = np.random.default_rng(seed)
    row, column = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    waves = [
        [np.sin(rng.uniform(0.05, 0.2) * row + rng.uniform(0.05, 0.2) * column + rng.uniform(0, 6)) for _ in range(3)]
        for _ in range(3)
    ]
    return [np.stack([128 + 100 * wave for wave in picture], axis=2).astype(np.uint8) for picture in waves]


def scene(seed: int, **settings: object) -> Scene:
    return make_scene(paintings(seed), ScenesConfig(**settings), np.random.default_rng(seed))


def test_flow_back_undoes_flow():
    row, column = np.mgrid[:40, :60].astype(np.float32)
    flow = np.stack([0.1 * column - 3, 0.05 * row + 1], axis=2)
    back = inverse_flow(flow)
    # y = x + 0.1 x − 3, hence x − y = (3 − 0.1 y) / 1.1, away from the borders
    expected = np.stack([(3 - 0.1 * column) / 1.1, (-1 - 0.05 * row) / 1.05], axis=2)
    np.testing.assert_allclose(back[5:-5, 5:-5], expected[5:-5, 5:-5], atol=5e-3)  # OpenCV warps to 1/32 px


@pytest.mark.parametrize("seed", range(4))
def test_the_second_image_shows_what_the_flow_says(seed):
    made = scene(seed, background_px=6.0, still_share=0.0)
    for first, second, flow, back in (
        (made.first, made.second, made.forward_px, made.backward_px),
        (made.second, made.first, made.backward_px, made.forward_px),
    ):
        seen = np.linalg.norm(flow + warp(back, flow), axis=2) < 0.1  # the way back leads home: nothing lies before
        assert 0.4 < seen.mean() < 1
        right, wrong = (np.abs(warp(second.astype(np.float32), flow + off) - first).mean(axis=2) for off in (0, 8))
        # exposure, noise and blur differ between the images; 8 px away they show another place
        assert np.median(right[seen]) < 0.5 * np.median(wrong[seen])
        assert np.median(right[seen]) < np.median(right[~seen])


def test_things_may_be_painted_nearly_evenly():
    one = {
        "fewest_things": 1,
        "most_things": 1,
        "thing_px": (30.0, 30.0),
        "motion_px": (15.0, 15.0),
        "still_share": 1.0,
    }
    contrasts: dict[float, list[float]] = {0.0: [], 1.0: []}
    for share, found in contrasts.items():
        for seed in range(6):
            made = scene(seed, even_share=share, **one)
            inside = np.linalg.norm(made.forward_px, axis=2) > 8
            if inside.sum() > 500:  # what lies in the image
                found.append(float(made.first[inside].std(axis=0).mean()))
    assert len(contrasts[0.0]) >= 3
    assert max(contrasts[1.0]) < 0.5 * min(contrasts[0.0])


def test_a_still_background_without_things_hardly_moves():
    made = scene(3, fewest_things=0, most_things=0, still_share=1.0, still_px=1.5)
    assert 0 < np.abs(made.forward_px).max() < 3
    moving = scene(3, fewest_things=0, most_things=0, still_share=0.0, background_px=20.0)
    assert np.abs(moving.forward_px).max() > np.abs(made.forward_px).max()


def test_things_move_apart_from_what_lies_behind():
    made = scene(5, fewest_things=6, most_things=6, still_share=1.0, motion_px=(4.0, 8.0))
    jumps = np.linalg.norm(np.diff(made.forward_px, axis=1), axis=2) > 2
    assert jumps.sum() > 50
    assert made.first.dtype == np.uint8
    assert made.forward_px.dtype == np.float32


def test_small_things_count_more():
    large = scene(5, fewest_things=1, most_things=1, thing_px=(40.0, 41.0), small_weight=4.0)
    assert large.first_weight.max() < 2
    small = scene(
        5,
        fewest_things=1,
        most_things=1,
        thing_px=(5.0, 5.1),
        motion_px=(8.0, 9.0),
        still_share=1.0,
        small_weight=4.0,
    )
    assert small.first_weight.max() == small.second_weight.max() == 4
    assert small.first_weight.min() == 1
    moves = np.linalg.norm(small.forward_px - np.median(small.forward_px, axis=(0, 1)), axis=2) > 3
    assert moves.any()
    assert np.all(small.first_weight[moves] == 4)
    assert 2 < (small.first_weight == 4).sum() / moves.sum() < 8  # what lies around it, too


def test_one_seed_gives_one_scene():
    one, other = scene(7), scene(7)
    assert np.array_equal(one.second, other.second)
    assert np.array_equal(one.backward_px, other.backward_px)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"crop_height": 130}, "multiples of 8, got 130"),
        ({"crop_width": 800}, "must fit into the frame"),
        ({"scenes": ScenesConfig(fewest_things=9)}, "fewest_things must be <= most_things 8, got 9"),
    ],
)
def test_settings_that_cannot_work(settings, sentence):
    with pytest.raises(ValueError, match=sentence):
        RefinedConfig(**settings)
