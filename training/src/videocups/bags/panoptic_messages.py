"""Panoptic frames as the messages the node publishes: 16UC1 ids, the table, classes per pixel, labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from videocups.bags.messages import IMAGE, new, new_header
from videocups_core.types import ClassInfo, PanopticFrame, Segment

MESSAGE_SCHEMA = 1  # PanopticFrame.SCHEMA_VERSION
ENCODING_OF = {np.dtype(np.uint8): "mono8", np.dtype(np.uint16): "16UC1", np.dtype(np.float32): "32FC1"}


def image_message(header: Any, image: NDArray[Any]) -> Any:
    """Make a sensor_msgs/Image of a (H, W) uint8, uint16 or float32 map."""
    height, width = image.shape
    return new(
        IMAGE,
        header=header,
        height=height,
        width=width,
        encoding=ENCODING_OF[image.dtype],
        is_bigendian=0,
        step=width * image.itemsize,
        data=np.ascontiguousarray(image).view(np.uint8).reshape(-1),
    )


def panoptic_message(header: Any, frame: PanopticFrame, *, model_id: str, frame_index: int) -> Any:
    """Make a videocups_msgs/PanopticFrame: the table to the ids in the image."""
    return new(
        "videocups_msgs/msg/PanopticFrame",
        header=header,
        model_id=model_id,
        schema_version=MESSAGE_SCHEMA,
        track_epoch=frame.track_epoch,
        frame_index=frame_index,
        height=frame.height,
        width=frame.width,
        segments=[_segment(segment) for segment in frame.segments],
    )


def label_message(stamp_ns: int, classes: Sequence[ClassInfo], *, model_id: str) -> Any:
    """Make a videocups_msgs/LabelInfo; its frame_id is empty."""
    ordered = sorted(classes, key=lambda info: info.class_id)
    return new(
        "videocups_msgs/msg/LabelInfo",
        header=new_header(stamp_ns, ""),
        model_id=model_id,
        schema_version=MESSAGE_SCHEMA,
        classes=[_class(info) for info in ordered],
    )


def _class(info: ClassInfo) -> Any:
    red, green, blue = info.color_rgb
    return new(
        "videocups_msgs/msg/ClassInfo",
        class_id=info.class_id,
        name=info.name,
        is_thing=info.is_thing,
        red=red,
        green=green,
        blue=blue,
    )


def _segment(segment: Segment) -> Any:
    x, y, width, height = segment.bbox_xywh
    roi = new("sensor_msgs/msg/RegionOfInterest", x_offset=x, y_offset=y, height=height, width=width, do_rectify=False)
    return new(
        "videocups_msgs/msg/PanopticSegment",
        segment_id=segment.segment_id,
        track_id=segment.track_id,
        class_id=segment.class_id,
        is_thing=segment.is_thing,
        score=segment.score,
        state=int(segment.state),
        age=segment.age,
        area_px=segment.area_px,
        roi=roi,
    )
