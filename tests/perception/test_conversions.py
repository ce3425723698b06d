"""Messages to arrays and back: no copy in, the same bytes out, every header untouched."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.ros
pytest.importorskip("rclpy", reason="needs ROS 2: source env.sh")

from sensor_msgs.msg import CameraInfo, CompressedImage, Image  # noqa: E402
from std_msgs.msg import Header  # noqa: E402

from videocups_core.encodings import ENCODINGS, decode_image, encode_image, row_step  # noqa: E402
from videocups_core.standin import StandInOracle, StandInWorld, standin_classes  # noqa: E402
from videocups_core.types import CameraModel, PanopticFrame, Segment, SegmentState  # noqa: E402
from videocups_perception import detections  # noqa: E402
from videocups_perception.conversions import (  # noqa: E402
    camera_model,
    check_layout,
    classes_from_message,
    image_message,
    label_message,
    panoptic_frame,
    panoptic_message,
    rgb_from_message,
)
from videocups_perception.markers import PLANE_M, marker_array  # noqa: E402
from videocups_perception.rotation import turn, turn_back, turn_frame_back  # noqa: E402
from videocups_perception.scheduling import DropCause, FrameRejected  # noqa: E402

RGB = np.random.default_rng(3).integers(0, 256, (6, 8, 3), dtype=np.uint8)


def header():
    message = Header(frame_id="camera_optical")
    message.stamp.sec, message.stamp.nanosec = 1_700_000_001, 987_654_321
    return message


def raw(encoding, padding=0):
    step = row_step(encoding, 8) + padding
    message = Image(header=header(), encoding=encoding, height=6, width=8, step=step)
    rows = np.frombuffer(encode_image(RGB, encoding), np.uint8).reshape(-1, row_step(encoding, 8))
    message.data.frombytes(np.pad(rows, ((0, 0), (0, padding))).tobytes())
    return message


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("padding", [0, 16])
def test_every_encoding_is_read(encoding, padding):
    message = raw(encoding, padding)
    expected = decode_image(
        bytes(encode_image(RGB, encoding)), encoding=encoding, height=6, width=8, step=row_step(encoding, 8)
    )
    assert np.array_equal(rgb_from_message(message), expected)
    if encoding in ("rgb8", "bgr8", "rgba8", "bgra8"):
        assert np.array_equal(rgb_from_message(message), RGB)


@pytest.mark.parametrize("padding", [0, 16])
def test_rgb8_is_a_view_on_the_message(padding):
    message = raw("rgb8", padding)
    assert np.shares_memory(rgb_from_message(message), np.frombuffer(message.data, np.uint8))


@pytest.mark.parametrize(
    ("changes", "cause", "sentence"),
    [
        ({"height": 7}, DropCause.WRONG_SIZE, "needs 168 bytes of data, got 144"),
        ({"step": 23}, DropCause.WRONG_SIZE, "step 23"),
        ({"width": 0}, DropCause.WRONG_SIZE, "width"),
        ({"data": b""}, DropCause.WRONG_SIZE, "got 0"),
        ({"encoding": "32FC1"}, DropCause.WRONG_ENCODING, "'32FC1' is not supported; send one of rgb8"),
        ({"encoding": ""}, DropCause.WRONG_ENCODING, "not supported"),
    ],
)
@pytest.mark.skipif(bool(importlib.util.find_spec("cv_bridge")), reason="cv_bridge takes other encodings too")
def test_what_is_no_image_is_refused_with_its_cause(changes, cause, sentence):
    message = raw("rgb8")
    for name, value in changes.items():
        setattr(message, name, value)
    for read in (check_layout, rgb_from_message):
        with pytest.raises(FrameRejected, match=sentence) as caught:
            read(message)
        assert caught.value.cause is cause


@pytest.mark.parametrize("data", [b"", b"no picture", b"\xff\xd8\xff\xd9", b"\x89PNG\r\n\x1a\n"])
def test_a_broken_file_is_corrupt(data):
    message = CompressedImage(header=header(), format="jpeg")
    message.data.frombytes(data)
    with pytest.raises(FrameRejected) as caught:
        rgb_from_message(message)
    assert caught.value.cause is DropCause.CORRUPT


@pytest.mark.parametrize(
    ("pixels", "encoding"),
    [
        (RGB, "rgb8"),
        (RGB[..., 0], "mono8"),
        (np.arange(48, dtype=np.uint16).reshape(6, 8) * 1300, "16UC1"),
        (np.arange(48, dtype=np.int32).reshape(6, 8) << 20, "32SC1"),
        (np.arange(96, dtype=np.uint16).reshape(6, 16)[:, ::2], "16UC1"),  # not contiguous
    ],
)
def test_arrays_become_images_with_their_own_copy(pixels, encoding):
    message = image_message(header(), pixels, encoding)
    assert message.header == header()
    assert (message.height, message.width, message.encoding) == (6, 8, encoding)
    assert message.step == len(message.data) // 6
    assert bytes(message.data) == pixels.tobytes()
    assert not np.shares_memory(np.frombuffer(message.data, np.uint8), pixels)


@pytest.mark.parametrize(("pixels", "encoding"), [(RGB, "mono8"), (RGB[..., 0], "rgb8"), (RGB[..., 0], "16UC1")])
def test_an_array_of_the_wrong_kind_is_refused(pixels, encoding):
    with pytest.raises(ValueError, match=f"{encoding} needs"):
        image_message(header(), pixels, encoding)


def test_a_frame_survives_the_way_there_and_back():
    oracle = StandInOracle(StandInWorld())
    for index in range(20):
        frame = oracle.step(index, 1_700_000_001_987_654_321)
        table = panoptic_message(header(), frame, "model-1")
        image = image_message(header(), frame.segment_ids, "16UC1")
        back = panoptic_frame(table, image)
        assert (table.model_id, table.schema_version, table.header) == ("model-1", 1, header())
        assert np.array_equal(back.segment_ids, frame.segment_ids)
        assert [row.segment_id for row in back.segments] == [row.segment_id for row in frame.segments]
        for got, expected in zip(back.segments, frame.segments, strict=True):
            assert got.score == pytest.approx(expected.score)
            assert (got.state, got.age, got.bbox_xywh) == (expected.state, expected.age, expected.bbox_xywh)
            assert (got.track_id, got.class_id, got.area_px) == (expected.track_id, expected.class_id, expected.area_px)
        assert (back.stamp_ns, back.frame_index, back.track_epoch) == (frame.stamp_ns, index, 0)


def test_a_track_id_of_64_bits_fits():
    segment = Segment(7, 5, True, track_id=2**63 + 11, state=SegmentState.NEW)
    frame = PanopticFrame(0, np.zeros((2, 2), np.uint16), (segment,))
    assert panoptic_message(header(), frame, "m").segments[0].track_id == 2**63 + 11


def test_classes_survive_the_way_there_and_back():
    assert classes_from_message(label_message(header(), standin_classes(), "m")) == standin_classes()


def camera_info(**changes):
    message = CameraInfo(header=header(), width=640, height=480, distortion_model="plumb_bob", d=[0.1, 0, 0, 0, 0])
    message.k = [500.0, 0.0, 320.0, 0.0, 510.0, 240.0, 0.0, 0.0, 1.0]
    for name, value in changes.items():
        setattr(message, name, value)
    return message


def test_a_calibration_is_read():
    camera = camera_model(camera_info())
    assert (camera.fx, camera.fy, camera.cx, camera.cy) == (500, 510, 320, 240)
    assert camera.distortion == (0.1, 0, 0, 0, 0)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"k": [float("nan"), 0, 320, 0, 510, 240, 0, 0, 1]}, "finite"),
        ({"d": [float("inf"), 0, 0, 0, 0]}, "finite"),
        ({"k": [0.0] * 9}, "not calibrated"),
        ({"k": [-500.0, 0, 320, 0, 510, 240, 0, 0, 1]}, "positive"),
        ({"k": [500.0, 0, 3200, 0, 510, 240, 0, 0, 1]}, "principal point"),
        ({"width": 0}, "at least 1"),
        ({"distortion_model": "mei"}, "distortion_model"),
    ],
)
def test_a_calibration_without_a_camera_is_refused(changes, sentence):
    with pytest.raises(ValueError, match=sentence):
        camera_model(camera_info(**changes))


def test_markers_project_onto_the_boxes():
    ids = np.zeros((480, 640), np.uint16)
    ids[100:200, 300:400] = 9
    segment = Segment(9, 5, True, track_id=42, area_px=10_000, bbox_xywh=(300, 100, 100, 100))
    hidden = Segment(10, 5, True, track_id=43, state=SegmentState.LOST)
    frame = PanopticFrame(0, ids, (segment, hidden))
    camera = CameraModel(640, 480, (500.0, 0, 320, 0, 510, 240, 0, 0, 1))
    clear, box, text = marker_array(header(), frame, {5: standin_classes()[5]}, camera).markers
    assert clear.action == clear.DELETEALL
    assert text.text == "#42 vehicle"
    corners = {(round(500 * p.x / p.z + 320), round(510 * p.y / p.z + 240)) for p in box.points}
    assert corners == {(300, 100), (400, 100), (400, 200), (300, 200)}
    assert {point.z for point in box.points} == {PLANE_M}
    assert box.lifetime.nanosec > 0


@settings(max_examples=40, deadline=None)
@given(st.sampled_from([0, 90, 180, 270]), st.integers(0, 2**32 - 1))
def test_turning_a_frame_back_gives_each_segment_its_own_box(clockwise_deg, seed):
    camera_ids = np.random.default_rng(seed).integers(0, 3, (5, 7)).astype(np.uint16)
    upright = turn(camera_ids, clockwise_deg)
    assert np.array_equal(turn_back(upright, clockwise_deg), camera_ids)

    def row(ids, number):
        rows, columns = np.nonzero(ids == number)
        box = (columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1) if len(rows) else (0, 0, 0, 0)
        return Segment(number, 0, False, area_px=len(rows), bbox_xywh=tuple(int(value) for value in box))

    frame = PanopticFrame(0, upright, tuple(row(upright, number) for number in (1, 2)))
    back = turn_frame_back(frame, clockwise_deg)
    assert np.array_equal(back.segment_ids, camera_ids)
    assert back.segments == tuple(row(camera_ids, number) for number in (1, 2))


@pytest.mark.skipif(not detections.available(), reason="vision_msgs is not installed (no wheel of it)")
def test_detections_in_the_ecosystems_own_type():
    segment = Segment(9, 5, True, track_id=42, score=0.75, area_px=6, bbox_xywh=(10, 20, 3, 2))
    stuff = Segment(1, 0, False, area_px=3)
    frame = PanopticFrame(0, np.zeros((40, 40), np.uint16), (segment, stuff))
    message = detections.detection_array(header(), frame)
    (detection,) = message.detections
    assert message.header == detection.header == header()
    assert detection.id == "42"
    assert (detection.bbox.center.position.x, detection.bbox.center.position.y) == (11.5, 21.0)
    assert (detection.bbox.size_x, detection.bbox.size_y) == (3.0, 2.0)
    assert detection.results[0].hypothesis.class_id == "5"
    assert detection.results[0].hypothesis.score == 0.75
    info = detections.label_info(header(), standin_classes(), 0.5)
    assert [row.class_name for row in info.class_map] == [row.name for row in standin_classes()]
