"""Boxes and names of the tracked things as RViz markers, drawn on the plane one metre before the camera."""

from __future__ import annotations

from geometry_msgs.msg import Point
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

from videocups_core.types import CameraModel, ClassInfo, PanopticFrame, Segment

PLANE_M = 1.0
LIFETIME_NS = 500_000_000  # markers vanish by themselves when the stream stops: nothing stale stays on screen


def marker_array(
    header: Header, frame: PanopticFrame, classes: dict[int, ClassInfo], camera: CameraModel | None
) -> MarkerArray:
    """Return a box and a ``#track class`` text for every thing that has pixels; the first marker clears the last."""
    clear = Marker(header=header, action=Marker.DELETEALL)
    markers = [clear]
    for segment in frame.segments:
        if segment.is_thing and segment.area_px > 0:
            markers.extend(_markers_of(header, frame, segment, classes.get(segment.class_id), camera))
    return MarkerArray(markers=markers)


def _markers_of(
    header: Header, frame: PanopticFrame, segment: Segment, info: ClassInfo | None, camera: CameraModel | None
) -> tuple[Marker, Marker]:
    x, y, width, height = segment.bbox_xywh
    corners = [(x, y), (x + width, y), (x + width, y + height), (x, y + height), (x, y)]
    red, green, blue = info.color_rgb if info else (255, 255, 255)
    color = ColorRGBA(r=red / 255, g=green / 255, b=blue / 255, a=1.0)
    number = segment.track_id % 2**31  # Marker.id is an int32
    box = _marker(header, "box", number, Marker.LINE_STRIP, color)
    box.scale.x = 0.004 * PLANE_M
    box.points = [_on_plane(column, row, frame, camera) for column, row in corners]
    text = _marker(header, "name", number, Marker.TEXT_VIEW_FACING, color)
    text.scale.z = 0.04 * PLANE_M
    text.text = f"#{segment.track_id} {info.name if info else segment.class_id}"
    text.pose.position = _on_plane(x + width / 2, y, frame, camera)
    return box, text


def _marker(header: Header, namespace: str, number: int, kind: int, color: ColorRGBA) -> Marker:
    marker = Marker(header=header, ns=namespace, id=number, type=kind, action=Marker.ADD, color=color)
    marker.pose.orientation.w = 1.0
    marker.lifetime.nanosec = LIFETIME_NS
    return marker


def _on_plane(column: float, row: float, frame: PanopticFrame, camera: CameraModel | None) -> Point:
    """Return the point one metre ahead that projects to the pixel (distortion is left out: boxes are for looking).

    Without a calibration the camera is taken to have a field of view of 53° (focal length = image width).
    """
    if camera is not None and (camera.width, camera.height) == (frame.width, frame.height):
        fx, fy, cx, cy = camera.fx, camera.fy, camera.cx, camera.cy
    else:
        fx = fy = float(frame.width)
        cx, cy = frame.width / 2, frame.height / 2
    return Point(x=(column - cx) / fx * PLANE_M, y=(row - cy) / fy * PLANE_M, z=PLANE_M)
