from __future__ import annotations

import numpy as np
import pytest

from videocups_core.engine.base import InputSpec
from videocups_core.preprocess import place, to_image, to_network

SPEC = InputSpec(64, 128, pad_rgb=(9, 8, 7))


@pytest.mark.parametrize(
    ("image_hw", "content_hw"),
    [
        ((64, 128), (64, 128)),
        ((128, 256), (64, 128)),
        ((32, 32), (64, 64)),  # narrower: padded right
        ((100, 400), (32, 128)),  # wider: padded below
        ((1, 4000), (1, 128)),
        ((4000, 1), (64, 1)),
        ((1, 1), (64, 64)),
    ],
)
def test_letterbox_keeps_the_aspect_ratio(image_hw: tuple[int, int], content_hw: tuple[int, int]) -> None:
    placement = place(image_hw, SPEC)
    assert placement.content_hw == content_hw
    image = np.full((*image_hw, 3), 200, np.uint8)
    network = to_network(image, placement, SPEC)
    assert network.shape == SPEC.shape
    assert network.flags.c_contiguous
    rows, columns = content_hw
    assert (network[0, :rows, :columns] == 200).all()
    assert (network[0, rows:] == (9, 8, 7)).all()
    assert (network[0, :, columns:] == (9, 8, 7)).all()


def test_stretch_fills_the_input() -> None:
    placement = place((33, 41), InputSpec(64, 128, "stretch"))
    assert placement.content_hw == (64, 128)


def test_an_image_of_the_right_size_is_not_copied() -> None:
    image = np.zeros((64, 128, 3), np.uint8)
    assert np.shares_memory(to_network(image, place((64, 128), SPEC), SPEC), image)


def test_a_cut_out_of_a_larger_image_is_made_contiguous() -> None:
    image = np.random.default_rng(0).integers(0, 256, (70, 140, 3)).astype(np.uint8)
    network = to_network(image[3:67, 5:133], place((64, 128), SPEC), SPEC)
    assert network.flags.c_contiguous
    np.testing.assert_array_equal(network[0], image[3:67, 5:133])


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_whole_factors_are_area_averages(factor: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (64 * factor, 128 * factor, 3)).astype(np.uint8)
    network = to_network(image, place(image.shape[:2], SPEC), SPEC)
    average = image.reshape(64, factor, 128, factor, 3).mean(axis=(1, 3))
    assert np.abs(network[0] - average).max() <= 0.5 + 1e-6


def test_shrinking_does_not_alias() -> None:
    """One-pixel stripes become their mean, not a pattern, at factors that are no whole number."""
    image = np.zeros((271, 543, 3), np.uint8)
    image[:, ::2] = 255
    network = to_network(image, place((271, 543), SPEC), SPEC)
    rows, columns = place((271, 543), SPEC).content_hw
    assert np.abs(network[0, :rows, : columns - 1].astype(int) - 127.5).max() < 3


@pytest.mark.parametrize("image_hw", [(271, 543), (1080, 1920), (720, 1280), (95, 190), (480, 640)])
def test_a_position_comes_back_where_it_was(image_hw: tuple[int, int]) -> None:
    """An edge in the image lies within one network pixel of itself after the way there and back."""
    width = image_hw[1]
    edge = int(width * 0.37)
    image = np.zeros((*image_hw, 3), np.uint8)
    image[:, edge:] = 255
    placement = place(image_hw, SPEC)
    network = to_network(image, placement, SPEC)
    rows, columns = placement.content_hw
    labels = (network[0, :rows, :columns, 0] > 127).astype(np.uint8)
    back = to_image(labels, placement)
    assert back.shape == image_hw
    scale = width / columns
    np.testing.assert_array_less(np.abs(back.argmax(axis=1) - edge), max(scale, 1 / scale, 1) + 1e-9)


def test_label_maps_are_never_interpolated() -> None:
    labels = np.random.default_rng(0).choice([3, 200], (64, 128)).astype(np.uint8)
    back = to_image(labels, place((100, 200), SPEC))
    assert set(np.unique(back)) == {3, 200}


def test_an_empty_image_is_refused() -> None:
    with pytest.raises(ValueError, match="empty"):
        place((0, 5), SPEC)
