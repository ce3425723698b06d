"""Cameras mounted on their side or upside down: turn the picture upright, turn the result back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from numpy.typing import NDArray

from videocups_core.camera import rotate_image
from videocups_core.types import PanopticFrame, Segment


def turn(image: NDArray[Any], clockwise_deg: int) -> NDArray[Any]:
    """Return the image turned clockwise by 0, 90, 180 or 270 degrees; the same array for 0."""
    return image if clockwise_deg == 0 else rotate_image(image, clockwise_deg)


def turn_back(image: NDArray[Any], clockwise_deg: int) -> NDArray[Any]:
    """Undo ``turn``."""
    return turn(image, (360 - clockwise_deg) % 360)


def turn_frame_back(frame: PanopticFrame, clockwise_deg: int) -> PanopticFrame:
    """Undo ``turn`` on a panoptic frame: pixels and boxes are the unturned camera's again."""
    if clockwise_deg == 0:
        return frame
    segments = tuple(
        replace(segment, bbox_xywh=_box_back(segment, frame, clockwise_deg)) if segment.area_px else segment
        for segment in frame.segments
    )
    return replace(frame, segment_ids=turn_back(frame.segment_ids, clockwise_deg), segments=segments)


def _box_back(segment: Segment, upright: PanopticFrame, clockwise_deg: int) -> tuple[int, int, int, int]:
    x, y, width, height = segment.bbox_xywh
    if clockwise_deg == 180:
        return upright.width - x - width, upright.height - y - height, width, height
    if clockwise_deg == 90:
        return y, upright.width - x - width, height, width
    return upright.height - y - height, x, height, width
