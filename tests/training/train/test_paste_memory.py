"""What is remembered for pasting, and that a checkpoint keeps it."""

from __future__ import annotations

import numpy as np
import pytest

from videocups.train.copy_paste import Cutout
from videocups.train.panoptic_config import PasteConfig
from videocups.train.paste_memory import PasteMemory


def cutout(value, thing=0):
    patch = np.full((2, 3, 3), value, np.uint8), np.ones((2, 3), bool)
    return Cutout(patch, patch, thing)


def values(memory, count=200, seed=0):
    rng = np.random.default_rng(seed)
    return [int(piece.first[0][0, 0, 0]) for _ in range(count) for piece, _ in memory.draw(64, 64, rng)]


def test_nothing_is_drawn_from_nothing():
    assert values(PasteMemory(PasteConfig())) == []


def test_labels_serve_until_there_are_predictions():
    memory = PasteMemory(PasteConfig(objects=(1, 1)))
    memory.add("labels", [cutout(1)])
    assert set(values(memory)) == {1}
    memory.add("own", [cutout(2)])
    assert set(values(memory)) == {2}


@pytest.mark.parametrize("share", [0.0, 0.3])
def test_the_share_of_predictions(share):
    memory = PasteMemory(PasteConfig(objects=(1, 1), own_share=share))
    memory.add("labels", [cutout(1)])
    memory.add("own", [cutout(2)])
    assert np.mean(np.array(values(memory, 2000)) == 2) == pytest.approx(share, abs=0.05)


def test_the_oldest_are_forgotten_and_the_number_is_kept():
    memory = PasteMemory(PasteConfig(objects=(2, 5), memory=3))
    memory.add("labels", [cutout(value) for value in range(5)])
    assert set(values(memory)) == {2, 3, 4}
    counts = {len(memory.draw(64, 64, np.random.default_rng(seed))) for seed in range(100)}
    assert counts == {2, 3, 4, 5}


def test_a_checkpoint_keeps_everything():
    memory = PasteMemory(PasteConfig())
    memory.add("labels", [cutout(value, value % 2) for value in range(12)])
    memory.add("own", [cutout(100, 1)])
    other = PasteMemory(PasteConfig())
    other.add("labels", [cutout(77)])
    other.load(memory.state())
    assert values(other) == values(memory)
    assert other.state().keys() == memory.state().keys()
    assert other.count("labels") == 12
