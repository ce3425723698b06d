"""The node over real DDS: its data is exactly the stand-in world's answer, and its habits are the documented ones."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

pytestmark = pytest.mark.ros
rclpy = pytest.importorskip("rclpy", reason="needs ROS 2: source env.sh")

from diagnostic_msgs.msg import KeyValue  # noqa: E402
from rclpy.parameter import Parameter  # noqa: E402
from rclpy.qos import DurabilityPolicy, QoSProfile  # noqa: E402
from sensor_msgs.msg import CompressedImage, Image  # noqa: E402
from std_srvs.srv import SetBool, Trigger  # noqa: E402
from videocups_msgs.msg import LabelInfo  # noqa: E402
from visualization_msgs.msg import MarkerArray  # noqa: E402

from videocups_core.panoptic.codecs import unpack_hydra  # noqa: E402
from videocups_core.standin import StandInOracle, standin_classes  # noqa: E402
from videocups_perception.rotation import turn, turn_back  # noqa: E402

BUNDLE = Path(__file__).parents[1] / "data" / "standin"
MS = 1_000_000
MODEL_ID = f"standin-256x512@{hashlib.sha256((BUNDLE / 'model.onnx').read_bytes()).hexdigest()[:8]}"
T0 = 1_700_000_000_123_456_789  # every digit of a stamp must survive


def pixels(message, dtype):
    channels = 3 if message.encoding == "rgb8" else 1
    array = np.frombuffer(message.data, dtype)
    return array.reshape(message.height, message.width, channels).squeeze()


def assert_is_answer(segments, panoptic, truth, *, first_index=0):
    assert np.array_equal(pixels(panoptic, np.uint16), truth.segment_ids)
    assert panoptic.encoding == "16UC1"
    assert panoptic.step == 2 * panoptic.width
    assert (segments.height, segments.width) == truth.segment_ids.shape
    assert segments.frame_index == truth.frame_index - first_index
    assert segments.track_epoch == truth.track_epoch
    assert segments.model_id == MODEL_ID
    rows = {row.segment_id: row for row in segments.segments}
    assert len(rows) == len(segments.segments) == len(truth.segments)
    for expected in truth.segments:
        row = rows[expected.segment_id]
        box = (row.roi.x_offset, row.roi.y_offset, row.roi.width, row.roi.height)
        got = (row.class_id, row.track_id, row.is_thing, row.state, row.age, row.area_px, box)
        wanted = (
            expected.class_id, expected.track_id, expected.is_thing, int(expected.state), expected.age,
            expected.area_px, expected.bbox_xywh,
        )  # fmt: skip
        assert got == wanted
        assert row.score == pytest.approx(expected.score, abs=1e-6)


def test_every_frame_is_the_worlds_answer_with_its_own_header(make_rig):
    rig = make_rig()
    rig.listen_to_results()
    rig.start()
    for index in range(40):
        stamp_ns = T0 + index * 100 * MS + index
        message = rig.image(index, stamp_ns)
        segments, panoptic = rig.exchange(message)
        assert_is_answer(segments, panoptic, rig.oracle.step(index, stamp_ns))
        assert segments.header == message.header
        assert panoptic.header == message.header
    counts = rig.node.pipeline.worker.counts()
    assert (counts.received, counts.processed, dict(counts.dropped)) == (40, 40, {})


def test_every_topic_carries_the_same_frame(make_rig):
    rig = make_rig(publish_hydra=True)
    rig.listen_to_results()
    kinds = {"semantic/image": Image, "overlay/image": Image, "hydra/image": Image, "markers": MarkerArray}
    for topic, kind in kinds.items():
        rig.listen(f"/vps/{topic}", kind)
    rig.start()
    for index in range(3):
        rig.exchange(rig.image(index, T0 + index * 100 * MS))
        truth = rig.oracle.step(index, T0 + index * 100 * MS)
    rig.wait(lambda: all(len(rig.received[f"/vps/{topic}"]) == 3 for topic in kinds))
    last = {topic: rig.received[f"/vps/{topic}"][-1][1] for topic in kinds}
    header = rig.header(T0 + 200 * MS)
    assert all(last[topic].header == header for topic in kinds if topic != "markers")
    assert last["semantic/image"].encoding == "mono8"
    assert np.array_equal(pixels(last["semantic/image"], np.uint8), truth.class_map())
    assert last["hydra/image"].encoding == "32SC1"
    class_map, track_map = unpack_hydra(pixels(last["hydra/image"], np.int32))
    assert np.array_equal(class_map, truth.class_map())
    assert np.array_equal(track_map, truth.track_map())
    overlay = pixels(last["overlay/image"], np.uint8)
    assert overlay.shape == (256, 512, 3)
    assert not np.array_equal(overlay, rig.world.image_rgb(2))
    texts = {marker.text for marker in last["markers"].markers if marker.text}
    names = {info.class_id: info.name for info in standin_classes()}
    visible = [segment for segment in truth.segments if segment.is_thing and segment.area_px]
    assert texts == {f"#{segment.track_id} {names[segment.class_id]}" for segment in visible}
    assert all(marker.header == header for marker in last["markers"].markers)


def test_labels_reach_those_who_come_late(make_rig):
    rig = make_rig()
    rig.start()
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    rig.listen("/vps/labels", LabelInfo, latched)
    rig.wait(lambda: rig.received["/vps/labels"])
    (_, labels) = rig.received["/vps/labels"][0]
    got = [(row.class_id, row.name, row.is_thing, (row.red, row.green, row.blue)) for row in labels.classes]
    assert got == [(info.class_id, info.name, info.is_thing, info.color_rgb) for info in standin_classes()]
    assert labels.model_id == MODEL_ID


def test_nothing_is_drawn_while_nobody_looks(make_rig, monkeypatch):
    drawn = []
    monkeypatch.setattr("videocups_perception.outputs.draw_overlay", lambda *arguments, **options: drawn.append(1))
    rig = make_rig()
    rig.listen_to_results()
    rig.start()
    rig.exchange(rig.image(0))
    assert drawn == []


def test_the_tracker_starts_over_when_time_jumps_back_and_on_request(make_rig):
    rig = make_rig()
    rig.listen_to_results()
    rig.start()
    for index in range(5):
        rig.exchange(rig.image(index, T0 + index * 100 * MS))
        rig.oracle.step(index, 0)
    rig.oracle.reset()
    for index in range(3):  # the bag starts again
        segments, panoptic = rig.exchange(rig.image(index, T0 - 9_000 * MS + index * 100 * MS))
        assert_is_answer(segments, panoptic, rig.oracle.step(index, 0))
        assert segments.track_epoch == 1
    client = rig.observer.create_client(Trigger, "/vps/reset_tracker")
    assert client.wait_for_service(5)
    answer = client.call_async(Trigger.Request())
    rig.wait(answer.done)
    assert answer.result().success
    rig.oracle.reset()
    segments, panoptic = rig.exchange(rig.image(3, T0 + 100 * MS))
    assert_is_answer(segments, panoptic, rig.oracle.step(3, 0))
    assert segments.track_epoch == 2


@pytest.mark.parametrize("depth", [1, 2])
def test_a_long_pause_of_the_camera_ends_its_tracks(make_rig, depth):
    rig = make_rig(max_gap_s=2.0, pipeline_depth=depth)
    rig.listen_to_results()
    rig.start()
    stamp_ns = T0
    for index, pause_ms in enumerate([0, 100, 2_000, 2_001, 100, 600_000]):
        stamp_ns += pause_ms * MS
        if pause_ms > 2_000:  # what is seen then is new, however much it looks like what was there
            rig.oracle.reset()
        segments, panoptic = rig.exchange(rig.image(index, stamp_ns))
        assert_is_answer(segments, panoptic, rig.oracle.step(index, 0))
    assert segments.track_epoch == 2


def test_switched_off_it_counts_what_it_does_not_do(make_rig):
    rig = make_rig()
    rig.listen_to_results()
    rig.start()
    client = rig.observer.create_client(SetBool, "/vps/enable")
    assert client.wait_for_service(5)
    answer = client.call_async(SetBool.Request(data=False))
    rig.wait(answer.done)
    assert answer.result().success
    for index in range(5):
        rig.send(rig.image(index))
        time.sleep(0.02)
    rig.wait(lambda: rig.node.pipeline.worker.counts().received == 5)
    rig.wait(lambda: rig.values("image").get("dropped_disabled") == "5")
    assert rig.status("image").level == b"\x00"  # asked for, so no warning
    assert rig.received["/vps/panoptic/segments"] == []
    answer = client.call_async(SetBool.Request(data=True))
    rig.wait(answer.done)
    segments, panoptic = rig.exchange(rig.image(0))
    assert_is_answer(segments, panoptic, rig.oracle.step(0, 0))


@pytest.mark.parametrize("rotation_deg", [90, 180, 270])
def test_a_turned_camera_gives_the_same_objects_in_its_own_pixels(make_rig, rotation_deg):
    rig = make_rig(rotation_deg=rotation_deg)
    rig.listen_to_results()
    rig.start()
    for index in range(3):
        message = rig.image(index, T0 + index * 100 * MS)
        turned = turn_back(rig.world.image_rgb(index), rotation_deg)  # how the camera sees the upright world
        message.height, message.width, message.step = turned.shape[0], turned.shape[1], 3 * turned.shape[1]
        message.data = turned.tobytes()
        segments, panoptic = rig.exchange(message)
        truth = rig.oracle.step(index, 0)
        ids = pixels(panoptic, np.uint16)
        assert np.array_equal(turn(ids, rotation_deg), truth.segment_ids)
        for row in segments.segments:
            assert row.area_px == np.count_nonzero(ids == row.segment_id)
            if row.area_px:
                rows, columns = np.nonzero(ids == row.segment_id)
                box = (columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1)
                assert (row.roi.x_offset, row.roi.y_offset, row.roi.width, row.roi.height) == box


def test_compressed_images_are_read_without_a_relay(make_rig):
    rig = make_rig(image_transport="compressed")
    rig.listen_to_results()
    rig.start()
    for index in range(3):
        png = cv2.imencode(".png", rig.world.image_rgb(index)[..., ::-1])[1]  # lossless, so the answer is exact
        message = CompressedImage(header=rig.header(T0 + index * 100 * MS), format="rgb8; png compressed bgr8")
        message.data = png.tobytes()
        segments, panoptic = rig.exchange(message)
        assert_is_answer(segments, panoptic, rig.oracle.step(index, 0))
        assert segments.header == message.header
    rig.send(CompressedImage(header=rig.header(T0 + 900 * MS), format="jpeg", data=png.tobytes()[:400]))
    rig.wait(lambda: rig.values("image").get("dropped_corrupt") == "1")


def test_a_frame_that_breaks_the_model_is_an_error_and_the_next_one_is_tried(make_rig):
    rig = make_rig()
    rig.listen_to_results()
    rig.start()
    rig.exchange(rig.image(0, T0))
    rig.oracle.step(0, 0)
    engine = rig.node.pipeline.stream.engine
    healthy = engine.infer

    def broken(image):
        raise RuntimeError("the accelerator fell off the bus")

    def first(level, after_s):
        found = [row for row in rig.statuses("inference") if row[0] > after_s and row[1].level == level]
        return found[0] if found else None

    told_s, recovered_s = [], []
    for index in range(1, 4):  # the best of three: a busy machine may delay one
        engine.infer = broken
        sent_s = time.monotonic()
        rig.send(rig.image(index, T0 + index * 200 * MS))
        rig.wait(lambda sent_s=sent_s: first(b"\x02", sent_s))
        at_s, status = first(b"\x02", sent_s)
        assert "the accelerator fell off the bus" in status.message
        told_s.append(at_s - sent_s)
        engine.infer = healthy
        back_s = time.monotonic()
        segments, panoptic = rig.exchange(rig.image(index, T0 + (index * 200 + 100) * MS))
        assert_is_answer(segments, panoptic, rig.oracle.step(index, 0))
        rig.wait(lambda back_s=back_s: first(b"\x00", back_s))
        recovered_s.append(first(b"\x00", back_s)[0] - back_s)
    assert min(told_s) < 0.2
    assert min(recovered_s) < 1.0
    assert rig.node.pipeline.worker.counts().dropped == {"failed": 3}


def test_thresholds_change_while_it_runs_and_bad_values_are_refused_with_a_sentence(make_rig):
    rig = make_rig()
    rig.listen_to_results()
    rig.start()
    segments, _ = rig.exchange(rig.image(0, T0))
    assert sum(row.is_thing for row in segments.segments) > 5

    def set_parameter(name, value):
        return rig.on_node(lambda: rig.node.set_parameters([Parameter(name, value=value)])[0])

    assert set_parameter("score_threshold", 0.92).successful
    segments, _ = rig.exchange(rig.image(0, T0 + 100 * MS))
    visible = [row.score for row in segments.segments if row.is_thing and row.area_px]
    assert visible
    assert min(visible) >= 0.92 - 1e-6
    for name, value, sentence in (
        ("score_threshold", 1.5, "out of range"),
        ("score_threshold", "high", "score_threshold must be a float, got 'high'"),
        ("score_threshold", float("nan"), "range"),
        ("rotation_deg", 90, "rotation_deg cannot change while the node is configured"),
        ("drop_policy", "oldest", "drop_policy"),
    ):
        result = set_parameter(name, value)
        assert not result.successful
        assert sentence in result.reason
    assert rig.node.pipeline.stream.merge_config.score_threshold == 0.92
    assert set_parameter("score_threshold", -1).successful  # back to the bundle's own
    assert rig.node.pipeline.stream.merge_config == rig.node.pipeline.stream.bundle.merge


def test_a_throttled_stream_is_processed_by_its_stamps(make_rig):
    rig = make_rig(max_rate_hz=10.0)
    rig.listen_to_results()
    rig.start()
    for index in range(12):  # 30 Hz
        rig.send(rig.image(index, T0 + index * 33 * MS))
        rig.wait(lambda index=index: rig.node.pipeline.worker.counts().received == index + 1)
        rig.wait(lambda: rig.node.pipeline.worker.idle)
    counts = rig.node.pipeline.worker.counts()
    assert counts.processed == 4
    assert counts.dropped == {"throttled": 8}


def test_without_drops_every_frame_of_a_burst_is_processed(make_rig):
    rig = make_rig(drop_policy="none", input_reliability="reliable", input_depth=50, queue_depth=2)
    rig.listen_to_results()
    rig.start()
    for index in range(10):  # as fast as they can be sent
        rig.send(rig.image(index, T0 + index * 100 * MS))
    rig.wait(lambda: len(rig.received["/vps/panoptic/segments"]) == 10)
    stamps = [message.header.stamp.nanosec for _, message in rig.received["/vps/panoptic/segments"]]
    assert len(set(stamps)) == 10
    oracle = StandInOracle(rig.world)
    rig.wait(lambda: len(rig.received["/vps/panoptic/image"]) == 10)
    for index in range(10):
        truth = oracle.step(index, 0)
        segments, panoptic = (rig.received[f"/vps/panoptic/{topic}"][index][1] for topic in ("segments", "image"))
        assert_is_answer(segments, panoptic, truth)


def test_a_sender_that_is_held_back_is_not_called_silent(make_rig):
    rig = make_rig(drop_policy="none", queue_depth=1, input_reliability="reliable", input_depth=20, silence_s=0.2)
    rig.start()
    infer, calls = rig.node.pipeline.stream.engine.infer, []
    rig.node.pipeline.stream.engine.infer = lambda image: (calls.append(time.sleep(0.6)), infer(image))[1]
    for index in range(5):
        rig.send(rig.image(index))
    rig.wait(lambda: len(calls) >= 4)
    # one in inference, one in the queue, and one that has come and waits for room
    in_flight = [(KeyValue(key="in_flight", value="3"), status) for _, status in rig.statuses("image")]
    held = [status for value, status in in_flight if value in status.values]
    assert held
    assert [status.message for status in held if status.level != b"\x00"] == []


def test_a_sender_that_cannot_be_heard_is_named(make_rig):
    rig = make_rig(input_reliability="reliable", image_topic="weak")
    rig.on_node(rig.node.trigger_configure)
    rig.on_node(rig.node.trigger_activate)
    from rclpy.qos import ReliabilityPolicy

    rig.observer.create_publisher(Image, "weak", QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT))
    rig.wait(lambda: "set input_reliability to best_effort" in rig.status("image").message)
    rig.wait(lambda: rig.status("image").level == b"\x02")


def test_a_topic_of_another_type_is_named(make_rig):
    """As where image_transport is forgotten."""
    rig = make_rig(image_topic="front/compressed")
    rig.observer.create_publisher(CompressedImage, "front/compressed", 1)
    rig.on_node(rig.node.trigger_configure)
    rig.on_node(rig.node.trigger_activate)
    told = "/front/compressed carries sensor_msgs/msg/CompressedImage and sensor_msgs/msg/Image is read"
    rig.wait(lambda: f"{told}; check image_transport" in rig.status("image").message)
    assert rig.status("image").level == b"\x02"
