"""Find the CameraInfo that belongs to an image topic, and read it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from videocups.bags.messages import CAMERA_INFO, COMPRESSED_IMAGE, IMAGE, MessageError, decode
from videocups.bags.reader import Bag
from videocups.bags.recording import BagError
from videocups.clips.calibration import Calibration


def image_topics(bag: Bag) -> list[str]:
    """Return the topics that hold camera images; compressed depth is none."""
    topics = [topic for topic in bag.topics if topic.msgtype in (IMAGE, COMPRESSED_IMAGE)]
    return [topic.name for topic in topics if not topic.name.endswith("/compressedDepth")]


def base_topic(image_topic: str) -> str:
    """Return an image topic without its transport: ``/cam/image_raw/compressed`` gives ``/cam/image_raw``."""
    head, _, last = image_topic.rpartition("/")
    return head if last == "compressed" and head else image_topic


def camera_name(image_topic: str) -> str:
    """Return what to call the camera: ``/front/left/image_raw`` gives ``front_left``."""
    parts = [part for part in base_topic(image_topic).split("/") if part]
    if len(parts) > 1 and parts[-1].startswith(("image", "rgb")):
        parts = parts[:-1]
    return "_".join(parts) or "camera"


def is_rectified(image_topic: str) -> bool:
    """Tell by ROS's naming whether the images are rectified (``image_rect``, ``image_rect_color``)."""
    return "rect" in base_topic(image_topic).rpartition("/")[2]


def find_calibration(
    bag: Bag, image_topic: str, camera_info_topic: str | None, start_ns: int | None
) -> Calibration | None:
    """Return the calibration of an image topic; None where the bag has none and none was named."""
    if camera_info_topic is not None:
        topic = bag.topic(camera_info_topic)
        if topic.msgtype != CAMERA_INFO:
            raise BagError(f"{camera_info_topic} has type {topic.msgtype}; --camera-info-topic needs {CAMERA_INFO}")
    else:
        names = {topic.name for topic in bag.topics if topic.msgtype == CAMERA_INFO}
        camera_info_topic = next((name for name in _candidates(image_topic) if name in names), None)
        if camera_info_topic is None:
            return None
    message = _first(bag, camera_info_topic, start_ns)
    if message is None:
        return None
    calibration = calibration_from_message(message, f"CameraInfo on {camera_info_topic}")
    return calibration.rectified() if is_rectified(image_topic) else calibration


def calibration_from_message(message: Any, origin: str) -> Calibration:
    """Read a CameraInfo message object; ROS 1 writes its matrices in capitals."""
    matrices = {name: _floats(getattr(message, name, getattr(message, name.upper(), ()))) for name in "dkrp"}
    roi = message.roi
    return Calibration(
        origin=origin,
        k=matrices["k"],
        distortion_model=str(message.distortion_model),
        distortion=matrices["d"],
        size_px=(int(message.width), int(message.height)) if message.width and message.height else None,
        rotation=matrices["r"] if any(matrices["r"]) else None,
        projection=matrices["p"] if any(matrices["p"]) else None,
        binning=(int(message.binning_x), int(message.binning_y)),
        roi_xywh=(int(roi.x_offset), int(roi.y_offset), int(roi.width), int(roi.height)),
    )


def _candidates(image_topic: str) -> Iterator[str]:
    """Yield where ROS drivers put the CameraInfo: beside the image, else one level up."""
    parent = base_topic(image_topic).rpartition("/")[0]
    yield f"{parent}/camera_info"
    yield f"{base_topic(image_topic)}/camera_info"
    yield f"{parent.rpartition('/')[0]}/camera_info"


def _first(bag: Bag, topic: str, start_ns: int | None) -> Any:
    """Return the first whole message at or after the time, else the first of all."""
    for begin in dict.fromkeys((start_ns, None)):
        for message in bag.messages({topic}, begin):
            try:
                return decode(message)
            except MessageError:
                continue
    return None


def _floats(values: Any) -> tuple[float, ...]:
    return tuple(float(value) for value in values)
