"""Whether a moving segment looks like what else moves.

Errors of flow make segments of road, wall and sky; these look like all the road, wall and sky that stands. So a track
is held against the pseudo-classes of all *other* tracks: how often do its classes lie in moving segments, compared with
any pixel? A class that covers walls is rarely in motion, one of car paint often. VideoCUPS asks whether the class of
most pixels is a thing class; this asks all of them, weighted.

Reads the votes of the tracks (``class_counts``); the split of things and stuff and the panoptic clips use it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def likeness(
    votes: NDArray[np.int64], inside_px: NDArray[np.int64], all_px: NDArray[np.int64], prior: float
) -> NDArray[np.float64]:
    """Return for each track how much more often than any pixel its classes move: (T,), 1 is by chance.

    ``votes``: (T, K) pixels of each class in each track; ``inside_px`` and ``all_px``: (K,) of all clips, with these
    tracks among them: each is taken out before it is judged. ``prior``: what counts beside the seen pixels of a class,
    in pixels of an average class that move by chance; with few tracks nothing is known of most classes.
    """
    inside = np.maximum(inside_px - votes, 0).astype(np.float64)
    everywhere = np.maximum(all_px - votes, 0).astype(np.float64)
    chance = inside.sum(axis=1, keepdims=True) / np.maximum(everywhere.sum(axis=1, keepdims=True), 1)
    weight = prior * everywhere.mean(axis=1, keepdims=True)
    share = (inside + weight * chance) / np.maximum(everywhere + weight, 1e-9)
    found = (votes * share).sum(axis=1) / np.maximum(votes.sum(axis=1) * chance[:, 0], 1e-12)
    judged = (votes.sum(axis=1) > 0) & (chance[:, 0] > 0)  # the only track there is cannot be held against others
    return np.where(judged, found, 1.0)
