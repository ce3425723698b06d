"""Record a live or replayed camera topic as clips, with the panoptic answers where they are wanted."""

from __future__ import annotations

import argparse
import errno
import math
import sys
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from videocups_msgs.msg import LabelInfo, PanopticFrame

from videocups_core.types import CameraModel, ClassInfo
from videocups_perception.clip_recorder import ClipRecorder, RecordingOptions
from videocups_perception.conversions import (
    ImageMessage,
    camera_model,
    check_layout,
    classes_from_message,
    panoptic_frame,
    rgb_from_message,
    stamp_ns,
)
from videocups_perception.frame_gate import FrameGate, GateLimits
from videocups_perception.node_process import require_at_least, run_node, split_arguments
from videocups_perception.scheduling import DropCause, FrameRejected, FrameWorker

WATCH_PERIOD_S = 0.1
UNANSWERED_KEPT = 60  # images that may wait for their panoptic answer


@dataclass
class Shot:
    """An image on its way to the disk, with its answer where answers are recorded."""

    image: ImageMessage
    segments: PanopticFrame | None = None
    panoptic: Image | None = None

    @property
    def is_answered(self) -> bool:
        """Say whether both halves of the answer are there."""
        return self.segments is not None and self.panoptic is not None


@dataclass
class Answers:
    """Bring images and their answers together by stamp; bounded, so that lost answers cost no memory."""

    waiting: OrderedDict[int, Shot] = field(default_factory=OrderedDict)
    unanswered: int = 0

    def expect(self, shot: Shot) -> None:
        """Let an image wait for its answer; the oldest gives up where too many wait."""
        self.waiting[stamp_ns(shot.image.header)] = shot
        if len(self.waiting) > UNANSWERED_KEPT:
            self.waiting.popitem(last=False)
            self.unanswered += 1

    def answer(self, part: PanopticFrame | Image) -> Shot | None:
        """Take half an answer; return the shot when it is complete."""
        stamp = stamp_ns(part.header)
        shot = self.waiting.get(stamp)
        if shot is None:
            return None
        if isinstance(part, PanopticFrame):
            shot.segments = part
        else:
            shot.panoptic = part
        return self.waiting.pop(stamp) if shot.is_answered else None


class RecorderNode(Node):
    """Subscribes, queues, and writes on a thread of its own; a full queue holds the sender back or drops, as asked."""

    def __init__(self, options: argparse.Namespace, **node_options: Any) -> None:
        super().__init__("recorder", **node_options)
        self.exit_status: int | None = None
        self._options = options
        self._recording = RecordingOptions(
            options.out, options.name, options.max_frames, options.max_gap, self.resolve_topic_name(options.image)
        )
        self.recorder = ClipRecorder(self._recording)
        self.worker: FrameWorker[Shot] = FrameWorker(
            self._write,
            self._on_drop,
            capacity=options.queue,
            wait_for_room=not options.drop,
            held_back=self.context.ok,
        )
        self.answers = Answers()
        self.classes_of: dict[str, tuple[ClassInfo, ...]] = {}  # by model: another one may be loaded meanwhile
        # Only the order counts here: what is recorded may be of any time.
        self._gate = FrameGate(GateLimits(max_future_s=math.inf))
        self._camera: CameraModel | None = None
        self._heard_s: float | None = None
        self._failure = ""
        self._subscribe()
        # A steady clock: with use_sim_time a recording that ends stops /clock, and silence would never be noticed.
        self.create_timer(WATCH_PERIOD_S, self._watch, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def begin(self) -> None:
        """Start the writer."""
        self.worker.start()

    def stop_work(self) -> bool:
        """Write what waits, close the clip and say what was recorded."""
        deadline_s = time.monotonic() + 1.0
        while not self.worker.idle and not self._failure and time.monotonic() < deadline_s:
            time.sleep(0.01)
        stopped = self.worker.stop(0.3)
        if stopped:
            self._finish()
        self.get_logger().info(self.summary())
        return stopped

    def summary(self) -> str:
        """Return what was recorded and what was not."""
        counts = self.worker.counts()
        clips = len(self.recorder.clips)
        parts = [f"recorded {counts.processed} frames in {clips} clips under {self._options.out}"]
        parts += [f"{count} dropped ({cause.value})" for cause, count in sorted(counts.dropped.items()) if count]
        missing = self.answers.unanswered + len(self.answers.waiting)
        if missing:
            parts.append(f"{missing} images without a panoptic answer left out")
        return "; ".join([*parts, *([self._failure] if self._failure else [])])

    def _subscribe(self) -> None:
        wanted = self._options
        qos = QoSProfile(depth=wanted.queue, reliability=ReliabilityPolicy.RELIABLE)
        if wanted.best_effort:
            qos.reliability = ReliabilityPolicy.BEST_EFFORT
        kind: type[Any] = CompressedImage if wanted.compressed else Image
        self.create_subscription(kind, wanted.image, self._on_image, qos)
        if wanted.camera_info:
            self.create_subscription(CameraInfo, wanted.camera_info, self._on_camera_info, qos)
        if wanted.panoptic:
            answers = QoSProfile(depth=wanted.queue)
            latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
            self.create_subscription(LabelInfo, f"{wanted.panoptic}/labels", self._on_labels, latched)
            self.create_subscription(PanopticFrame, f"{wanted.panoptic}/panoptic/segments", self._on_answer, answers)
            self.create_subscription(Image, f"{wanted.panoptic}/panoptic/image", self._on_answer, answers)

    def _on_image(self, message: ImageMessage) -> None:
        self._heard_s = time.monotonic()
        try:
            check_layout(message)
            self._check_order(message)
        except FrameRejected as rejection:
            self.worker.refuse(rejection.cause, rejection)
            return
        if self._options.panoptic:
            self.answers.expect(Shot(message))
        else:
            self.worker.offer(Shot(message))

    def _check_order(self, message: ImageMessage) -> None:
        header = message.header
        verdict = self._gate.judge(stamp_ns(header), header.frame_id, 0, time.monotonic())
        if verdict.cause is not None:
            raise FrameRejected(verdict.cause, verdict.sentence)

    def _on_answer(self, message: PanopticFrame | Image) -> None:
        shot = self.answers.answer(message)
        if shot is not None:
            self.worker.offer(shot)

    def _on_labels(self, message: LabelInfo) -> None:
        self.classes_of[message.model_id] = classes_from_message(message)

    def _on_camera_info(self, message: CameraInfo) -> None:
        try:
            self._camera = camera_model(message)
        except ValueError as error:
            self.get_logger().warning(f"calibration left out: {error}", throttle_duration_sec=5.0)

    def _write(self, shot: Shot) -> None:
        if self._failure:
            raise FrameRejected(DropCause.STOPPED, self._failure)
        header = shot.image.header
        panoptic = None
        classes: tuple[ClassInfo, ...] = ()
        if shot.segments is not None and shot.panoptic is not None:
            classes = self.classes_of.get(shot.segments.model_id, ())
            if not classes:
                raise FrameRejected(DropCause.STOPPED, "the labels of the model have not come yet")
            panoptic = panoptic_frame(shot.segments, shot.panoptic)
        try:
            rgb = rgb_from_message(shot.image)
            self.recorder.add(rgb, stamp_ns(header), header.frame_id, self._camera, panoptic, classes)
        except OSError as error:
            self._fail(error)
            raise

    def _fail(self, error: OSError) -> None:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        reason = "the disk is full; free some space or give another --out" if full else str(error)
        self._failure = f"recording stopped: {reason}"

    def _finish(self) -> None:
        try:
            self.recorder.finish()
        except OSError as error:
            self._fail(error)

    def _on_drop(self, cause: DropCause, error: Exception | None) -> None:
        self.get_logger().warning(f"frame dropped, {cause.value}: {error or ''}", throttle_duration_sec=5.0)

    def _watch(self) -> None:
        if self._failure:
            self.exit_status = 1
        silent_s = time.monotonic() - self._heard_s if self._heard_s is not None else 0.0
        if self._options.until_silent and silent_s > self._options.until_silent and self.worker.idle:
            self.exit_status = 0


def parse(arguments: list[str]) -> argparse.Namespace:
    """Read the command line (without its ROS part)."""
    parser = argparse.ArgumentParser(prog="recorder_node", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder that gets the clips")
    parser.add_argument("--image", default="image", metavar="TOPIC", help="camera topic (default: image)")
    parser.add_argument("--compressed", action="store_true", help="the camera topic carries CompressedImage")
    parser.add_argument("--camera-info", default="", metavar="TOPIC", help="calibration to store with the clips")
    parser.add_argument("--panoptic", default="", metavar="NODE", help="record the answers of this node too, e.g. /vps")
    parser.add_argument("--name", default="clip", help="clips are called NAME_000, NAME_001, …")
    parser.add_argument("--max-frames", type=int, default=1000, help="frames of a clip (default 1000)")
    parser.add_argument("--max-gap", type=float, default=1.0, help="a longer pause begins a new clip (default 1 s)")
    parser.add_argument("--queue", type=int, default=20, help="frames that may wait for the disk (default 20)")
    parser.add_argument("--drop", action="store_true", help="drop the oldest when the queue is full; default: wait")
    parser.add_argument("--best-effort", action="store_true", help="subscribe to cameras that are not reliable")
    parser.add_argument("--until-silent", type=float, default=0.0, metavar="S", help="end after S seconds of silence")
    options = parser.parse_args(arguments)
    require_at_least(parser, options, {"max_frames": 1, "max_gap": 1e-3, "queue": 1, "until_silent": 0})
    return options


def main(arguments: list[str] | None = None) -> int:
    """Record until a signal, the end of the stream (--until-silent) or a full disk."""
    given, plain = split_arguments("recorder_node", arguments)
    options = parse(plain)
    return run_node(lambda: RecorderNode(options), given)


if __name__ == "__main__":
    sys.exit(main())
