"""The compiled part of the counting: a small open-addressing table that sums run lengths per key."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

_FIRST_SLOTS = 1024  # a power of two; a street scene has a few hundred pairs a frame
_ODD_A = np.uint64(0x9E3779B97F4A7C15)  # odd 64-bit multipliers with well-spread bits
_ODD_B = np.uint64(0xC2B2AE3D27D4EB4F)
_ODD_C = np.uint64(0x165667B19E3779F9)
_ODD_D = np.uint64(0xD6E8FEB86659FD93)
_HALF = np.uint64(32)


@njit(cache=True, nogil=True)
def _hash(a: np.uint64, b: np.uint64, c: np.uint64, d: np.uint64) -> np.uint64:
    mixed = (a * _ODD_A) ^ (b * _ODD_B) ^ (c * _ODD_C) ^ (d * _ODD_D)
    mixed ^= mixed >> _HALF
    mixed *= _ODD_A
    return mixed ^ (mixed >> _HALF)


@njit(cache=True, nogil=True)
def _grown(slots: NDArray[np.int64], hashes: NDArray[np.uint64], used: int) -> NDArray[np.int64]:
    """Return a table of twice the size that holds the entries 0 .. used - 1."""
    larger = np.full(2 * slots.size, -1, dtype=np.int64)
    mask = np.uint64(larger.size - 1)
    for entry in range(used):
        slot = hashes[entry] & mask
        while larger[slot] >= 0:
            slot = (slot + np.uint64(1)) & mask
        larger[slot] = entry
    return larger


@njit(cache=True, nogil=True)
def _doubled(values, size):  # type: ignore[no-untyped-def]
    longer = np.empty(size, dtype=values.dtype)
    longer[: values.size] = values
    return longer


@njit(cache=True, nogil=True)
def fold_runs(
    a: NDArray[np.uint64],
    b: NDArray[np.uint64],
    c: NDArray[np.uint64],
    d: NDArray[np.uint64],
    lengths: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Sum ``lengths`` over runs with the same key ``(a, b, c, d)``.

    Returns, for each different key, the index of its first run and its total, in order of first appearance.
    Whole keys are compared, so a hash collision costs time and never a wrong count.
    """
    slots = np.full(_FIRST_SLOTS, -1, dtype=np.int64)
    first = np.empty(_FIRST_SLOTS // 2, dtype=np.int64)
    totals = np.empty(_FIRST_SLOTS // 2, dtype=np.int64)
    hashes = np.empty(_FIRST_SLOTS // 2, dtype=np.uint64)
    used = 0
    for run in range(lengths.size):
        code = _hash(a[run], b[run], c[run], d[run])
        mask = np.uint64(slots.size - 1)
        slot = code & mask
        entry = slots[slot]
        while entry >= 0:
            known = first[entry]
            if a[known] == a[run] and b[known] == b[run] and c[known] == c[run] and d[known] == d[run]:
                break
            slot = (slot + np.uint64(1)) & mask
            entry = slots[slot]
        if entry >= 0:
            totals[entry] += lengths[run]
            continue
        slots[slot] = used
        first[used], totals[used], hashes[used] = run, lengths[run], code
        used += 1
        if used == first.size:
            slots = _grown(slots, hashes, used)
            first, totals, hashes = (
                _doubled(first, slots.size // 2),
                _doubled(totals, slots.size // 2),
                _doubled(hashes, slots.size // 2),
            )
    return first[:used], totals[:used]
