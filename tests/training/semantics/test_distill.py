from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from videocups.semantics.correlation import (
    correlate,
    correlation_loss,
    depth_correlation,
    furthest_places,
    random_places,
    sample_at,
)
from videocups.semantics.distill import coder, distill, load_head, nearest_images, step_loss
from videocups.semantics.distill_config import DistillConfig

TINY = DistillConfig(dim=4, steps=60, batch=6, side=5, neighbours=3, nearest_used=2, negatives=2, learning_rate=5e-3)


class Bank:
    """Images of two regions; features of a region are one of three directions, with noise."""

    def __init__(self, images=8, with_depth=True):
        rng = np.random.default_rng(0)
        self.kinds = [(n % 3, (n + 1) % 3) for n in range(images)]
        directions = np.eye(3, 12, dtype=np.float32)
        self.maps = []
        for left, right in self.kinds:
            field = np.repeat(np.stack([directions[left], directions[right]])[None].repeat(6, 0), 4, axis=1)
            self.maps.append((field + rng.normal(0, 0.1, field.shape)).astype(np.float32))
        self.with_depth = with_depth

    def __len__(self):
        return len(self.maps)

    def features(self, index):
        return self.maps[index]

    def depth(self, index):
        return np.tile(np.linspace(1, 20, 16, dtype=np.float32), (12, 1)) if self.with_depth else None

    def group(self, index):
        return index // 2


def test_correlation_and_loss_by_hand():
    first = torch.tensor([[[[3.0]], [[4.0]]]])  # (1, 2, 1, 1), length 5
    second = torch.tensor([[[[0.0, 2.0]], [[1.0, 0.0]]]])
    found = correlate(first, second)
    torch.testing.assert_close(found, torch.tensor([0.8, 0.6]).reshape(1, 1, 1, 1, 2))
    # -(0.5 · (0.8 − 0.3) + 0 · …) / 2: a negative code correlation is clamped
    codes = torch.tensor([0.5, -0.7]).reshape(1, 1, 1, 1, 2)
    assert correlation_loss(found, codes, 0.3).item() == pytest.approx(-0.125)


def test_the_whole_loss_by_hand():
    """One place an image, codes that are the features: every term can be written down."""

    class Identity(torch.nn.Module):
        def forward(self, features):
            return features

    first = torch.tensor([[1.0, 0.0], [0.6, 0.8]]).reshape(2, 2, 1, 1)
    second = torch.tensor([[0.8, 0.6], [0.0, 1.0]]).reshape(2, 2, 1, 1)
    depth = torch.tensor([[[[2.0, 2.0], [2.0, 2.0]]], [[[1.0, 3.0], [1.0, 3.0]]]])
    config = DistillConfig(side=1, negatives=2, depth_term="off")
    generator = torch.Generator().manual_seed(0)
    loss = step_loss(Identity(), first, second, None, 0, config, generator)
    intra = -0.95 * (1 - 0.39)
    inter = -1.02 * 0.8 * (0.8 - 0.25)  # both partners have cosine .8
    negative = -0.57 * 0.6 * (0.6 - 0.26)  # the other image of the two, twice, halved
    assert loss.item() == pytest.approx(intra + inter + negative, abs=1e-6)
    with_depth = DistillConfig(side=1, negatives=2, depth_term="released")
    faded = step_loss(Identity(), first, second, depth, 800, with_depth, torch.Generator().manual_seed(0))
    # released: D = 1; after 800 steps weight and shift have shrunk twice
    assert (faded - loss).item() == pytest.approx(-0.09 * 0.64 * (1 - 0.03 * 0.64), abs=1e-6)


def test_the_repaired_term_holds_depth_and_the_released_one_none():
    near_far = torch.tensor([[1.0, 5.0], [1.0, 5.0]]).reshape(1, 1, 2, 2)
    places = torch.tensor([[-0.5, 0.0], [0.5, 0.0]]).reshape(1, 1, 2, 2)  # middle of the left and of the right half
    repaired = depth_correlation(near_far, places, "repaired").reshape(2, 2)
    torch.testing.assert_close(repaired, torch.tensor([[0.0, 0.0], [0.0, 1.0]]))  # 0·0, 0·1, 1·0, 1·1
    square = torch.tensor([[-0.5, 0.0], [0.5, 0.0], [0.0, 0.5], [0.9, 0.9]]).reshape(1, 2, 2, 2)
    for depth in (near_far, near_far.flip(3) * 7):
        released = depth_correlation(depth, square, "released")
        torch.testing.assert_close(released, torch.ones(1, 2, 2, 2, 2))


def test_depth_is_read_at_the_places_of_the_codes():
    depth = torch.linspace(0, 1, 64).expand(1, 1, 64, 64)
    places = random_places(1, 6, torch.Generator().manual_seed(0))
    found = depth_correlation(depth, places, "repaired")[0].diagonal(dim1=0, dim2=2).diagonal(dim1=0, dim2=1)
    expected = ((places[0, :, :, 0] + 1) / 2 * 64 - 0.5).clamp(0, 63) / 63
    torch.testing.assert_close(found.sqrt(), expected, atol=1e-3, rtol=0)


def test_furthest_places_spread_over_space():
    depth = torch.ones(1, 1, 20, 20)
    depth[..., 10:] = 30  # the right half is far away, and large there
    furthest = furthest_places(depth, 4, torch.Generator().manual_seed(0)).reshape(-1, 2)
    assert (furthest[:, 0] > 0).float().mean() > 0.8
    assert len({tuple(place) for place in furthest.tolist()}) == 16
    picked = sample_at(depth, furthest.reshape(1, 4, 4, 2))
    assert set(picked.unique().tolist()) == {1.0, 30.0}


def test_neighbours_come_from_other_clips():
    bank = Bank()
    for index, found in enumerate(nearest_images(bank, 3)):
        assert all(bank.group(other) != bank.group(index) for other in found)
        assert bank.kinds[found[0]] == bank.kinds[index]  # the same two regions are the most alike
    bank.group = lambda index: 0
    assert all(index not in found for index, found in enumerate(nearest_images(bank, 3)))


@pytest.mark.parametrize("options", [{}, {"depth_term": "released"}, {"depth_term": "off"}, {"sampling": "furthest"}])
def test_training_lowers_the_loss_and_codes_tell_regions_apart(options):
    losses = []
    bank = Bank()
    head = distill(bank, replace(TINY, **options), advance=lambda step, loss: losses.append(loss))
    assert len(losses) == TINY.steps
    assert np.mean(losses[-10:]) < np.mean(losses[:10]) - 0.05

    class Stored:
        def extract(self, rgb):
            return bank.features(int(rgb[0, 0, 0]))

    codes = [coder(Stored(), head)(np.full((1, 1, 3), n, np.uint8)) for n in range(3)]
    vectors = np.concatenate([field.reshape(-1, 4) for field in codes])
    labels = np.concatenate([np.tile(np.repeat(bank.kinds[n], 4), 6) for n in range(3)])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    likeness = vectors @ vectors.T
    same = labels[:, None] == labels
    assert likeness[same].mean() > likeness[~same].mean() + 0.5


def test_the_same_seed_gives_the_same_head_and_the_disk_keeps_it(tmp_path):
    short = replace(TINY, steps=5)
    head, again = distill(Bank(), short), distill(Bank(), short)
    for one, other in zip(head.parameters(), again.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)
    head.save(tmp_path / "head.safetensors")
    loaded = load_head(tmp_path / "head.safetensors")
    assert loaded.config == short
    image = torch.randn(1, 12, 3, 3)
    torch.testing.assert_close(loaded(image), head(image))


def test_no_image_of_a_step_is_held_against_itself():
    """Others are a rotation of the step's images, so none of them may be there twice."""

    read = []

    class Counting(Bank):
        def depth(self, index):
            read.append(index)
            return super().depth(index)

    distill(Counting(), replace(TINY, steps=10))
    steps = [read[at : at + TINY.batch] for at in range(0, len(read), TINY.batch)]
    assert len(steps) == 10
    assert all(len(set(images)) == TINY.batch for images in steps)
    assert len({tuple(images) for images in steps}) > 1


def test_missing_depth_is_named():
    with pytest.raises(ValueError, match="depth_term: off"):
        distill(Bank(with_depth=False), TINY)
    with pytest.raises(ValueError, match="at least 2"):
        distill(Bank(images=1), TINY)
