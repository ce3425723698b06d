"""The books of the worker and the verdicts of the gate; no ROS needed."""

from __future__ import annotations

import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.perception.worker_books import any_steps, check_books, wait_until

from videocups_perception.frame_gate import FrameGate, GateLimits
from videocups_perception.scheduling import DropCause, FrameRejected, FrameWorker

S = 1_000_000_000


class Turnstile:
    """A process function that lets items through one by one, when the test says so."""

    def __init__(self) -> None:
        self.finished: list[int] = []
        self.permits = threading.Semaphore(0)
        self.entered = threading.Event()

    def __call__(self, item: int) -> None:
        self.entered.set()
        assert self.permits.acquire(timeout=10)
        if item % 10 == 7:
            raise FrameRejected(DropCause.CORRUPT, "sevens are corrupt")
        if item % 10 == 9:
            raise RuntimeError("nines break the model")
        self.finished.append(item)


def test_a_newer_frame_replaces_the_one_that_waits():
    turnstile = Turnstile()
    worker = FrameWorker(turnstile)
    worker.start()
    worker.offer(0)
    assert turnstile.entered.wait(5)
    for item in (1, 2, 3):
        worker.offer(item)
    counts = worker.counts()
    assert counts.dropped == {DropCause.OVERRUN: 2}
    assert counts.in_flight == 2
    assert counts.balanced
    turnstile.permits.release(2)
    wait_until(lambda: worker.idle)
    assert turnstile.finished == [0, 3]
    assert worker.stop()


def test_an_exception_is_counted_and_the_next_frame_is_tried():
    turnstile, drops = Turnstile(), []
    worker = FrameWorker(turnstile, lambda cause, error: drops.append((cause, str(error))))
    worker.start()
    turnstile.permits.release(10)
    for item in (9, 7, 1):
        worker.offer(item)
        wait_until(lambda: worker.idle)
    assert turnstile.finished == [1]
    assert drops == [(DropCause.FAILED, "nines break the model"), (DropCause.CORRUPT, "sevens are corrupt")]
    assert worker.stop()
    assert worker.counts().processed == 1
    assert worker.counts().balanced


def test_without_drops_the_sender_is_held_back_and_nothing_is_lost():
    done: list[int] = []
    worker = FrameWorker(lambda item: (time.sleep(0.002), done.append(item)), capacity=3, wait_for_room=True)
    worker.start()
    for item in range(40):
        worker.offer(item)
        assert worker.counts().in_flight <= 5  # three wait, one is in hand, one is being booked as done
    wait_until(lambda: worker.idle)
    assert done == list(range(40))
    assert worker.counts().dropped == {}
    assert worker.stop()


def test_stop_frees_a_sender_that_waits_and_counts_what_was_left():
    turnstile = Turnstile()
    worker = FrameWorker(turnstile, capacity=1, wait_for_room=True)
    worker.start()
    worker.offer(0)
    assert turnstile.entered.wait(5)
    worker.offer(1)
    sender = threading.Thread(target=worker.offer, args=(2,))
    sender.start()
    wait_until(lambda: worker.counts().received == 3)
    start_s = time.monotonic()
    assert worker.stop(timeout_s=0.2) is False  # item 0 is still in hand
    assert time.monotonic() - start_s < 1.0
    sender.join(5)
    assert not sender.is_alive()
    assert worker.counts().dropped == {DropCause.STOPPED: 2}
    with pytest.raises(RuntimeError, match="still processes"):
        worker.start()
    turnstile.permits.release(1)
    assert worker.stop()
    assert worker.counts().processed == 1
    worker.start()  # after the rest it can start again
    turnstile.permits.release(1)
    worker.offer(3)
    wait_until(lambda: worker.counts().processed == 2)
    assert worker.stop()


def test_an_idle_worker_stops_at_once():
    worker = FrameWorker(lambda item: None)
    worker.start()
    start_s = time.monotonic()
    assert worker.stop()
    assert time.monotonic() - start_s < 0.5
    worker.offer(1)
    assert worker.counts().dropped == {DropCause.STOPPED: 1}


@settings(max_examples=60, deadline=None)
@given(steps=any_steps("permits"), capacity=st.integers(1, 3))
def test_received_is_always_processed_plus_dropped_plus_in_flight(steps, capacity):
    turnstile, drops = Turnstile(), []
    worker = FrameWorker(turnstile, lambda cause, error: drops.append(cause), capacity=capacity)
    check_books(worker, turnstile, drops, steps, most_in_flight=capacity + 1)


def judge(gate: FrameGate, stamp_s: float, frame_id: str = "cam", now_s: float = 0.0, heard_s: float = 0.0):
    return gate.judge(round(stamp_s * S), frame_id, round(now_s * S), heard_s)


def test_order_of_stamps():
    gate = FrameGate()
    assert judge(gate, 10.0).cause is None
    assert judge(gate, 10.1).cause is None
    assert judge(gate, 10.1).cause is DropCause.REPEATED
    assert judge(gate, 10.05).cause is DropCause.OUT_OF_ORDER
    assert judge(gate, 10.2).cause is None
    back = judge(gate, 9.0)  # 1.2 s back: a looped bag
    assert back.cause is None
    assert back.restarted
    assert not judge(gate, 9.1).restarted


def test_a_sender_that_starts_again_slightly_earlier_is_followed_from_its_third_frame():
    gate = FrameGate()
    judge(gate, 10.0)
    verdicts = [judge(gate, stamp_s) for stamp_s in (9.5, 9.6, 9.7, 9.8)]
    assert [verdict.cause for verdict in verdicts] == [DropCause.OUT_OF_ORDER, DropCause.OUT_OF_ORDER, None, None]
    assert [verdict.restarted for verdict in verdicts] == [False, False, True, False]


def test_stray_old_frames_between_good_ones_never_restart():
    gate = FrameGate()
    judge(gate, 10.0)
    for index in range(1, 10):
        assert judge(gate, 10.0 + index * 0.1).cause is None
        stray = judge(gate, 10.0 + index * 0.1 - 0.15)
        assert stray.cause is DropCause.OUT_OF_ORDER
        assert not stray.restarted


def test_the_future_is_refused_only_while_there_is_a_clock():
    gate = FrameGate(GateLimits(max_future_s=5.0))
    assert judge(gate, 100.0, now_s=99.0).cause is None
    verdict = judge(gate, 200.0, now_s=99.1)
    assert verdict.cause is DropCause.FUTURE_STAMP
    assert "100.9 s ahead" in verdict.sentence
    assert judge(gate, 100.1, now_s=99.1).cause is None  # the wrong stamp did not move the gate
    assert judge(FrameGate(), 200.0, now_s=0.0).cause is None


def test_another_camera_is_refused_until_the_first_falls_silent():
    gate = FrameGate(GateLimits(source_timeout_s=1.0))
    judge(gate, 10.0, "left", heard_s=50.0)
    assert judge(gate, 10.01, "right", heard_s=50.5).cause is DropCause.FOREIGN_FRAME
    assert judge(gate, 10.1, "left", heard_s=50.6).cause is None
    assert judge(gate, 10.2, "right", heard_s=51.5).cause is DropCause.FOREIGN_FRAME
    taken = judge(gate, 11.0, "right", heard_s=51.7)
    assert taken.cause is None
    assert taken.restarted


@pytest.mark.parametrize(("rate_hz", "expected"), [(0, 300), (10, 100), (15, 150), (30, 300), (7, 70)])
def test_throttle_keeps_the_rate_under_jitter(rate_hz, expected):
    gate = FrameGate(GateLimits(max_rate_hz=rate_hz))
    jitter_s = [0.0, 0.002, -0.002, 0.001, -0.001]
    stamps_s = [100 + index / 30 + jitter_s[index % 5] for index in range(300)]  # ten seconds at 30 Hz
    taken = sum(judge(gate, stamp_s).cause is None for stamp_s in stamps_s)
    assert abs(taken - expected) <= 1


def test_a_fast_camera_whose_frame_was_taken_early_gets_no_second_one():
    gate = FrameGate(GateLimits(max_rate_hz=10))
    taken_s = [stamp_s for stamp_s in (0.0, 0.091, 0.092, 0.095, 0.15, 0.195) if judge(gate, stamp_s).cause is None]
    assert taken_s == [0.0, 0.091, 0.195]


def test_a_higher_rate_holds_at_once():
    gate = FrameGate(GateLimits(max_rate_hz=0.1))
    assert judge(gate, 0.0).cause is None
    assert judge(gate, 1.0).cause is DropCause.THROTTLED
    gate.limits = GateLimits(max_rate_hz=10)
    assert [judge(gate, 1.05 + tenth / 10).cause for tenth in range(3)] == [None, None, None]
    assert judge(gate, 1.3).cause is DropCause.THROTTLED


def test_after_a_pause_the_throttle_does_not_catch_up():
    gate = FrameGate(GateLimits(max_rate_hz=10))
    stamps_s = [0.0, 1.0, 1.03, 1.06, 1.1, 1.13]
    assert [judge(gate, stamp_s).cause is None for stamp_s in stamps_s] == [True, True, False, False, True, False]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 60).map(lambda tenths: tenths / 10), min_size=1, max_size=60))
def test_frames_taken_without_a_restart_have_rising_stamps(stamps_s):
    gate = FrameGate()
    newest_s = float("-inf")
    for stamp_s in stamps_s:
        verdict = judge(gate, stamp_s)
        if verdict.restarted:
            newest_s = float("-inf")
        if verdict.cause is None:
            assert stamp_s > newest_s
            newest_s = stamp_s


def test_a_sender_that_is_held_back_can_give_up_and_is_asked_meanwhile():
    release, asked = threading.Event(), []
    worker = FrameWorker(
        lambda item: release.wait(10), wait_for_room=True, held_back=lambda: (asked.append(1), len(asked) < 3)[1]
    )
    worker.start()
    worker.offer("in hand")
    wait_until(lambda: not worker._waiting)
    worker.offer("waiting")
    worker.offer("one too many")  # returns although there is no room
    assert len(asked) == 3
    assert worker.counts().dropped == {DropCause.STOPPED: 1}
    assert worker.counts().balanced
    release.set()
    wait_until(lambda: worker.idle)
    assert worker.stop()
    assert worker.counts().processed == 2
