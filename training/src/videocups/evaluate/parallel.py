"""Score sequences in several processes; the parts merge exactly, so the number of processes cannot show."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import Protocol, TypeVar

from videocups.evaluate.overlaps import Frame, PairCounts, count_pairs


class Accumulator(Protocol):
    """What every metric here offers."""

    def update_pairs(self, sequence_key: Hashable, pairs: PairCounts) -> None:
        """Add one frame of a sequence."""


class MergingAccumulator(Accumulator, Protocol):
    """An accumulator that also takes in another one of its kind."""

    def merge(self, other: MergingAccumulator) -> None:
        """Add the counts of ``other``."""


Scores = Mapping[str, Accumulator]
"""Metrics by name, fed with the same frames."""
S = TypeVar("S", bound=Scores)
Reader = Callable[[], Iterable[Frame]]
"""Opens one sequence; picklable (a function with ``functools.partial``, not a lambda) if processes are used."""


def score_sequence(make: Callable[[], S], key: Hashable, read: Reader) -> S:
    """Return fresh accumulators fed with one sequence; each frame's pixels are counted once for all of them."""
    scores = make()
    for frame in read():
        pairs = count_pairs(frame)
        for accumulator in scores.values():
            accumulator.update_pairs(key, pairs)
    return scores


def score_sequences(
    make: Callable[[], S], sequences: Mapping[str, Reader], workers: int = 1
) -> Iterator[tuple[str, S]]:
    """Yield ``(sequence key, its accumulators)`` as they are done; merge them in any order.

    With one worker everything runs in this process. A failure in any sequence is raised here.
    """
    if workers <= 1:
        for key, read in sequences.items():
            yield key, score_sequence(make, key, read)
        return
    # spawn: forking a process that already runs threads (OpenCV, BLAS) can deadlock.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=min(workers, len(sequences) or 1), mp_context=context) as pool:
        futures = {pool.submit(score_sequence, make, key, read): key for key, read in sequences.items()}
        for future in as_completed(futures):
            yield futures[future], future.result()


def merge_scores(total: Mapping[str, MergingAccumulator], part: Mapping[str, MergingAccumulator]) -> None:
    """Merge every accumulator of ``part`` into the one of the same name in ``total``."""
    if total.keys() != part.keys():
        raise ValueError(f"cannot merge scores {sorted(part)} into {sorted(total)}; make both with one function")
    for name, accumulator in part.items():
        total[name].merge(accumulator)
