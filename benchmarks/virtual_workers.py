"""Workers that take turns: how well a run's work can be spread, on a machine that need not have a core for each.

Every chunk runs here and now, but counts for the worker that would have taken it; its CPU time moves that worker's
clock. The scheduler cannot tell the difference. What shows is what workers have to wait for; what they cost each other
in caches and memory does not show.
"""

from __future__ import annotations

from dataclasses import dataclass
from time import process_time

from videocups.pipeline.executors import Result
from videocups.pipeline.manifest import Row, RowWriter
from videocups.pipeline.work import Cache, Chunk, run_chunk


@dataclass(frozen=True)
class Turn:
    """A chunk as its worker saw it, in seconds since the run began."""

    stage: str
    worker: int
    begin: float
    end: float


class VirtualWorkers:
    """An executor of ``workers`` that share this process."""

    def __init__(self, workers: int) -> None:
        self.workers, self.slots = workers, 2 * workers
        self.turns: list[Turn] = []
        self._caches, self._writer = [Cache() for _ in range(workers)], RowWriter()
        self._free = [0.0] * workers
        self._ended: list[tuple[float, Chunk, list[Row]]] = []
        self._now, self._mark = 0.0, process_time()

    @property
    def in_flight(self) -> int:
        """Chunks submitted and not returned."""
        return len(self._ended)

    def submit(self, chunk: Chunk) -> None:
        """Run the chunk on the clock of the worker that is free first."""
        self._now += self._passed()  # the scheduler's own time
        worker = min(range(self.workers), key=self._free.__getitem__)
        begin = max(self._free[worker], self._now)
        rows = run_chunk(chunk, self._caches[worker], self._writer)
        end = self._free[worker] = begin + self._passed()
        self.turns.append(Turn(chunk.stage.name, worker, begin, end))
        self._ended.append((end, chunk, rows))

    def results(self) -> list[Result]:
        """Return the chunk that ended first."""
        first = min(range(len(self._ended)), key=lambda number: self._ended[number][0])
        end, chunk, rows = self._ended.pop(first)
        self._now = max(self._now + self._passed(), end)
        return [(chunk, rows)]

    def close(self) -> None:
        """Nothing is left to stop."""

    def _passed(self) -> float:
        before, self._mark = self._mark, process_time()
        return self._mark - before


def idle(turns: list[Turn], workers: int) -> dict[str, float]:
    """Return how long workers waited, by the stage they waited for; the last line is the end of the run."""
    waits: dict[str, float] = {}
    end = max(turn.end for turn in turns)
    for worker in range(workers):
        free_from = 0.0
        for turn in sorted((turn for turn in turns if turn.worker == worker), key=lambda turn: turn.begin):
            waits[turn.stage] = waits.get(turn.stage, 0.0) + turn.begin - free_from
            free_from = turn.end
        waits["the end"] = waits.get("the end", 0.0) + end - free_from
    return waits
