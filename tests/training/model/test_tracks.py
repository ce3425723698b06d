"""The tracking head's embeddings."""

from __future__ import annotations

import math

import torch

from videocups.model.config import TrackConfig
from videocups.model.tracks import LEAST_LENGTH, TrackHead


def test_embeddings_have_one_length_and_nothing_to_tell_has_none():
    config = TrackConfig()
    head = TrackHead(config, 8)
    pooled = torch.randn(5, 8, config.pool, config.pool, generator=torch.Generator().manual_seed(0))
    length = head(100 * pooled).norm(dim=1)
    torch.testing.assert_close(length, torch.full_like(length, math.sqrt(config.scale)))
    torch.nn.init.zeros_(head.fc2.weight)
    torch.nn.init.zeros_(head.fc2.bias)
    assert (head(pooled) == 0).all()


def test_the_least_length_stands_in_half_precision():
    """Else nothing is divided by nothing in engines of half precision."""
    assert torch.tensor(LEAST_LENGTH).half() == LEAST_LENGTH
