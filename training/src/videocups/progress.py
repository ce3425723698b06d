"""Show how long work takes: a bar with rate and time left on a terminal, plain lines otherwise."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, TextIO, TypeVar

Item = TypeVar("Item")
LINE_EVERY_S = 5.0
QUIET_S = 2.0  # work shorter than this is not worth a line


class Progress(AbstractContextManager["Progress"]):
    """Count work done; use it as a context manager.

    with Progress("ingest", total=300, unit="frames") as progress:
        for frame in frames:
            progress.advance()
    """

    def __init__(
        self,
        what: str,
        *,
        total: float | None = None,
        unit: str = "items",
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.what, self.total, self.unit = what, total, unit
        self.done = 0.0
        self._stream = stream or sys.stderr
        self._clock = clock
        self._start = clock()
        self._next_line_s = self._start + QUIET_S
        self._said: float | None = None  # what the last line said is done
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> Progress:
        self._start = self._clock()
        self._next_line_s = self._start + QUIET_S
        if self._stream.isatty():
            self._open_bar()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
        elif kind is None and self._said != self.done and self._clock() - self._start >= QUIET_S:
            self._line()

    def advance(self, amount: float = 1.0) -> None:
        """Note that ``amount`` more is done."""
        self.update(self.done + amount)

    def update(self, done: float) -> None:
        """Note that ``done`` is done in all."""
        self.done = done
        if self._bar is not None:
            self._bar.update(self._task, completed=done, rate=self._rate_text())
        elif self._clock() >= self._next_line_s:
            self._line()
            self._next_line_s = self._clock() + LINE_EVERY_S

    def _line(self) -> None:
        text = f"{self.what}: {self._amount(self.done)} {self.unit}"
        if self.total:
            share = f"{self.done / self.total:.0%}"
            text = f"{self.what}: {self._amount(self.done)} of {self._amount(self.total)} {self.unit} ({share})"
        text += f", {self._rate_text()}"
        left = self._seconds_left()
        if left is not None and self.total and self.done < self.total:
            text += f", {duration(left)} left"
        print(text, file=self._stream, flush=True)
        self._said = self.done

    def _rate_text(self) -> str:
        elapsed = self._clock() - self._start
        rate = self.done / elapsed if elapsed > 0 else 0.0
        return f"{rate:.{1 if rate < 100 else 0}f} {self.unit}/s"

    def _seconds_left(self) -> float | None:
        elapsed = self._clock() - self._start
        if not self.total or not self.done or elapsed <= 0:
            return None
        return max(self.total - self.done, 0.0) * elapsed / self.done

    @staticmethod
    def _amount(value: float) -> str:
        return f"{value:.0f}" if float(value).is_integer() else f"{value:.1f}"

    def _open_bar(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        columns = [TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn()]
        columns += [TextColumn("{task.fields[rate]}"), TimeRemainingColumn()]
        self._bar = RichProgress(*columns, console=Console(file=self._stream), transient=False)
        self._task = self._bar.add_task(self.what, total=self.total, rate="")
        self._bar.start()


def track(items: Iterable[Item], what: str, *, total: float | None = None, unit: str = "items") -> Iterator[Item]:
    """Iterate over ``items`` and show the progress; the total is taken from ``len`` where there is one."""
    if total is None and isinstance(items, Sized):
        total = len(items)
    with Progress(what, total=total, unit=unit) as progress:
        for item in items:
            yield item
            progress.advance()


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: 1 clip, 2 clips."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def duration(seconds: float) -> str:
    """Return seconds as m:ss or h:mm:ss."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
