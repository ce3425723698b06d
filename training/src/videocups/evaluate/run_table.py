"""The compiled part of the counting: find the runs and sum their lengths per key in a small open-addressing table."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

_FIRST_ENTRIES = 512  # a power of two; a street scene has a few hundred pairs a frame
_CHUNK = 1 << 14  # items, a multiple of 8; a chunk of all maps stays in the nearest caches
_ODD_A = np.uint64(0x9E3779B97F4A7C15)  # odd 64-bit multipliers with well-spread bits
_ODD_B = np.uint64(0xC2B2AE3D27D4EB4F)
_ODD_C = np.uint64(0x165667B19E3779F9)
_ODD_D = np.uint64(0xD6E8FEB86659FD93)
_HALF, _ONE = np.uint64(32), np.uint64(1)


@njit(cache=True, nogil=True)
def _slot_of(a: Any, b: Any, c: Any, d: Any, size: int) -> Any:
    mixed = (a * _ODD_A) ^ (b * _ODD_B) ^ (c * _ODD_C) ^ (d * _ODD_D)
    mixed ^= mixed >> _HALF
    mixed *= _ODD_A
    return (mixed ^ (mixed >> _HALF)) & np.uint64(size - 1)


@njit(cache=True, nogil=True)
def _fold(
    a: NDArray[Any],
    b: NDArray[Any],
    c: NDArray[Any],
    d: NDArray[Any],
    starts: NDArray[np.int64],
    lengths: NDArray[np.int64],
    table: tuple[NDArray[np.int64], NDArray[np.uint64], NDArray[np.int64]],
    used: int,
) -> tuple[int, int]:
    """Add runs to the table until it is full; return how many runs were added and how many entries there are.

    ``table``: slots (entry number or -1), keys (N, 4) and items (N,) of the entries; half as many entries as slots.
    """
    slots, keys, items = table
    for run in range(starts.size):
        start = starts[run]
        w, x, y, z = np.uint64(a[start]), np.uint64(b[start]), np.uint64(c[start]), np.uint64(d[start])
        slot = _slot_of(w, x, y, z, slots.size)
        entry = slots[slot]
        # Whole keys are compared, so a collision costs time and never a wrong count.
        while entry >= 0 and not (
            keys[entry, 0] == w and keys[entry, 1] == x and keys[entry, 2] == y and keys[entry, 3] == z
        ):
            slot = (slot + _ONE) & np.uint64(slots.size - 1)
            entry = slots[slot]
        if entry >= 0:
            items[entry] += lengths[run]
            continue
        if used == items.size:
            return run, used
        slots[slot] = used
        keys[used, 0], keys[used, 1], keys[used, 2], keys[used, 3] = w, x, y, z
        items[used] = lengths[run]
        used += 1
    return starts.size, used


@njit(cache=True, nogil=True)
def _grown(
    keys: NDArray[np.uint64], items: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.uint64], NDArray[np.int64]]:
    """Return a table with room for twice the entries."""
    count = items.size
    slots = np.full(4 * count, -1, dtype=np.int64)
    more_keys = np.empty((2 * count, 4), dtype=np.uint64)
    more_items = np.empty(2 * count, dtype=np.int64)
    for entry in range(count):
        more_items[entry] = items[entry]
        for column in range(4):
            more_keys[entry, column] = keys[entry, column]
        slot = _slot_of(keys[entry, 0], keys[entry, 1], keys[entry, 2], keys[entry, 3], slots.size)
        while slots[slot] >= 0:
            slot = (slot + _ONE) & np.uint64(slots.size - 1)
        slots[slot] = entry
    return slots, more_keys, more_items


@njit(cache=True, nogil=True)
def _changes(
    a: NDArray[Any], b: NDArray[Any], c: NDArray[Any], d: NDArray[Any], marks: Any, words: Any, positions: Any
) -> int:
    """Write the positions where any of the maps differs from the item before; return how many there are."""
    count = a.size - 1
    # Two shifted views and no branch: compiled to vector instructions.
    a0, b0, c0, d0 = a[:count], b[:count], c[:count], d[:count]
    a1, b1, c1, d1 = a[1:], b[1:], c[1:], d[1:]
    for i in range(count):
        marks[i] = (a0[i] != a1[i]) | (b0[i] != b1[i]) | (c0[i] != c1[i]) | (d0[i] != d1[i])
    groups = (count + 7) // 8
    for i in range(count, 8 * groups):
        marks[i] = 0
    found = 0
    for group in range(groups):
        if words[group] != 0:
            for i in range(8 * group, 8 * group + 8):
                positions[found] = i + 1  # without a branch: here changes come in clusters nobody can predict
                found += marks[i]
    return found


@njit(cache=True, nogil=True)
def count_runs(
    a: NDArray[Any], b: NDArray[Any], c: NDArray[Any], d: NDArray[Any]
) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Count the items of every key ``(a[i], b[i], c[i], d[i])`` of flat unsigned arrays that are not empty.

    Returns the keys (N, 4) uint64 in order of first appearance and their counts (N,).
    """
    slots = np.full(2 * _FIRST_ENTRIES, -1, dtype=np.int64)
    table = slots, np.empty((_FIRST_ENTRIES, 4), dtype=np.uint64), np.empty(_FIRST_ENTRIES, dtype=np.int64)
    used = 0
    marks = np.zeros(_CHUNK, dtype=np.uint8)
    words = marks.view(np.uint64)
    starts = np.empty(_CHUNK + 1, dtype=np.int64)
    for begin in range(0, a.size, _CHUNK):
        end = min(begin + _CHUNK, a.size)
        found = _changes(a[begin:end], b[begin:end], c[begin:end], d[begin:end], marks, words, starts[1:])
        starts[0] = 0
        runs = starts[: found + 1]
        lengths = np.empty(found + 1, dtype=np.int64)
        for run in range(found):
            lengths[run] = runs[run + 1] - runs[run]
        lengths[found] = end - begin - runs[found]
        done = 0
        while done < runs.size:
            added, used = _fold(
                a[begin:end], b[begin:end], c[begin:end], d[begin:end], runs[done:], lengths[done:], table, used
            )
            done += added
            if done < runs.size:
                table = _grown(table[1], table[2])
    return table[1][:used], table[2][:used]
