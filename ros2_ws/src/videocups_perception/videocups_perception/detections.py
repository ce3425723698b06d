"""The tracked things in vision_msgs' types, where that package is installed."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from std_msgs.msg import Header

from videocups_core.types import ClassInfo, PanopticFrame

vision: Any
try:
    vision = import_module("vision_msgs.msg")
except ImportError:  # optional: the node then has no ~/detections and no ~/label_info
    vision = None


def available() -> bool:
    """Say whether vision_msgs is installed."""
    return vision is not None


def detection_array(header: Header, frame: PanopticFrame) -> Any:
    """Return a Detection2DArray: one row per thing with pixels, its ``id`` the track."""
    detections = []
    for segment in frame.segments:
        if not segment.is_thing or segment.area_px == 0:
            continue
        hypothesis = vision.ObjectHypothesisWithPose()
        hypothesis.hypothesis.class_id = str(segment.class_id)
        hypothesis.hypothesis.score = float(segment.score)
        detection = vision.Detection2D(header=header, id=str(segment.track_id), results=[hypothesis])
        x, y, width, height = segment.bbox_xywh
        detection.bbox.center.position.x = x + width / 2
        detection.bbox.center.position.y = y + height / 2
        detection.bbox.size_x, detection.bbox.size_y = float(width), float(height)
        detections.append(detection)
    return vision.Detection2DArray(header=header, detections=detections)


def label_info(header: Header, classes: tuple[ClassInfo, ...], score_threshold: float) -> Any:
    """Return vision_msgs' LabelInfo, to be latched."""
    rows = [vision.VisionClass(class_id=info.class_id, class_name=info.name) for info in classes]
    return vision.LabelInfo(header=header, class_map=rows, threshold=float(score_threshold))
