"""What the three entry points take, and what they refuse instead of guessing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from videocups.evaluate import pq, stq, vpq

MAPS = ([[0, 1, 1]], [[0, 5, 5]], [[0, 1, 1]], [[0, 7, 7]])
SPACE: dict[str, Any] = {"things": [1], "num_classes": 2}


def frame(dtype: str = "int64") -> tuple[np.ndarray[Any, Any], ...]:
    return tuple(np.array(values, dtype) for values in MAPS)


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", ">i4", ">u2"])
def test_every_integer_type(dtype: str) -> None:
    assert stq([frame(dtype)], **SPACE).stq == pq([frame(dtype)], **SPACE).pq == 1.0


@pytest.mark.parametrize("sequences", [1, 2])
def test_lists_and_generators_of_sequences(sequences: int) -> None:
    lists = [[frame()] * 4 for _ in range(sequences)]
    assert stq(lists, **SPACE).stq == 1.0
    assert vpq((iter(frames) for frames in lists), **SPACE).vpq == 1.0
    assert stq(np.stack([np.stack(frame())] * 4), **SPACE).stq == 1.0


@pytest.mark.parametrize("score", [stq, pq, vpq])
@pytest.mark.parametrize(
    ("space", "sentence"),
    [
        ({"things": 1}, r"write things=\[1\]"),
        ({"things": [1.5]}, r"things must be whole numbers, got 1\.5"),
        ({"num_classes": 2.9}, r"num_classes must be whole numbers, got 2\.9"),
        ({"void": 255.0}, r"void must be whole numbers, got 255\.0"),
    ],
)
def test_label_spaces_are_not_rounded(score: Any, space: dict[str, Any], sentence: str) -> None:
    with pytest.raises(TypeError, match=sentence):
        score([frame()], **(SPACE | space))


def test_windows_are_not_rounded() -> None:
    with pytest.raises(TypeError, match="windows must be whole numbers"):
        vpq([frame()], windows=(1.5,), **SPACE)  # type: ignore[arg-type]


@pytest.mark.parametrize("frames", [None, 3])
def test_something_that_holds_no_frames(frames: Any) -> None:
    with pytest.raises(TypeError, match="one sequence or several"):
        stq(frames, **SPACE)
