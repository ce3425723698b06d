"""vision_msgs and cv_bridge have no wheels: fakes with the fields, types and errors of the real ones stand in here."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest

pytestmark = pytest.mark.ros
pytest.importorskip("rclpy", reason="needs ROS 2: source env.sh")

from sensor_msgs.msg import Image  # noqa: E402
from std_msgs.msg import Header  # noqa: E402

from videocups_core.standin import standin_classes  # noqa: E402
from videocups_core.types import PanopticFrame, Segment, SegmentState  # noqa: E402
from videocups_perception import detections  # noqa: E402
from videocups_perception.conversions import check_layout, rgb_from_message  # noqa: E402
from videocups_perception.outputs import Output, Outputs  # noqa: E402
from videocups_perception.parameters import NodeParameters  # noqa: E402
from videocups_perception.scheduling import DropCause, FrameRejected  # noqa: E402


def message_type(name, **kinds):
    """Make a class as strict as a generated message: only its fields, each of its own Python type."""

    def create(self, **values):
        for field, kind in kinds.items():
            setattr(self, field, values.pop(field) if field in values else kind())
        assert not values, f"{name} has no {sorted(values)}"

    def assign(self, field, value):
        assert isinstance(value, kinds[field]), f"{name}.{field} is a {kinds[field].__name__}, got {value!r}"
        object.__setattr__(self, field, value)

    return type(name, (), {"__init__": create, "__setattr__": assign})


def vision_msgs_4():
    """vision_msgs 4.1, the fields that its .msg files list."""
    point = message_type("Point2D", x=float, y=float)
    pose = message_type("Pose2D", position=point, theta=float)
    box = message_type("BoundingBox2D", center=pose, size_x=float, size_y=float)
    hypothesis = message_type("ObjectHypothesis", class_id=str, score=float)
    posed = message_type("ObjectHypothesisWithPose", hypothesis=hypothesis, pose=object)
    detection = message_type("Detection2D", header=Header, results=list, bbox=box, id=str)
    return SimpleNamespace(
        ObjectHypothesisWithPose=posed,
        Detection2D=detection,
        Detection2DArray=message_type("Detection2DArray", header=Header, detections=list),
        VisionClass=message_type("VisionClass", class_id=int, class_name=str),
        LabelInfo=message_type("LabelInfo", header=Header, class_map=list, threshold=float),
    )


class PublisherOfOne:
    """A publisher with one listener."""

    def __init__(self):
        self.sent = []

    def publish(self, message):
        self.sent.append(message)

    def get_subscription_count(self):
        return 1


class NodeWithPublishers:
    """The part of a node that Outputs needs; the middleware cannot carry the fakes."""

    def __init__(self):
        self.publishers = {}

    def create_publisher(self, kind, topic, qos):
        self.publishers[topic] = PublisherOfOne()
        return self.publishers[topic]

    def get_clock(self):
        return SimpleNamespace(now=lambda: SimpleNamespace(to_msg=lambda: Header().stamp))


def test_things_are_published_as_detections_and_classes_as_label_info(monkeypatch):
    monkeypatch.setattr(detections, "vision", vision_msgs_4())
    node = NodeWithPublishers()
    outputs = Outputs(node, NodeParameters(), standin_classes(), "model", confident=False)
    outputs.publish_labels(0.5)
    ids = np.zeros((40, 60), np.uint16)
    ids[20:22, 10:13] = 300
    thing = Segment(300, 5, True, track_id=42, score=np.float32(0.75), area_px=6, bbox_xywh=(10, 20, 3, 2))
    lost = Segment(301, 5, True, track_id=43, state=SegmentState.LOST)
    stuff = Segment(1, 0, False, area_px=2394)
    header = Header(frame_id="camera")
    header.stamp.sec = 17
    outputs.publish(
        Output(header, np.zeros((40, 60, 3), np.uint8), PanopticFrame(0, ids, (stuff, thing, lost)), None, None)
    )
    (message,) = node.publishers["~/detections"].sent
    (detection,) = message.detections
    assert message.header == detection.header == header
    assert detection.id == "42"
    assert (detection.bbox.center.position.x, detection.bbox.center.position.y) == (11.5, 21.0)
    assert (detection.bbox.size_x, detection.bbox.size_y) == (3.0, 2.0)
    (result,) = detection.results
    assert (result.hypothesis.class_id, result.hypothesis.score) == ("5", 0.75)
    (info,) = node.publishers["~/label_info"].sent
    assert [(row.class_id, row.class_name) for row in info.class_map] == [
        (row.class_id, row.name) for row in standin_classes()
    ]
    assert info.threshold == 0.5


def test_without_vision_msgs_its_topics_are_not_there(monkeypatch):
    monkeypatch.setattr(detections, "vision", None)
    node = NodeWithPublishers()
    Outputs(node, NodeParameters(), standin_classes(), "model", confident=False).publish_labels(0.5)
    assert "~/labels" in node.publishers
    assert not {"~/detections", "~/label_info"} & node.publishers.keys()


class CvBridgeError(TypeError):
    """As cv_bridge's own."""


class CvBridge:
    """Turns rgb16 into rgb8 and refuses everything else, with cv_bridge's kinds of errors."""

    def imgmsg_to_cv2(self, img_msg, desired_encoding="passthrough"):
        assert desired_encoding == "rgb8"
        if img_msg.encoding != "rgb16":
            raise CvBridgeError(f"[{img_msg.encoding}] is not a color format. but [rgb8] is.")
        pixels = np.frombuffer(img_msg.data, np.uint16).reshape(img_msg.height, img_msg.width, 3)
        return (pixels >> 8).astype(np.uint8)


@pytest.fixture
def cv_bridge(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv_bridge", SimpleNamespace(CvBridge=CvBridge))


def image(encoding, size=48):
    message = Image(encoding=encoding, height=2, width=4, step=24)
    message.data.frombytes(bytes(range(size)))
    return message


def test_cv_bridge_reads_what_we_do_not(cv_bridge):
    message = image("rgb16")
    check_layout(message)
    assert rgb_from_message(message).tobytes() == bytes(range(1, 48, 2))


def test_what_cv_bridge_cannot_read_is_dropped_with_its_reason(cv_bridge):
    for message, reason in ((image("32FC1"), "not a color format"), (image("rgb16", 20), "cannot reshape")):
        with pytest.raises(FrameRejected, match=reason) as caught:
            rgb_from_message(message)
        assert caught.value.cause is DropCause.WRONG_ENCODING


def test_our_own_encodings_need_no_cv_bridge(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv_bridge", None)  # as where it is not installed
    assert rgb_from_message(image("rgba8")).shape == (2, 4, 3)
    with pytest.raises(FrameRejected, match="install cv_bridge for others") as caught:
        check_layout(image("rgb16"))
    assert caught.value.cause is DropCause.WRONG_ENCODING


class BrokenBridge:
    """cv_bridge that was built for another NumPy: it is there, and fails in its own ways."""

    def __getattr__(self, name):
        raise SystemError("initialization of cv_bridge_boost raised unreported exception")


def test_a_cv_bridge_that_is_broken_drops_a_frame_and_not_the_node(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv_bridge", BrokenBridge())
    with pytest.raises(FrameRejected, match="is not supported"):
        check_layout(image("rgb16"))
