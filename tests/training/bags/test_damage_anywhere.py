"""Recordings with flipped bytes: a reader that says so, never one that fails in an unforeseen way or hangs."""

from __future__ import annotations

import numpy as np
import pytest

from videocups.bags.messages import MessageError, decode
from videocups.bags.reader import open_bag
from videocups.bags.recording import BagError

ROUNDS = 100


def read_all(path):
    """Read everything there is; returns how many messages came out whole."""
    whole = 0
    with open_bag(path) as bag:
        bag.counts()
        for message in bag.messages({topic.name for topic in bag.topics}):
            try:
                decode(message)
                whole += 1
            except (MessageError, BagError):
                continue
    return whole


@pytest.mark.parametrize("kind", ["", "zstd", "lz4", "loose", "unfinished", "db3"])
def test_flipped_bytes(recordings, kind):
    options = {"loose": {"compression": None}, "unfinished": {"finish": False}}.get(kind, {"compression": kind})
    if kind == "db3":
        original = recordings.storage_file(recordings.bag("bag", recordings.images(8), storage="db3"))
    else:
        original = recordings.mcap("any.mcap", recordings.image_topics(), recordings.raw(8), **options)
    data, random = original.read_bytes(), np.random.default_rng(len(kind))
    path = recordings.folder / f"flipped{original.suffix}"
    outcomes, sentences = [], []
    for _ in range(ROUNDS):
        damaged = bytearray(data)
        for at in random.integers(0, len(data), random.integers(1, 6)):
            damaged[at] = random.integers(0, 256)
        path.write_bytes(damaged)
        try:
            outcomes.append(read_all(path))
        except BagError as error:
            outcomes.append(-1)
            sentences.append(str(error))
    assert max(outcomes) <= 8
    assert max(outcomes) > 0
    assert all(len(sentence.splitlines()) == 1 for sentence in sentences)
