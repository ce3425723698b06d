"""One worker and one slot: the newest frame wins, and every frame is accounted for.

Plain Python; nothing here knows ROS. At any moment ``received = processed + dropped + in_flight``.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

HELD_BACK_PERIOD_S = 0.05


class DropCause(str, Enum):
    """Why a frame that was received has no output."""

    OVERRUN = "overrun"  # a newer frame came before the worker was free
    THROTTLED = "throttled"  # max_rate_hz
    DISABLED = "disabled"  # switched off by the enable service
    REPEATED = "repeated"  # the stamp of the frame before
    OUT_OF_ORDER = "out_of_order"  # older than a frame already accepted
    FUTURE_STAMP = "future_stamp"  # stamped later than the clock allows
    FOREIGN_FRAME = "foreign_frame"  # the frame_id of another camera
    WRONG_SIZE = "wrong_size"  # width, height, step and data do not fit together
    WRONG_ENCODING = "wrong_encoding"  # an encoding nobody here can read
    CORRUPT = "corrupt"  # compressed data that does not decode
    BAD_CALIBRATION = "bad_calibration"  # a CameraInfo without a usable camera in it
    FAILED = "failed"  # an exception while processing
    STOPPED = "stopped"  # waiting when the node was stopped


DELIBERATE = frozenset({DropCause.THROTTLED, DropCause.DISABLED, DropCause.STOPPED})
"""Drops somebody asked for; all others deserve a warning."""


class FrameRejected(ValueError):  # noqa: N818  a verdict on the input, not a defect of the program
    """A message that cannot become an image: the cause to count and a sentence for the diagnostics."""

    def __init__(self, cause: DropCause, sentence: str) -> None:
        super().__init__(sentence)
        self.cause = cause


@dataclass(frozen=True)
class Counts:
    """The books of a worker at one moment."""

    received: int
    processed: int
    dropped: Mapping[DropCause, int]
    in_flight: int

    @property
    def balanced(self) -> bool:
        """Say whether every received frame is accounted for."""
        return self.received == self.processed + sum(self.dropped.values()) + self.in_flight


class FrameWorker(Generic[Item]):
    """Process items on one thread of its own.

    ``capacity=1`` with ``wait_for_room=False`` is the live mode: an item that waits is replaced by a newer one.
    With ``wait_for_room=True`` nothing is replaced: ``offer`` blocks until there is room, which holds the sender back;
    ``held_back`` is called meanwhile, on the thread that waits, and False from it gives the item up as STOPPED.
    ``process`` returns normally for a processed item, raises FrameRejected for one to be dropped with its own
    cause; any other exception counts as FAILED. ``on_drop`` hears every drop, on whichever thread it happens.
    """

    def __init__(
        self,
        process: Callable[[Item], object],
        on_drop: Callable[[DropCause, Exception | None], None] = lambda cause, error: None,
        *,
        capacity: int = 1,
        wait_for_room: bool = False,
        held_back: Callable[[], bool] = lambda: True,
    ) -> None:
        if capacity < 1:
            raise ValueError(f"capacity must be at least 1 frame, got {capacity}")
        self._process = process
        self._on_drop = on_drop
        self._capacity = capacity
        self._wait_for_room = wait_for_room
        self._held_back = held_back
        self._changed = threading.Condition()
        self._waiting: deque[Item] = deque()
        self._in_hand = 0
        self._running = False
        # An event, because up to Python 3.12 a join that a signal interrupts takes the thread for ended.
        self._at_rest = threading.Event()
        self._at_rest.set()
        self._received = 0
        self._processed = 0
        self._dropped: Counter[DropCause] = Counter()

    def start(self) -> None:
        """Start the thread; RuntimeError while the last one is still stuck in an item."""
        if not self._at_rest.is_set():
            raise RuntimeError("the worker still processes a frame from before the stop; try again when it is done")
        with self._changed:
            self._running = True
        self._at_rest.clear()
        threading.Thread(target=self._run_to_rest, name="frame-worker", daemon=True).start()

    def stop(self, timeout_s: float = 2.0) -> bool:
        """Drop what waits, let the item in hand finish, and say whether it did within ``timeout_s``."""
        with self._changed:
            self._running = False
            left = len(self._waiting)
            self._waiting.clear()
            self._dropped[DropCause.STOPPED] += left
            self._changed.notify_all()
        for _ in range(left):
            self._on_drop(DropCause.STOPPED, None)
        return self._at_rest.wait(timeout_s)

    def offer(self, item: Item) -> None:
        """Hand over an item; it is processed, or dropped with a cause."""
        cause: DropCause | None = None
        with self._changed:
            self._received += 1
            if not self._has_room():
                cause = DropCause.STOPPED
            else:
                if len(self._waiting) >= self._capacity:
                    self._waiting.popleft()
                    cause = DropCause.OVERRUN
                self._waiting.append(item)
                self._changed.notify_all()
            if cause is not None:
                self._dropped[cause] += 1
        if cause is not None:
            self._on_drop(cause, None)

    def _has_room(self) -> bool:
        """Wait for room where that is wanted; say whether to go on. The lock is held, and released while waiting."""
        while self._running and self._wait_for_room and len(self._waiting) >= self._capacity:
            self._changed.wait(HELD_BACK_PERIOD_S)
            if not self._held_back():
                return False
        return self._running

    def refuse(self, cause: DropCause, error: Exception | None = None) -> None:
        """Account for an item that never became work."""
        with self._changed:
            self._received += 1
            self._dropped[cause] += 1
        self._on_drop(cause, error)

    def counts(self) -> Counts:
        """Return the books; an ``offer`` that waits for room is in flight."""
        with self._changed:
            settled = self._processed + sum(self._dropped.values())
            return Counts(self._received, self._processed, dict(self._dropped), self._received - settled)

    @property
    def idle(self) -> bool:
        """Say whether nothing waits and nothing is in hand."""
        with self._changed:
            return not self._in_hand and not self._waiting

    def _run_to_rest(self) -> None:
        try:
            self._run()
        finally:
            self._at_rest.set()

    def _run(self) -> None:
        while (item := self._next()) is not None:
            outcome = attempt(self._process, item)
            del item  # a frame is megabytes; do not hold it while waiting for the next
            self._settle(outcome)

    def _next(self) -> Item | None:
        """Wait for an item and take it in hand; None once the worker is stopped."""
        with self._changed:
            while self._running and not self._waiting:
                self._changed.wait()
            if not self._running:
                return None
            item = self._waiting.popleft()
            self._in_hand += 1
            self._changed.notify_all()
        return item

    def _settle(self, outcome: object) -> None:
        """Book the oldest item in hand; an exception for an outcome is a drop."""
        error = outcome if isinstance(outcome, Exception) else None
        cause = error.cause if isinstance(error, FrameRejected) else DropCause.FAILED
        with self._changed:
            self._in_hand -= 1
            if error is None:
                self._processed += 1
            else:
                self._dropped[cause] += 1
        if error is not None:
            self._on_drop(cause, error)


def attempt(step: Callable[..., Result], *arguments: object) -> Result | Exception:
    """Return what ``step`` returns, or what it raised: the boundary, behind which the next item is tried."""
    try:
        return step(*arguments)
    except Exception as error:  # counted and reported through on_drop
        return error
