"""How a run goes on: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TextIO

from videocups.pipeline.manifest import Row
from videocups.progress import LINE_EVERY_S, counted, duration

REDRAW_S = 0.25


@dataclass
class StageCount:
    """Items of one stage: ``total`` without those left out, ``ready`` before the run."""

    name: str
    total: int
    ready: int
    failed: int
    ran: int = 0
    first_s: float = 0.0
    last_s: float = 0.0

    @property
    def done(self) -> int:
        """Items with a result."""
        return min(self.ready + self.ran, self.total)

    @property
    def left(self) -> int:
        """Items to come."""
        return max(self.total - self.done - self.failed, 0)

    def rate(self) -> float | None:
        """Items per second since the stage's first."""
        elapsed = self.last_s - self.first_s
        # one item says nothing yet: the first of a stage also waits for what is loaded and compiled
        return self.ran / elapsed if self.ran > 1 and elapsed > 0 else None


class ProgressTable:
    """Shows every stage with done, failed, rate and time left; use it as a context manager."""

    def __init__(self, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream, self._clock = stream or sys.stderr, clock
        self.stages: dict[str, StageCount] = {}
        self._live: Any = None
        self._next_s = 0.0

    def __enter__(self) -> ProgressTable:
        if self._stream.isatty():
            from rich.console import Console
            from rich.live import Live

            self._live = Live(console=Console(file=self._stream), auto_refresh=False)
            self._live.start()
        self._next_s = self._clock() + LINE_EVERY_S
        return self

    def __exit__(self, *exception: object) -> None:
        if self._live is not None:
            self._live.update(self.table(), refresh=True)
            self._live.stop()

    def begin(self, stage: str, total: int, done: int, failed: int) -> None:
        """Take note of a stage; a later round of the run counts on."""
        known = self.stages.get(stage)
        if known is None:
            started = any(count.left for count in self.stages.values())
            count = self.stages[stage] = StageCount(stage, total, done, failed)
            if self._live is None and not started and count.left:
                print(f"{stage}: begins, {counted(count.left, 'item')} to do", file=self._stream, flush=True)
        else:
            known.total, known.ready, known.failed = total, done - known.ran, failed

    def ended(self, row: Row) -> None:
        """Count an item."""
        count, now = self.stages[row.stage], self._clock()
        if not count.first_s:
            count.first_s = now - row.seconds
        count.last_s = now
        count.ran += row.outcome == "done"
        count.failed += row.outcome == "failed"
        count.total -= row.outcome == "left out"
        if now >= self._next_s:
            self._draw(now, count)

    def table(self) -> Any:
        """Return the table as rich draws it."""
        from rich.table import Table

        table = Table(box=None, pad_edge=False)
        table.add_column("stage")
        for column in ("done", "of", "failed", "items/s", "left"):
            table.add_column(column, justify="right")
        for count in self.stages.values():
            style = "red" if count.failed else "dim" if not count.left else None
            table.add_row(count.name, str(count.done), str(count.total), str(count.failed), *_pace(count), style=style)
        return table

    def _draw(self, now: float, count: StageCount) -> None:
        if self._live is not None:
            self._live.update(self.table(), refresh=True)
            self._next_s = now + REDRAW_S
            return
        rate, left = _pace(count)
        text = f"{count.name}: {count.done} of {count.total}, {count.failed} failed, {rate} items/s, {left} left"
        print(text, file=self._stream, flush=True)
        self._next_s = now + LINE_EVERY_S


def _pace(count: StageCount) -> tuple[str, str]:
    rate = count.rate()
    if rate is None:
        return "-", "-"
    return f"{rate:.1f}", duration(count.left / rate)
