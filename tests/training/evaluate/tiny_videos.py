"""Tiny videos that hypothesis draws: two maps of classes and ids a frame, for each of prediction and truth."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st


def draw_frames(draw, labels, *, most, copied_from):
    """Draw up to ``most`` frames of one small size, of the (class, id) pairs in ``labels``.

    Bytes from ``copied_from`` on make a predicted pixel a copy of the true one.
    """
    height, width = draw(st.integers(0, 3)), draw(st.integers(1, 5))
    frames = []
    for _ in range(draw(st.integers(0, most))):
        size = height * width
        codes = draw(st.binary(min_size=2 * size, max_size=2 * size))
        truth = [labels[code % len(labels)] for code in codes[:size]]
        pred = [t if c >= copied_from else labels[c % len(labels)] for c, t in zip(codes[size:], truth, strict=True)]
        frames.append((*maps(pred, height, width), *maps(truth, height, width)))
    return frames


def maps(labels, height, width):
    """Return the class map and the id map of (class, id) pairs in row-major order."""
    classes = np.array([c for c, _ in labels], dtype=np.uint8).reshape(height, width)
    return classes, np.array([i for _, i in labels], dtype=np.int64).reshape(height, width)
