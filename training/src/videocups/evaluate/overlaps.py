"""Count, in one pass, how many pixels of a frame carry each (predicted class, id, true class, id)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Frame = tuple[ArrayLike, ArrayLike, ArrayLike, ArrayLike]
"""``(pred_class, pred_id, true_class, true_id)``: four integer maps of one shape."""
Pair = tuple[int, int, int, int]
"""``(pred_class, pred_id, true_class, true_id)`` of a pixel; plain Python integers, so no id ever wraps."""
PairCounts = dict[Pair, int]
"""Pixels per pair: everything the metrics need to know about a frame, a video or a data set."""

MAP_NAMES = ("pred_class", "pred_id", "true_class", "true_id")


def count_pairs(frame: Frame) -> PairCounts:
    """Return the pixels of every pair that occurs in ``frame``.

    Neighbouring pixels mostly agree, so only the *runs* of equal pairs (in row-major order) are looked up in a table.
    """
    maps = checked_maps(frame)
    if maps[0].size == 0:
        return {}
    starts = run_starts(maps)
    lengths = np.diff(starts, append=maps[0].size)
    keys = [_unsigned(values[starts], name) for values, name in zip(maps, MAP_NAMES, strict=True)]
    # Imported late: loading numba takes longer than a command may take to print its help.
    from videocups.evaluate.run_table import fold_runs

    first, pixels = fold_runs(keys[0], keys[1], keys[2], keys[3], lengths)
    columns = (key[first].tolist() for key in keys)
    return dict(zip(zip(*columns, strict=True), pixels.tolist(), strict=True))


def add_pairs(total: PairCounts, more: PairCounts) -> None:
    """Add ``more`` onto ``total`` in place."""
    for pair, pixels in more.items():
        total[pair] = total.get(pair, 0) + pixels


def sum_pairs(tables: Iterable[PairCounts]) -> PairCounts:
    """Return the sum of several tables as a new one."""
    total: PairCounts = {}
    for table in tables:
        add_pairs(total, table)
    return total


def checked_maps(frame: Frame) -> list[NDArray[Any]]:
    """Return the four maps flattened; ValueError unless they are integers of one shape."""
    if len(frame) != 4:
        raise ValueError(f"a frame is {MAP_NAMES}, got {len(frame)} items")
    maps = [np.asarray(values) for values in frame]
    for values, name in zip(maps, MAP_NAMES, strict=True):
        if values.dtype.kind not in "iu":
            raise ValueError(f"{name} must be an integer map, got dtype {values.dtype}; cast it without rounding")
    shapes = [values.shape for values in maps]
    if len(set(shapes)) != 1:
        named = ", ".join(f"{name} {shape}" for name, shape in zip(MAP_NAMES, shapes, strict=True))
        raise ValueError(
            f"the four maps of a frame must have one shape, got {named}; resize the prediction (nearest neighbour)"
        )
    return [values.reshape(-1) for values in maps]


def run_starts(maps: list[NDArray[Any]]) -> NDArray[np.intp]:
    """Return the positions where any of the flat, non-empty ``maps`` changes its value; the first is 0."""
    size = maps[0].size
    changed = np.empty(size, dtype=np.bool_)
    changed[0] = True
    np.not_equal(maps[0][1:], maps[0][:-1], out=changed[1:])
    buffer = np.empty(size - 1, dtype=np.bool_)
    for values in maps[1:]:
        np.not_equal(values[1:], values[:-1], out=buffer)
        np.logical_or(changed[1:], buffer, out=changed[1:])
    return np.flatnonzero(changed)


def _unsigned(values: NDArray[Any], name: str) -> NDArray[np.uint64]:
    if values.dtype.kind == "i" and values.min() < 0:
        raise ValueError(f"{name} must not be negative, got {values.min()}; give void its class value and id 0")
    return values.astype(np.uint64)
