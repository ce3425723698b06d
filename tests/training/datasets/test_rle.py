"""Run-length masks, against hand-worked text and an encoder written from the format's definition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from videocups.evaluate.datasets.rle import decode_counts, decode_mask


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        ("213", [2, 1, 3]),
        ("d0", [20]),  # 20 = 0b10100 would look negative in five bits, so a second group follows
        ("342M", [3, 4, 2, 1]),  # the fourth is a difference: 1 - 4 = -3, 0b11101 = 29 = 'M'
    ],
)
def test_by_hand(text: str, counts: list[int]) -> None:
    assert decode_counts(text) == counts


def test_runs_go_down_the_columns() -> None:
    assert decode_mask("213", 2, 3).tolist() == [[False, True, False], [False, False, False]]


def encode(mask: np.ndarray) -> str:
    counts, value = [0], False
    for pixel in mask.T.reshape(-1).tolist():
        if pixel != value:
            counts.append(0)
            value = pixel
        counts[-1] += 1
    text = ""
    for index, count in enumerate(counts):
        rest = count - counts[index - 2] if index > 2 else count
        while True:
            group = rest & 31
            rest >>= 5
            more = rest != (-1 if group & 16 else 0)
            text += chr(48 + group + (32 if more else 0))
            if not more:
                break
    return text


@given(arrays(np.bool_, st.tuples(st.integers(1, 40), st.integers(1, 40))))
def test_round_trip(mask: np.ndarray) -> None:
    assert (decode_mask(encode(mask), *mask.shape) == mask).all()


@pytest.mark.parametrize(("text", "match"), [("21", "add up to 3 px"), ("d", "middle"), ("2 3", "cannot occur")])
def test_damage_is_told(text: str, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        decode_mask(text, 2, 3)
