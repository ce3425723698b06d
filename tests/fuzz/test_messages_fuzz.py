"""Mutated messages into the conversions and into the node's callbacks: a picture, or a rejection with a sentence."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.ros
pytest.importorskip("rclpy", reason="needs ROS 2: source env.sh")

import cv2  # noqa: E402
from sensor_msgs.msg import CameraInfo, CompressedImage, Image  # noqa: E402

from videocups_core.encodings import ENCODINGS, encode_image, row_step  # noqa: E402
from videocups_perception.camera_info import CalibrationKeeper  # noqa: E402
from videocups_perception.conversions import camera_model, check_layout, rgb_from_message  # noqa: E402
from videocups_perception.frame_gate import FrameGate  # noqa: E402
from videocups_perception.scheduling import DropCause, FrameRejected  # noqa: E402

QUICK = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
RGB = np.arange(8 * 12 * 3, dtype=np.uint8).reshape(8, 12, 3)
FILES = [cv2.imencode(kind, RGB)[1].tobytes() for kind in (".png", ".jpg")]
SIZES = st.one_of(st.integers(0, 40), st.sampled_from([2**16, 2**31, 2**32 - 1]))
DOUBLES = st.floats(width=64)


def stamped(message, draw):
    message.header.stamp.sec = draw(st.integers(-(2**31), 2**31 - 1))
    message.header.stamp.nanosec = draw(st.integers(0, 2**32 - 1))
    message.header.frame_id = draw(st.text(max_size=5))
    return message


@st.composite
def images(draw):
    """Draw a good image of any encoding with some of its fields changed."""
    encoding = draw(st.sampled_from(ENCODINGS))
    message = Image(encoding=encoding, height=8, width=12, step=row_step(encoding, 12))
    message.data.frombytes(encode_image(RGB, encoding))
    for name in draw(st.sets(st.sampled_from(["encoding", "height", "width", "step", "is_bigendian", "data"]))):
        if name == "encoding":
            message.encoding = draw(st.one_of(st.sampled_from(ENCODINGS), st.text(max_size=12)))
        elif name == "is_bigendian":
            message.is_bigendian = draw(st.integers(0, 255))
        elif name == "data":
            message.data = draw(st.binary(max_size=600))
        else:
            setattr(message, name, draw(SIZES))
    return stamped(message, draw)


@st.composite
def compressed_images(draw):
    """Draw a JPEG or PNG with bytes flipped, cut or added."""
    data = bytearray(draw(st.sampled_from(FILES)))
    for _ in range(draw(st.integers(0, 6))):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    data = data[: draw(st.integers(0, len(data)))] if draw(st.booleans()) else data
    data += draw(st.binary(max_size=20))
    kinds = st.sampled_from(["jpeg", "png", "rgb8; jpeg compressed bgr8", "bayer_rggb8; png compressed "])
    message = CompressedImage(format=draw(st.one_of(kinds, st.text(max_size=20))))
    message.data.frombytes(bytes(data))
    return stamped(message, draw)


@st.composite
def camera_infos(draw):
    """Draw a calibration with some fields changed."""
    message = CameraInfo(width=12, height=8, distortion_model="plumb_bob", d=[0.0] * 5)
    message.k = [10.0, 0.0, 6.0, 0.0, 10.0, 4.0, 0.0, 0.0, 1.0]
    for name in draw(st.sets(st.sampled_from(["size", "k", "d", "model", "binning", "roi"]))):
        if name == "size":
            message.width, message.height = draw(SIZES), draw(SIZES)
        elif name == "k":
            message.k = draw(st.lists(DOUBLES, min_size=9, max_size=9))
        elif name == "d":
            message.d = draw(st.lists(DOUBLES, max_size=14))
        elif name == "model":
            models = st.sampled_from(["plumb_bob", "rational_polynomial", "equidistant", "fisheye", ""])
            message.distortion_model = draw(st.one_of(models, st.text(max_size=8)))
        elif name == "binning":
            message.binning_x, message.binning_y = draw(SIZES), draw(SIZES)
        else:
            roi = message.roi
            roi.x_offset, roi.y_offset, roi.width, roi.height = (draw(SIZES) for _ in range(4))
    return stamped(message, draw)


def rejected(error, causes=()):
    """A rejection gives a reason, and an image's rejection one of the causes that are counted."""
    assert len(str(error)) > 10
    assert not causes or error.cause in causes


def check_image(message):
    """A picture of the announced size, or a rejection with cause and sentence; anything else is a defect."""
    try:
        check_layout(message)
        rgb = rgb_from_message(message)
    except FrameRejected as rejection:
        return rejected(rejection, (DropCause.WRONG_SIZE, DropCause.WRONG_ENCODING, DropCause.CORRUPT))
    assert rgb.dtype == np.uint8
    assert rgb.ndim == 3
    assert rgb.shape[2] == 3
    if isinstance(message, Image):
        assert rgb.shape[:2] == (message.height, message.width)
    return rgb


def check_camera(message):
    """A finite camera, or a ValueError with a sentence."""
    try:
        camera = camera_model(message)
    except ValueError as error:
        return rejected(error)
    assert all(math.isfinite(value) for value in (*camera.k, *camera.distortion))
    assert camera.fx > 0
    assert camera.fy > 0
    return camera


@QUICK
@given(images())
def test_images(message):
    check_image(message)


@QUICK
@given(compressed_images())
def test_compressed_images(message):
    check_image(message)


@QUICK
@given(camera_infos())
def test_camera_infos(message):
    check_camera(message)


@settings(QUICK, max_examples=80)
@given(st.lists(st.one_of(images(), camera_infos()), min_size=1, max_size=8), st.integers(0, 2**62))
def test_the_books_of_gate_and_calibration_stay_right(messages, now_ns):
    keeper, gate = CalibrationKeeper(), FrameGate()
    infos = 0
    for message in messages:
        stamp_ns = message.header.stamp.sec * 10**9 + message.header.stamp.nanosec
        gate.judge(stamp_ns, message.header.frame_id, now_ns, 0.0)
        if isinstance(message, CameraInfo):
            infos += 1
            before = keeper.camera
            try:
                keeper.take(message, (12, 8), now_ns, 0.0)
            except FrameRejected:
                assert keeper.camera is before  # a bad calibration never replaces a good one
    assert keeper.counts().balanced
    assert keeper.counts().received == infos


def test_the_node_survives_whatever_its_callback_gets(node_pipeline):
    @settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(images())
    def feed(message):
        node_pipeline.take(message, {})
        counts = node_pipeline.worker.counts()
        assert counts.balanced

    feed()
    assert node_pipeline.worker.counts().received >= 150
    assert node_pipeline.worker.counts().dropped.get(DropCause.FAILED, 0) == 0
