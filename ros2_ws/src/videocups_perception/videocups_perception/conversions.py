"""Between ROS messages and the arrays of the runtime; headers pass through untouched.

In: a view on the message where the encoding allows it. Out: one copy, the one into the message's own buffer.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header
from videocups_msgs.msg import ClassInfo as ClassInfoMsg
from videocups_msgs.msg import LabelInfo as LabelInfoMsg
from videocups_msgs.msg import PanopticFrame as PanopticFrameMsg
from videocups_msgs.msg import PanopticSegment as PanopticSegmentMsg

from videocups_core.camera import camera_from_ros
from videocups_core.encodings import ENCODINGS, ImageFormatError, decode_compressed, decode_image, decode_raw
from videocups_core.types import CameraModel, ClassInfo, PanopticFrame, Segment, SegmentState
from videocups_perception.scheduling import DropCause, FrameRejected

ImageMessage: TypeAlias = Image | CompressedImage

_DTYPE_OF_ENCODING = {"rgb8": (np.uint8, 3), "mono8": (np.uint8, 1), "16UC1": (np.uint16, 1), "32SC1": (np.int32, 1)}


def stamp_ns(header: Header) -> int:
    """Return the header's stamp in ns."""
    return int(header.stamp.sec) * 1_000_000_000 + int(header.stamp.nanosec)


def check_layout(message: ImageMessage) -> None:
    """Reject a message that cannot be an image, without reading its pixels."""
    if isinstance(message, CompressedImage):
        if not message.data:
            raise FrameRejected(DropCause.CORRUPT, "the compressed image is empty; check the camera driver")
        return
    if message.encoding not in ENCODINGS:
        if _cv_bridge() is None:
            raise FrameRejected(
                DropCause.WRONG_ENCODING,
                f"encoding {message.encoding!r} is not supported; send one of {', '.join(ENCODINGS)}, "
                "or install cv_bridge for others",
            )
        return
    _pixels(decode_raw, message)


def rgb_from_message(message: ImageMessage) -> NDArray[np.uint8]:
    """Return (H, W, 3) uint8 RGB; a view on the message for ``rgb8``. FrameRejected names cause and fix."""
    if isinstance(message, CompressedImage):
        try:
            return decode_compressed(message.data, message.format)
        except ImageFormatError as error:
            raise FrameRejected(DropCause.CORRUPT, str(error)) from error
    check_layout(message)
    if message.encoding not in ENCODINGS:
        return _rgb_by_cv_bridge(message)
    return _pixels(decode_image, message)


def _pixels(decode: Callable[..., NDArray[Any]], message: Image) -> NDArray[Any]:
    try:
        return decode(
            message.data,
            encoding=message.encoding,
            height=message.height,
            width=message.width,
            step=message.step,
            is_bigendian=message.is_bigendian,
        )
    except ImageFormatError as error:
        raise FrameRejected(DropCause.WRONG_SIZE, str(error)) from error


def image_message(header: Header, pixels: NDArray[Any], encoding: str) -> Image:
    """Return an Image that owns a copy of ``pixels``: (H, W) or (H, W, 3) in the dtype of ``encoding``."""
    dtype, channels = _DTYPE_OF_ENCODING[encoding]
    expected_ndim = 2 if channels == 1 else 3
    if pixels.dtype != dtype or pixels.ndim != expected_ndim or (channels > 1 and pixels.shape[2] != channels):
        raise ValueError(f"{encoding} needs {np.dtype(dtype).name} pixels with {channels} channel(s), "
                         f"got shape {pixels.shape} and dtype {pixels.dtype}")  # fmt: skip
    message = Image(header=header, encoding=encoding, height=pixels.shape[0], width=pixels.shape[1])
    message.step = pixels.shape[1] * channels * pixels.dtype.itemsize
    message.is_bigendian = int(sys.byteorder == "big")
    # Into the message's own buffer: the setter copies an array once more, and bytes or a NumPy array value by value.
    message.data.frombytes(np.ascontiguousarray(pixels).data.cast("B"))
    return message


def segment_message(segment: Segment) -> PanopticSegmentMsg:
    """Return one row of the table."""
    message = PanopticSegmentMsg(
        segment_id=int(segment.segment_id),
        track_id=int(segment.track_id),
        class_id=int(segment.class_id),
        is_thing=bool(segment.is_thing),
        score=float(segment.score),
        state=int(segment.state),
        age=int(segment.age),
        area_px=int(segment.area_px),
    )
    x, y, width, height = (int(value) for value in segment.bbox_xywh)
    roi = message.roi
    roi.x_offset, roi.y_offset, roi.width, roi.height = x, y, width, height
    return message


def panoptic_message(header: Header, frame: PanopticFrame, model_id: str) -> PanopticFrameMsg:
    """Return the table that belongs to the segment image with the same header."""
    return PanopticFrameMsg(
        header=header,
        model_id=model_id,
        schema_version=PanopticFrameMsg.SCHEMA_VERSION,
        track_epoch=int(frame.track_epoch),
        frame_index=int(frame.frame_index),
        height=frame.height,
        width=frame.width,
        segments=[segment_message(segment) for segment in frame.segments],
    )


def panoptic_frame(message: PanopticFrameMsg, image: Image) -> PanopticFrame:
    """Return what ``panoptic_message`` and the segment image say together; ValueError where they disagree."""
    if image.encoding != "16UC1" or image.header != message.header:
        raise ValueError(f"the segment image must be 16UC1 with the header of its table, got {image.encoding!r}")
    if (image.height, image.width) != (message.height, message.width) or image.step != 2 * image.width:
        raise ValueError(f"the segment image is {image.width}×{image.height} px, its table says {message.width}")
    dtype = ">u2" if image.is_bigendian else "<u2"
    ids = np.frombuffer(image.data, dtype=dtype).reshape(image.height, image.width).astype(np.uint16)
    segments = tuple(
        Segment(
            segment_id=row.segment_id,
            class_id=row.class_id,
            is_thing=row.is_thing,
            track_id=row.track_id,
            score=row.score,
            state=SegmentState(row.state),
            age=row.age,
            area_px=row.area_px,
            bbox_xywh=(row.roi.x_offset, row.roi.y_offset, row.roi.width, row.roi.height),
        )
        for row in message.segments
    )
    return PanopticFrame(stamp_ns(message.header), ids, segments, message.frame_index, message.track_epoch)


def classes_from_message(message: LabelInfoMsg) -> tuple[ClassInfo, ...]:
    """Return the classes of a latched label message."""
    return tuple(
        ClassInfo(int(row.class_id), row.name, bool(row.is_thing), (int(row.red), int(row.green), int(row.blue)))
        for row in message.classes
    )


def label_message(header: Header, classes: tuple[ClassInfo, ...], model_id: str) -> LabelInfoMsg:
    """Return the latched list of classes, ordered by id."""
    rows = []
    for info in sorted(classes, key=lambda row: row.class_id):
        red, green, blue = (int(channel) for channel in info.color_rgb)
        rows.append(
            ClassInfoMsg(
                class_id=int(info.class_id), name=info.name, is_thing=info.is_thing, red=red, green=green, blue=blue
            )
        )
    return LabelInfoMsg(header=header, model_id=model_id, schema_version=PanopticFrameMsg.SCHEMA_VERSION, classes=rows)


def camera_model(message: CameraInfo) -> CameraModel:
    """Return the calibration of the image as published; ValueError with a sentence where there is no usable one."""
    roi = message.roi
    camera = camera_from_ros(
        width=message.width,
        height=message.height,
        k=message.k,
        d=message.d,
        distortion_model=message.distortion_model,
        binning=(message.binning_x, message.binning_y),
        roi_xywh=(roi.x_offset, roi.y_offset, roi.width, roi.height),
    )
    if camera is None:
        raise ValueError("the camera is not calibrated (K is all zero); load a calibration file into its driver")
    if not (0 <= camera.cx <= camera.width and 0 <= camera.cy <= camera.height):
        raise ValueError(
            f"the principal point ({camera.cx:g}, {camera.cy:g}) lies outside the "
            f"{camera.width}×{camera.height} image; check the calibration file"
        )
    return camera


def _cv_bridge() -> Any:
    """Return a CvBridge where cv_bridge is installed and works, else None."""
    try:
        from cv_bridge import CvBridge

        return CvBridge()
    except Exception:  # built for another NumPy it raises SystemError or AttributeError: as good as not there
        return None


def _rgb_by_cv_bridge(message: Image) -> NDArray[np.uint8]:
    try:
        return np.asarray(_cv_bridge().imgmsg_to_cv2(message, desired_encoding="rgb8"), dtype=np.uint8)
    except Exception as error:  # cv_bridge raises its own type, cv2.error and others for a bad image
        raise FrameRejected(
            DropCause.WRONG_ENCODING, f"cv_bridge cannot turn {message.encoding!r} into rgb8: {error}"
        ) from error
