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

# Widths that the counting is compiled for, on first use: each pair of them takes a second or two, once.
_CLASS_BYTES, _ID_BYTES = (1, 4, 8), (2, 4, 8)
MAP_NAMES = ("pred_class", "pred_id", "true_class", "true_id")


def count_pairs(frame: Frame) -> PairCounts:
    """Return the pixels of every pair that occurs in ``frame``.

    Neighbouring pixels mostly agree, so only the *runs* of equal pairs (in row-major order) are looked up in a table.
    """
    maps = checked_maps(frame)
    if maps[0].size == 0:
        return {}
    # Imported late: loading numba takes longer than a command may take to print its help.
    from videocups.evaluate.run_table import count_runs

    pred_class, true_class = alike_unsigned(maps[0], maps[2], _CLASS_BYTES)
    pred_id, true_id = alike_unsigned(maps[1], maps[3], _ID_BYTES)
    keys, pixels = count_runs(pred_class, pred_id, true_class, true_id)
    for column, values, name in zip(keys.T, maps, MAP_NAMES, strict=True):
        # A negative number read as unsigned is larger than any positive one of its type.
        if int(column.max()) > np.iinfo(values.dtype).max:
            raise ValueError(f"{name} must not be negative; give void its class value and id 0")
    return dict(zip(map(tuple, keys.tolist()), pixels.tolist(), strict=True))


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


def alike_unsigned(
    first: NDArray[Any], second: NDArray[Any], widths: tuple[int, ...]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return both maps as unsigned integers of the narrowest of ``widths`` (bytes) that holds them.

    Negative values come out larger than any positive one of their type. Mostly nothing is copied.
    """
    width = next(width for width in widths if width >= max(first.itemsize, second.itemsize))
    # Widening within the kind, signed or not, before the view: so -1 stays recognisable.
    alike = [m.astype(f"{m.dtype.kind}{width}", copy=False).view(f"u{width}") for m in (first, second)]
    return alike[0], alike[1]
