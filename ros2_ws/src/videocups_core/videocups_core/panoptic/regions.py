"""Where the segments of an id image lie: runs, areas and boxes, without a full-image pass per segment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class RowRuns:
    """Maximal stretches of one value inside one row, in reading order. All arrays have one entry a run."""

    values: NDArray[Any]  # dtype of the image
    rows: NDArray[np.int64]
    starts: NDArray[np.int64]  # first column
    lengths: NDArray[np.int64]


@dataclass(frozen=True)
class Regions:
    """Area and box of every id that has pixels, void (0) left out, ids ascending."""

    ids: NDArray[Any]
    areas_px: NDArray[np.int64]
    boxes_xywh: NDArray[np.int64]  # (N, 4)


def row_runs(ids: NDArray[Any]) -> RowRuns:
    """Split a (H, W) integer image into runs; a run never crosses a row end."""
    height, width = ids.shape
    if ids.size == 0:
        nothing = np.empty(0, np.int64)
        return RowRuns(np.empty(0, ids.dtype), nothing, nothing, nothing)
    begins = np.empty((height, width), bool)
    begins[:, 0] = True
    np.not_equal(ids[:, 1:], ids[:, :-1], out=begins[:, 1:])
    positions = np.flatnonzero(begins)
    lengths = np.diff(positions, append=ids.size)
    rows, starts = np.divmod(positions, width)
    return RowRuns(ids[rows, starts], rows, starts, lengths)


def measure_regions(ids: NDArray[Any]) -> Regions:
    """Return area and bounding box of every id in a (H, W) integer image, 0 left out."""
    return regions_of_runs(row_runs(ids))


def regions_of_runs(runs: RowRuns) -> Regions:
    """Return area and bounding box per id from the image's runs."""
    keep = np.flatnonzero(runs.values)
    if keep.size == 0:
        return Regions(runs.values[keep], np.empty(0, np.int64), np.empty((0, 4), np.int64))
    order = keep[np.argsort(runs.values[keep], kind="stable")]
    values, rows, starts, lengths = (part[order] for part in (runs.values, runs.rows, runs.starts, runs.lengths))
    first = np.flatnonzero(np.diff(values, prepend=values[0]) != 0)
    first = np.concatenate([[0], first])
    left = np.minimum.reduceat(starts, first)
    right = np.maximum.reduceat(starts + lengths, first)
    top = rows[first]  # stable order keeps rows ascending within an id
    bottom = rows[np.append(first[1:], len(rows)) - 1] + 1
    boxes = np.stack([left, top, right - left, bottom - top], axis=1)
    return Regions(values[first], np.add.reduceat(lengths, first), boxes)
