"""The node with pipeline_depth 2: the same answers, in order, at a higher rate, and nothing is lost from the books."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

pytestmark = pytest.mark.ros
rclpy = pytest.importorskip("rclpy", reason="needs ROS 2: source env.sh")

MS = 1_000_000
T0 = 1_700_000_000_123_456_789
EVERY_FRAME = {"drop_policy": "none", "input_reliability": "reliable", "input_depth": 50, "output_depth": 50}


class Halves:
    """Hold up the two halves of a node's work, break single frames in them, and see whether they overlap."""

    def __init__(self, node, infer_s=0.0, finish_s=0.0):
        self.stream = node.pipeline.stream
        self.infer_s, self.finish_s = infer_s, finish_s
        self.broken_inferences: set[int] = set()  # numbers of calls, from 0
        self.broken_finishes: set[int] = set()
        self.inferences = self.finishes = self.overlaps = 0
        self.gate = threading.Event()
        self.gate.set()
        self._inferring = False
        self._infer, self._finish = self.stream.engine.infer, self.stream.finish
        self.stream.engine.infer, self.stream.finish = self.infer, self.finish

    def infer(self, image):
        number, self.inferences = self.inferences, self.inferences + 1
        self._inferring = True
        time.sleep(self.infer_s)
        try:
            if number in self.broken_inferences:
                raise RuntimeError("the accelerator fell off the bus")
            return self._infer(image)
        finally:
            self._inferring = False

    def finish(self, *arguments, **options):
        number, self.finishes = self.finishes, self.finishes + 1
        self.overlaps += self._inferring
        assert self.gate.wait(20)
        time.sleep(self.finish_s)
        self.overlaps += self._inferring
        if number in self.broken_finishes:
            raise RuntimeError("the tracker lost its thread")
        return self._finish(*arguments, **options)


def started(make_rig, infer_s=0.0, finish_s=0.0, **parameters):
    rig = make_rig(**{"pipeline_depth": 2, **parameters})
    rig.listen_to_results()
    rig.start()
    return rig, Halves(rig.node, infer_s, finish_s)


def results(rig, count):
    """Wait for so many results and return them: (segments, panoptic) by frame."""
    both = [rig.received[f"/vps/panoptic/{topic}"] for topic in ("segments", "image")]
    rig.wait(lambda: min(map(len, both)) >= count)
    rig.wait(lambda: rig.node.pipeline.worker.idle)
    assert len(both[0]) == len(both[1]) == count
    return [(segments, panoptic) for (_, segments), (_, panoptic) in zip(*both, strict=True)]


def assert_answer(result, truth, header, *, first_index=0):
    segments, panoptic = result
    assert segments.header == panoptic.header == header
    assert np.array_equal(np.frombuffer(panoptic.data, np.uint16).reshape(256, 512), truth.segment_ids)
    rows = {(row.segment_id, row.track_id, int(row.state), row.age, row.area_px) for row in segments.segments}
    assert rows == {(row.segment_id, row.track_id, int(row.state), row.age, row.area_px) for row in truth.segments}
    assert (segments.frame_index, segments.track_epoch) == (truth.frame_index - first_index, truth.track_epoch)


def assert_nothing_in_hand(rig):
    """Ask the diagnostics from a time at which any frame still in hand would have hung for long."""
    status = rig.node.reporter.inference.status("inference", {}, time.monotonic() + 1000)
    assert int(status.level) == 0, status.message


def test_a_burst_with_a_jump_in_time_gives_the_worlds_answers_in_order(make_rig):
    rig, halves = started(make_rig, 0.01, 0.01, **EVERY_FRAME)
    stamps = [T0 + index * 100 * MS + index for index in range(12)]
    stamps += [T0 - 9_000 * MS + index * 100 * MS for index in range(8)]  # the bag starts again, with both threads busy
    messages = [rig.image(index, stamp_ns) for index, stamp_ns in enumerate(stamps)]
    for message in messages:
        rig.send(message)
    for index, result in enumerate(results(rig, 20)):
        if index == 12:
            rig.oracle.reset()
        assert_answer(result, rig.oracle.step(index, stamps[index]), messages[index].header)
    assert halves.overlaps > 0
    counts = rig.node.pipeline.worker.counts()
    assert (counts.received, counts.processed, dict(counts.dropped)) == (20, 20, {})
    rig.wait(lambda: rig.values("image")["processed"] == "20")
    timings = halves.stream.timings
    assert timings.pre_ms > 0
    assert min(timings.infer_ms, timings.post_ms) >= 10


def test_a_frame_that_breaks_either_half_is_left_out_and_the_tracks_go_on(make_rig):
    rig, halves = started(make_rig, 0.01, 0.01, **EVERY_FRAME)
    halves.broken_inferences, halves.broken_finishes = {4, 10}, {6}  # the finish of frame 7: that of 4 never came
    stamps = [T0 + index * 100 * MS for index in range(10)] + [T0 - 9_000 * MS + index * 100 * MS for index in range(4)]
    messages = [rig.image(index, stamp_ns) for index, stamp_ns in enumerate(stamps)]
    for message in messages:
        rig.send(message)
    good = [index for index in range(14) if index not in (4, 7, 10)]
    for index, result in zip(good, results(rig, len(good)), strict=True):
        if index == 11:  # the first good one after the jump, which broke: the tracks end all the same
            rig.oracle.reset()
        assert_answer(result, rig.oracle.step(index, stamps[index]), messages[index].header)
    rig.wait(lambda: rig.values("image").get("dropped_failed") == "3")
    counts = rig.node.pipeline.worker.counts()
    assert (counts.received, counts.processed, dict(counts.dropped)) == (14, 11, {"failed": 3})
    assert_nothing_in_hand(rig)
    told = {status.message for _, status in rig.statuses("inference") if status.level == b"\x02"}
    assert "RuntimeError: the accelerator fell off the bus" in told


def test_overloaded_it_takes_the_newest_frame_and_never_holds_more_than_two(make_rig):
    rig, halves = started(make_rig, 0.03, 0.03, input_depth=5, output_depth=50)
    worker, sent = rig.node.pipeline.worker, {}
    for index in range(40):
        message = rig.image(index, T0 + index * 100 * MS)
        sent[(message.header.stamp.sec, message.header.stamp.nanosec)] = index
        rig.send(message)
        assert worker.counts().in_flight <= 4  # one waits, two are in hand, one is being replaced
        time.sleep(0.008)
    last = message.header
    rig.wait(lambda: any(row.header == last for _, row in list(rig.received["/vps/panoptic/image"])))
    rig.wait(lambda: worker.idle)
    counts = worker.counts()
    assert counts.balanced
    assert counts.processed + counts.dropped["overrun"] == counts.received
    order = []
    for segments, panoptic in results(rig, counts.processed):
        assert segments.header == panoptic.header
        index = sent[(segments.header.stamp.sec, segments.header.stamp.nanosec)]
        truth = rig.oracle.step(index, 0)
        assert np.array_equal(np.frombuffer(panoptic.data, np.uint16).reshape(256, 512), truth.segment_ids)
        order.append(index)
    assert order == sorted(set(order))
    assert order[-1] == 39
    assert halves.overlaps > 0


def test_deactivated_while_full_it_publishes_nothing_more_and_starts_again(make_rig):
    rig, halves = started(make_rig, infer_s=0.001)
    halves.gate.clear()  # nothing finishes
    for number in range(3):  # one in each half, one that waits
        rig.send(rig.image(number, T0 + number * 100 * MS))
        rig.wait(lambda number=number: rig.node.pipeline.worker.counts().received == number + 1)
        rig.wait(lambda number=number: halves.inferences == min(number + 1, 2))
    start_s = time.monotonic()
    assert rig.on_node(rig.node.trigger_deactivate).name == "SUCCESS"
    assert time.monotonic() - start_s < 2.0
    assert rig.on_node(rig.node.trigger_activate).name == "FAILURE"  # the old frames still hold the tracker
    halves.gate.set()
    worker = rig.node.pipeline.worker
    rig.wait(lambda: worker.idle)
    time.sleep(0.1)
    assert rig.received["/vps/panoptic/segments"] == []
    assert worker.counts().dropped == {"stopped": 3}
    assert rig.on_node(rig.node.trigger_activate).name == "SUCCESS"
    rig.wait(lambda: rig.images.get_subscription_count() > 0)
    time.sleep(0.2)
    for number in range(2):  # what was in hand has been tracked, though not published
        rig.oracle.step(number, 0)
    rig.oracle.reset()
    message = rig.image(0, T0)
    assert_answer(rig.exchange(message), rig.oracle.step(0, T0), message.header, first_index=2)
    rig.wait(lambda: worker.idle)
    assert_nothing_in_hand(rig)


def test_rounds_leave_no_thread(make_rig):
    rig = make_rig(pipeline_depth=2)
    names = ("configure", "activate", "deactivate", "cleanup")
    counts = []
    for _ in range(5):
        for name in names:
            assert rig.on_node(getattr(rig.node, f"trigger_{name}")).name == "SUCCESS"
        counts.append(threading.active_count())
    assert counts[-1] == counts[1]


def work_off(make_rig, depth, meeting=None):
    """Let the node work off a burst of ten; with a ``meeting`` every half but the first and the last waits there."""
    rig, halves = started(make_rig, **{**EVERY_FRAME, "pipeline_depth": depth, "queue_depth": 20})
    infer, finish = halves.infer, halves.finish

    def infer_in_company(image):
        if meeting is not None and halves.inferences > 0:
            meeting.wait(20)
        return infer(image)

    def finish_in_company(*arguments, **options):
        if meeting is not None and halves.finishes < 9:
            meeting.wait(20)
        return finish(*arguments, **options)

    halves.stream.engine.infer, halves.stream.finish = infer_in_company, finish_in_company
    for index in range(10):
        rig.send(rig.image(index, T0 + index * 100 * MS))
    results(rig, 10)
    return halves.overlaps


def test_the_rate_is_that_of_the_slower_half_instead_of_both_together(make_rig):
    """Every inference meets the other half of the frame before: ten frames take eleven halves' time and not twenty.

    Who meets whom is the same on a busy machine; how long anything takes is not.
    """
    work_off(make_rig, 2, threading.Barrier(2))


def test_without_it_one_half_comes_after_the_other(make_rig):
    assert work_off(make_rig, 1) == 0
