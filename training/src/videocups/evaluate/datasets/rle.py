"""COCO run-length masks in their compressed text form, as MOTS text files hold them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_FIRST_CHARACTER = 48
_MORE, _SIGN, _PAYLOAD = 0x20, 0x10, 0x1F


def decode_mask(text: str, height: int, width: int) -> NDArray[np.bool_]:
    """Return the (H, W) mask. Runs go down the columns, background first."""
    runs = decode_counts(text)
    if sum(runs) != height * width or min(runs, default=0) < 0:
        raise ValueError(
            f"run lengths of a {width}×{height} mask add up to {sum(runs)} px instead of {height * width}; "
            "the text is damaged or the size is wrong"
        )
    values = np.arange(len(runs)) % 2 == 1
    return np.repeat(values, runs).reshape(width, height).T


def decode_counts(text: str) -> list[int]:
    """Return the run lengths: five bits a character, low bits first; from the fourth on, differences two back."""
    counts: list[int] = []
    value, shift = 0, 0
    for character in text:
        bits = ord(character) - _FIRST_CHARACTER
        if not 0 <= bits < 64:
            raise ValueError(f"character {character!r} cannot occur in a run-length mask; the file is damaged")
        value |= (bits & _PAYLOAD) << shift
        shift += 5
        if bits & _MORE:
            continue
        if bits & _SIGN:
            value -= 1 << shift
        counts.append(value + counts[-2] if len(counts) > 2 else value)
        value, shift = 0, 0
    if shift:
        raise ValueError("a run-length mask ends in the middle of a number; the file is damaged")
    return counts
