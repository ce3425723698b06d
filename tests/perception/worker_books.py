"""The books of a worker under any sequence of events: one property, whatever kind of worker it is."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from videocups_perception.scheduling import DropCause

Steps = list[tuple[str, int]]


def wait_until(condition: Callable[[], Any], timeout_s: float = 5.0) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, "condition not met in time"
        time.sleep(0.0005)


def any_steps(*gates: str) -> st.SearchStrategy[Steps]:
    """Events in any order: an item comes, one is refused, a gate lets an item through, the worker starts again."""
    events = st.sampled_from(["offer", "refuse", "restart", *gates])
    return st.lists(st.tuples(events, st.integers(0, 30)), max_size=40)


def check_books(worker: Any, work: Any, drops: list[DropCause], steps: Steps, most_in_flight: int) -> None:
    """Let the steps happen to ``worker``, whose gates are semaphores of ``work``, and look into its books after each.

    Received is always processed plus dropped plus in flight; what is dropped was told to ``drops``.
    """
    gates = [name for name, value in vars(work).items() if isinstance(value, threading.Semaphore)]

    def open_gates() -> None:
        for name in gates:
            getattr(work, name).release(1000)

    worker.start()
    sent = 0
    for action, value in steps:
        if action == "offer":
            worker.offer(value)
            sent += 1
        elif action == "refuse":
            worker.refuse(DropCause.WRONG_SIZE)
            sent += 1
        elif action == "restart":
            open_gates()
            assert worker.stop(5)
            for name in gates:
                setattr(work, name, threading.Semaphore(0))
            worker.start()
        else:
            getattr(work, action).release()
        counts = worker.counts()
        assert counts.balanced
        assert counts.received == sent
        assert 0 <= counts.in_flight <= most_in_flight
    open_gates()
    wait_until(lambda: worker.idle)
    assert worker.stop(5)
    counts = worker.counts()
    assert (counts.in_flight, counts.balanced) == (0, True)
    assert counts.processed == len(work.finished)
    assert sorted(drops) == sorted(cause for cause, number in counts.dropped.items() for _ in range(number))
