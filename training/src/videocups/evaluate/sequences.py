"""Tell one sequence of frames from several, whatever iterables the caller has at hand."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any, cast

from videocups.evaluate.overlaps import MAP_NAMES, Frame

Frames = Iterable[Frame]
"""The frames of one sequence, in order; a generator will do."""


def is_frame(item: object) -> bool:
    """Return whether ``item`` is one frame: four 2-D maps as a tuple or list, or one (4, H, W) array."""
    if isinstance(item, (tuple, list)):
        return len(item) == 4 and all(_ndim(part) in (1, 2) for part in item)
    shape = getattr(item, "shape", None)
    return shape is not None and len(shape) == 3 and shape[0] == 4


def keyed_frames(frames: Frames | Iterable[Frames] | Mapping[str, Frames]) -> Iterator[tuple[str, Frame]]:
    """Yield ``(sequence key, frame)`` from one sequence, from an iterable of sequences, or from named sequences.

    The first item decides: a frame means that all of it is one sequence ("0"); anything else must be a sequence.
    """
    if isinstance(frames, Mapping):
        for key, sequence in frames.items():
            yield from ((str(key), frame) for frame in _frames_of(sequence, f"sequence {key!r}"))
        return
    if not isinstance(frames, Iterable):
        raise TypeError(f"expected frames {MAP_NAMES}, one sequence or several, got {type(frames).__name__}")
    items = iter(cast("Iterable[Any]", frames))
    for first in items:
        if is_frame(first):
            yield from (("0", frame) for frame in _frames_of(chain([first], items), "the sequence"))
            return
        if _ndim(first) in (1, 2):
            raise ValueError(f"expected frames {MAP_NAMES}, got a single map; wrap one frame in a list")
        for index, sequence in enumerate(chain([first], items)):
            yield from ((str(index), frame) for frame in _frames_of(sequence, f"sequence {index}"))


def _frames_of(sequence: Frames, name: str) -> Iterator[Frame]:
    if is_frame(sequence):
        raise ValueError(f"{name} is a single frame among sequences; wrap it in a list")
    if not isinstance(sequence, Iterable):
        raise ValueError(f"{name} must be an iterable of frames {MAP_NAMES}, got {type(sequence).__name__}")
    for index, frame in enumerate(sequence):
        if not is_frame(frame):
            raise ValueError(f"item {index} of {name} is no frame; expected four 2-D integer arrays {MAP_NAMES}")
        yield frame


def _ndim(item: object) -> int | None:
    shape = getattr(item, "shape", None)
    return None if shape is None else len(shape)
