"""Areas and boxes of an 8-bit label map as it will look at another resolution, in a time that no content can change."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

_BITS = 31  # labels a pass, in the positive part of an int32


def measure_labels(
    labels: NDArray[np.uint8], rows: NDArray[np.int64], columns: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return (256,) areas in px and (256, 4) boxes x y w h of all labels; zeros where a label has no pixel.

    ``rows`` and ``columns`` say how often each row and column of ``labels`` is repeated (0: left out) by the resize,
    which itself need not be done. Unlike ``measure_regions`` the cost does not depend on how ragged the labels are.
    """
    if not (rows.all() and columns.all()):
        labels = labels[rows > 0][:, columns > 0]
        rows, columns = rows[rows > 0], columns[columns > 0]
    areas = _areas(labels, rows, columns)
    return areas, _boxes(labels, areas, rows, columns)


def _areas(labels: NDArray[np.uint8], rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[np.int64]:
    """Count parts of equal repetition; a resize repeats by one or two numbers, so there are at most four."""
    areas = np.zeros(256, dtype=np.int64)
    row_counts, column_counts = np.unique(rows), np.unique(columns)
    for row_count in row_counts:
        some_rows = labels if len(row_counts) == 1 else labels[rows == row_count]
        for column_count in column_counts:
            part = some_rows if len(column_counts) == 1 else some_rows[:, columns == column_count]
            counts = cv2.calcHist([np.ascontiguousarray(part)], [0], None, [256], [0, 256])
            # (256, 1), from OpenCV 5 on (256,); float32 is exact up to 2**24 pixels, more than a network's output has.
            areas += row_count * column_count * counts.reshape(256).astype(np.int64)
    return areas


def _boxes(
    labels: NDArray[np.uint8], areas: NDArray[np.int64], rows: NDArray[np.int64], columns: NDArray[np.int64]
) -> NDArray[np.int64]:
    """One bit a label: the bits of a row, OR-ed together, say which labels it holds."""
    boxes = np.zeros((256, 4), dtype=np.int64)
    present = np.flatnonzero(areas)
    row_edges, column_edges = (np.concatenate([[0], np.cumsum(repeats)]) for repeats in (rows, columns))
    for start in range(0, len(present), _BITS):
        some = present[start : start + _BITS]
        table = np.zeros(256, dtype=np.int32)
        table[some] = 1 << np.arange(len(some))
        bits = np.asarray(cv2.LUT(labels, table), dtype=np.int32)
        top, bottom = _span(np.bitwise_or.reduce(bits, axis=1), len(some), row_edges)
        left, right = _span(np.bitwise_or.reduce(bits, axis=0), len(some), column_edges)
        boxes[some] = np.stack([left, top, right - left, bottom - top], axis=1)
    return boxes


def _span(bits: NDArray[np.int32], count: int, edges: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First and last + 1 position of each bit, on the edges of the resized image."""
    held = (bits[:, None] >> np.arange(count)) & 1
    return edges[held.argmax(axis=0)], edges[len(bits) - held[::-1].argmax(axis=0)]
