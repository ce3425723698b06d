"""The worker in two halves: they overlap, in order, and the books stay right; no ROS needed."""

from __future__ import annotations

import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.perception.worker_books import any_steps, check_books, wait_until

from videocups_perception.overlap import OverlappingWorker
from videocups_perception.scheduling import DropCause, FrameRejected


class TwoGates:
    """Both halves let items through one by one, when the test says so, and write down what they did."""

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.finished: list[int] = []
        self.first, self.second = threading.Semaphore(0), threading.Semaphore(0)

    def __call__(self, item: int):
        self.begun.append(item)
        assert self.first.acquire(timeout=10)
        if item % 10 == 7:
            raise FrameRejected(DropCause.CORRUPT, f"{item} is corrupt")
        return lambda: self.finish(item)

    def finish(self, item: int) -> None:
        assert self.second.acquire(timeout=10)
        if item % 10 == 9:
            raise RuntimeError(f"{item} breaks the tracker")
        self.finished.append(item)

    def open(self) -> None:
        self.first.release(1000)
        self.second.release(1000)


def test_an_item_begins_while_the_one_before_finishes_and_no_third_one_does():
    gates = TwoGates()
    worker = OverlappingWorker(gates)
    worker.start()
    gates.first.release(10)
    worker.offer(0)
    wait_until(lambda: gates.begun == [0])
    worker.offer(1)
    wait_until(lambda: gates.begun == [0, 1])  # although 0 is not finished
    for item in (2, 3, 4):
        worker.offer(item)
    time.sleep(0.05)
    assert gates.begun == [0, 1]  # 1 has its first half and waits; what comes next is the newest then
    counts = worker.counts()
    assert (counts.in_flight, counts.processed, counts.dropped) == (3, 0, {DropCause.OVERRUN: 2})
    gates.second.release(10)
    wait_until(lambda: worker.idle)
    assert gates.finished == [0, 1, 4]
    assert worker.stop()


def test_what_either_half_raises_is_told_in_order_and_the_next_item_is_tried():
    gates, drops = TwoGates(), []
    worker = OverlappingWorker(
        gates, lambda cause, error: drops.append((cause.value, str(error))), capacity=9, wait_for_room=True
    )
    worker.start()
    for item in (0, 9, 7, 1, 17, 19, 2):
        worker.offer(item)
    gates.first.release(3)
    wait_until(lambda: len(gates.begun) >= 2)
    time.sleep(0.02)
    assert drops == []
    gates.open()
    wait_until(lambda: worker.idle)
    assert gates.finished == [0, 1, 2]
    broken = [("failed", "9 breaks the tracker"), ("corrupt", "7 is corrupt"), ("corrupt", "17 is corrupt")]
    assert drops == [*broken, ("failed", "19 breaks the tracker")]
    assert worker.stop()
    assert worker.counts().processed == 3


def test_stop_lets_both_items_in_hand_finish_and_rests_only_then():
    gates = TwoGates()
    worker = OverlappingWorker(gates)
    before = threading.active_count()
    worker.start()
    gates.first.release(2)
    for item in range(3):
        worker.offer(item)
        wait_until(lambda item=item: item == 2 or item in gates.begun)
    assert worker.stop(timeout_s=0.1) is False
    with pytest.raises(RuntimeError, match="still processes"):
        worker.start()
    gates.second.release(1)
    assert worker.stop(timeout_s=0.1) is False  # the second half of 1 is still under way
    gates.second.release(1)
    assert worker.stop()
    assert gates.finished == [0, 1]
    assert worker.counts().dropped == {DropCause.STOPPED: 1}
    assert threading.active_count() == before
    gates.open()
    worker.start()
    worker.offer(3)
    wait_until(lambda: worker.counts().processed == 3)
    assert worker.stop()


@settings(max_examples=60, deadline=None)
@given(steps=any_steps("first", "second"), capacity=st.integers(1, 3))
def test_received_is_always_processed_plus_dropped_plus_in_flight(steps, capacity):
    gates, drops = TwoGates(), []
    worker = OverlappingWorker(gates, lambda cause, error: drops.append(cause), capacity=capacity)
    check_books(worker, gates, drops, steps, most_in_flight=capacity + 2)
    assert gates.finished == [item for item in gates.begun if item % 10 not in (7, 9)]
