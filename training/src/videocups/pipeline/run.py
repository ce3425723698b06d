"""The loop that brings a folder of clips up to date."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from videocups.pipeline.executors import Executor, ExecutorName, new_executor
from videocups.pipeline.failures import Tally
from videocups.pipeline.manifest import Row, RowWriter, fold_rows
from videocups.pipeline.plan import Planner, Verdict
from videocups.pipeline.stage import Stage, Stages
from videocups.pipeline.work import Chunk, Task, new_chunk, remove_outputs
from videocups.pipeline.workspace import Workspace
from videocups_core.config import setting

Node = tuple[str, Path]


@dataclass(frozen=True)
class RunConfig:
    """How a run is carried out; nothing here changes a result."""

    # where stages run
    executor: ExecutorName = setting("processes", "where stages run: inline, processes or ray")
    # workers; 0 takes one for each core
    workers: int = setting(0, "workers; 0 takes one for each core", minimum=0)
    # Ray gives a task no GPU that asks for none; elsewhere networks take the GPU they see
    gpu_share: float = setting(0.0, "share of a GPU for a worker in stages of networks, on Ray", minimum=0.0)
    # a GPU is busy only with several frames at once; results differ by rounding
    batch: int = setting(1, "frames that a network sees in one call; 8 and more for a GPU", minimum=1)
    # the run stops when a stage fails on more than this share of its items
    max_failed_share: float = setting(
        0.05, "the run stops when a stage fails on more than this share of its items", minimum=0.0, maximum=1.0
    )
    # a worker gets items for about this long at once ...
    chunk_seconds: float = setting(1.0, "a worker gets items for about this long at once", minimum=0.0)
    # ... and at most this many
    chunk_items: int = setting(64, "at most this many items at once", minimum=1)


class Watcher(Protocol):
    """Shows how a run goes on."""

    def begin(self, stage: str, total: int, done: int, failed: int) -> None:
        """Take note of a stage: items in all, those that need nothing, those that failed before."""
        ...

    def ended(self, row: Row) -> None:
        """Take note of an item that ended."""
        ...


@dataclass
class Summary:
    """What a run did: items by stage."""

    ran: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)


def run_stages(
    stages: Stages,
    workspace: Workspace,
    config: RunConfig | None = None,
    watcher: Watcher | None = None,
    *,
    workers: int = 1,
    retry_failed: bool = False,
    executor: Executor | None = None,
) -> Summary:
    """Bring all artefacts of ``stages`` up to date; ValueError where another run is at work there.

    ``executor``: where chunks run, instead of the one that ``config`` names; it is closed at the end.
    """
    config = config or RunConfig()
    with workspace.lock():
        workspace.remove_halves()
        for place in (*workspace.clips, workspace.data):
            fold_rows(place)
        summary, writer = Summary(), RowWriter()
        executor = executor or new_executor(config.executor, workers, stages.modules())
        try:
            planner = Planner(stages, workspace, retry_failed=retry_failed)
            planner.look_at_frames(writer)
            # A failure can make cleaned inputs necessary that nobody foresaw; the next round makes them.
            while Round(planner, executor, config, summary, watcher).run():
                pass
        finally:
            executor.close()
        summary.left_out = planner.count(Verdict.LEFT_OUT)
        for place in (*workspace.clips, workspace.data):
            fold_rows(place)
    return summary


class Round:
    """One pass over the stages. Items become ready folder by folder, so clips do not wait for each other."""

    def __init__(
        self, planner: Planner, executor: Executor, config: RunConfig, summary: Summary, watcher: Watcher | None
    ) -> None:
        self._planner, self._executor, self._config = planner, executor, config
        self._summary, self._watcher = summary, watcher
        self._stages, self._workspace = planner.stages, planner.workspace
        planner.refresh_all()
        self._wanted = planner.to_do()
        # whole clips first, they take longest; then what a stage of the data set waits for, so that others go on
        # meanwhile; then clip after clip, so that artefacts are read while they are new
        leads_to = self._stages.leads_to()
        self._rank = {
            (stage.name, place): (stage.per not in ("clip", "data"), leads_to[stage.name], rank, number)
            for number, stage in enumerate(self._stages.all)
            for rank, place in enumerate(self._workspace.places(stage))
        }
        self._blocked = set(self._rank)
        self._queues: dict[Node, list[Task]] = {}
        self._running: Counter[Node] = Counter()
        self._changed: set[Node] = set()
        self._times: dict[str, list[float]] = {}
        self._tally = Tally(planner, config.max_failed_share)
        self._announce()

    def run(self) -> bool:
        """Run what is to do; return whether anything ran."""
        self._tally.check()
        self._unblock()
        ran = False
        while self._queues or self._executor.in_flight:
            while self._queues and self._executor.in_flight < self._executor.slots:
                self._executor.submit(self._next_chunk())
            for chunk, rows in self._executor.results():
                ran = True
                self._note(chunk, rows)
            self._tally.check()
            self._unblock()
        return ran

    def _unblock(self) -> None:
        """Queue the items of all nodes whose inputs are complete; one that needs nothing may free others."""
        while ready := [node for node in self._blocked if not any(map(self._is_open, self._upstream(node)))]:
            for node in sorted(ready, key=self._rank.__getitem__):
                self._blocked.remove(node)
                if tasks := self._tasks(node):
                    self._queues[node] = tasks

    def _is_open(self, node: Node) -> bool:
        return node in self._blocked or node in self._queues or self._running[node] > 0

    def _upstream(self, node: Node) -> list[Node]:
        stage = self._stages.by_name[node[0]]
        nodes: list[Node] = []
        for other in self._stages.upstream(stage):
            here = (node[1],) if other.per != "data" and stage.per != "data" else self._workspace.places(other)
            nodes += [(other.name, place) for place in here]
        return nodes

    def _tasks(self, node: Node) -> list[Task]:
        stage = self._stages.by_name[node[0]]
        if any(other in self._changed for other in self._upstream(node)):
            self._planner.refresh(stage, node[1])
            self._changed.add(node)
        tasks = []
        for item in self._planner.items[node].values():
            if item.verdict is Verdict.LEFT_OUT:
                remove_outputs(stage, item.place, item.number)
            is_wanted = item.verdict is Verdict.GONE and item.number in self._wanted.get(node, ())
            if (item.verdict is Verdict.TODO or is_wanted) and self._planner.can_read(item):
                tasks.append(Task(item.number, item.key, item.missing))
        return tasks

    def _next_chunk(self) -> Chunk:
        node = min(self._queues, key=self._rank.__getitem__)
        queue, stage = self._queues[node], self._stages.by_name[node[0]]
        count = self._chunk_size(stage, len(queue))
        self._queues[node] = queue[count:]
        if not self._queues[node]:
            del self._queues[node]
        self._running[node] += 1
        return new_chunk(self._stages, self._workspace, stage, node[1], tuple(queue[:count]))

    def _chunk_size(self, stage: Stage, waiting: int) -> int:
        """About ``chunk_seconds`` of work, and small enough that no worker is left with a long rest at the end."""
        times = self._times.get(stage.name)
        fitting = int(self._config.chunk_seconds * len(times) / max(sum(times), 1e-6)) if times else 2
        share = -(-waiting // (2 * self._executor.workers))
        batch = stage.batch if stage.run_many is not None else 1
        return max(1, min(fitting, share, self._config.chunk_items) // batch * batch, min(batch, waiting))

    def _note(self, chunk: Chunk, rows: list[Row]) -> None:
        node = (chunk.stage.name, chunk.place)
        self._running[node] -= 1
        self._changed.add(node)
        self._times.setdefault(chunk.stage.name, []).extend(row.seconds for row in rows)
        for row in rows:
            self._planner.record(chunk.place, row)
            self._summary.ran[row.stage] += row.outcome == "done"
            if row.outcome == "failed":
                self._summary.failed[row.stage] += 1
                self._tally.add(chunk.place, row)
            if self._watcher is not None:
                self._watcher.ended(row)
        if not self._is_open(node):
            self._planner.refresh(chunk.stage, chunk.place)

    def _announce(self) -> None:
        if self._watcher is None:
            return
        for stage in self._stages.all:
            nodes = [(stage.name, place) for place in self._workspace.places(stage)]
            verdicts = Counter(item.verdict for node in nodes for item in self._planner.items[node].values())
            waiting = sum(len(self._wanted.get(node, ())) for node in nodes)
            failed, total = verdicts[Verdict.FAILED], verdicts.total() - verdicts[Verdict.LEFT_OUT]
            self._watcher.begin(stage.name, total, total - waiting - failed, failed)
