"""Where chunks run: in this process, in a pool of local processes, or on a Ray cluster (``ray_executor``)."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from typing import Literal, Protocol

from videocups.pipeline.manifest import Row, RowWriter, read_rows
from videocups.pipeline.work import Cache, Chunk, Task, run_chunk
from videocups.pipeline.worker_start import begin_worker, no_interrupts, start_server
from videocups.pipeline.workspace import item_name

ExecutorName = Literal["inline", "processes", "ray"]
Result = tuple[Chunk, list[Row]]


class Executor(Protocol):
    """Runs chunks. ``slots``: how many may be in flight; more would only wait."""

    workers: int
    slots: int

    @property
    def in_flight(self) -> int:
        """Chunks submitted and not returned."""
        ...

    def submit(self, chunk: Chunk) -> None:
        """Begin a chunk."""
        ...

    def results(self) -> list[Result]:
        """Wait until at least one chunk has ended and return those that have; errors of the run itself are raised."""
        ...

    def close(self) -> None:
        """Stop; what runs is given up."""
        ...


class Inline:
    """Runs every chunk here and now."""

    workers = 1
    slots = 1

    def __init__(self) -> None:
        self._cache, self._writer = Cache(), RowWriter()
        self._waiting: deque[Chunk] = deque()

    @property
    def in_flight(self) -> int:
        """Chunks submitted and not returned."""
        return len(self._waiting)

    def submit(self, chunk: Chunk) -> None:
        """Keep the chunk for ``results``."""
        self._waiting.append(chunk)

    def results(self) -> list[Result]:
        """Run the oldest chunk."""
        chunk = self._waiting.popleft()
        return [(chunk, run_chunk(chunk, self._cache, self._writer))]

    def close(self) -> None:
        """Forget what was not run."""
        self._waiting.clear()


class Processes:
    """A pool of local processes, one core each; ``modules`` are loaded before they fork, with the first chunk."""

    def __init__(self, workers: int, modules: Sequence[str] = ()) -> None:
        self.workers, self.slots = workers, 2 * workers
        self._modules = modules
        self._pool: ProcessPoolExecutor | None = None
        self._futures: dict[Future[list[Row]], Chunk] = {}
        self._writer = RowWriter()

    @property
    def in_flight(self) -> int:
        """Chunks submitted and not returned."""
        return len(self._futures)

    def submit(self, chunk: Chunk) -> None:
        """Hand the chunk to the next idle process."""
        try:
            future = self._submit(chunk)
        except BrokenProcessPool as error:  # a process died since ``results``, which will replace it
            future = Future()
            future.set_exception(error)
        self._futures[future] = chunk

    def results(self) -> list[Result]:
        """Wait for at least one chunk. A process that died is replaced, and the item that kills it fails."""
        ended, _ = wait(self._futures, return_when=FIRST_COMPLETED)
        if any(isinstance(future.exception(), BrokenProcessPool) for future in ended):
            return self._recover()
        return [(self._futures.pop(future), future.result()) for future in ended]

    def close(self) -> None:
        """Stop the pool; chunks that were not begun are dropped, those that run end first."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def _submit(self, chunk: Chunk) -> Future[list[Row]]:
        if self._pool is None:
            context = start_server(self._modules)
            self._pool = ProcessPoolExecutor(self.workers, context, begin_worker, (dict(os.environ),))
        with no_interrupts():  # the first chunks start processes
            return self._pool.submit(run_in_worker, chunk)

    def _recover(self) -> list[Result]:
        """Run the items that were lost with a process one at a time, to find the one that kills it."""
        lost, self._futures = list(self._futures.values()), {}
        self.close()
        self._pool = None
        return [(chunk, [self._alone(chunk, task) for task in chunk.tasks]) for chunk in lost]

    def _alone(self, chunk: Chunk, task: Task) -> Row:
        row = read_rows(chunk.place).get((chunk.stage.name, item_name(task.number)))
        if row is not None and row.key == task.key:
            return row
        try:
            return self._submit(replace(chunk, tasks=(task,))).result()[0]
        except BrokenProcessPool:
            self._pool = None
            text = "the worker process died: killed from outside, out of memory, or a crash in native code"
            name = item_name(task.number)
            row = Row(chunk.stage.name, name, task.key, "failed", error=text, at_ns=time.time_ns())
            self._writer.append(chunk.place, row)
            return row


_OF_THIS_PROCESS: list[tuple[Cache, RowWriter]] = []


def run_in_worker(chunk: Chunk) -> list[Row]:
    """Run a chunk with the cache and the row writer of this process."""
    if not _OF_THIS_PROCESS:
        _OF_THIS_PROCESS.append((Cache(), RowWriter()))
    return run_chunk(chunk, *_OF_THIS_PROCESS[0])


def new_executor(name: ExecutorName, workers: int, modules: Sequence[str] = ()) -> Executor:
    """Return the executor ``name``; ``modules``: what stages need, for workers of this machine."""
    if name == "inline":
        if workers != 1:
            raise ValueError(f"the inline executor is one worker, got {workers}; use --executor processes")
        return Inline()
    if name == "processes":
        return Processes(workers, modules)
    from videocups.pipeline.ray_executor import RayCluster

    return RayCluster(workers)
