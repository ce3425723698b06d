"""Keep the last good calibration of the camera and count every CameraInfo that is not one."""

from __future__ import annotations

from collections import Counter

from sensor_msgs.msg import CameraInfo

from videocups_core.types import CameraModel
from videocups_perception.conversions import camera_model, stamp_ns
from videocups_perception.frame_gate import FrameGate, GateLimits
from videocups_perception.scheduling import Counts, DropCause, FrameRejected


class CalibrationKeeper:
    """Judge CameraInfo messages; ``camera`` is the calibration in use, None until the first good one."""

    def __init__(self, limits: GateLimits | None = None) -> None:
        self.camera: CameraModel | None = None
        self._gate = FrameGate(limits)
        self._received = 0
        self._accepted = 0
        self._dropped: Counter[DropCause] = Counter()

    def take(self, message: CameraInfo, image_size: tuple[int, int] | None, now_ns: int, heard_s: float) -> None:
        """Use the message or raise FrameRejected; the calibration before a bad message stays in use.

        ``image_size``: (width, height) of the image stream, None while it is not known.
        """
        self._received += 1
        try:
            camera = self._checked(message, image_size)
            verdict = self._gate.judge(stamp_ns(message.header), message.header.frame_id, now_ns, heard_s)
            if verdict.cause is not None:
                raise FrameRejected(verdict.cause, verdict.sentence)
        except FrameRejected as rejection:
            self._dropped[rejection.cause] += 1
            raise
        self.camera = camera
        self._accepted += 1

    def counts(self) -> Counts:
        """Return the books; nothing is ever in flight here."""
        return Counts(self._received, self._accepted, dict(self._dropped), 0)

    @staticmethod
    def _checked(message: CameraInfo, image_size: tuple[int, int] | None) -> CameraModel:
        try:
            camera = camera_model(message)
        except ValueError as error:
            raise FrameRejected(DropCause.BAD_CALIBRATION, str(error)) from error
        if image_size is not None and (camera.width, camera.height) != image_size:
            raise FrameRejected(
                DropCause.WRONG_SIZE,
                f"the calibration is for {camera.width}×{camera.height} px but the images have "
                f"{image_size[0]}×{image_size[1]}; calibrate at the size that is published",
            )
        return camera
