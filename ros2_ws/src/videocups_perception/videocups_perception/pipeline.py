"""One camera's way through the node: a message comes in, is judged, waits in the slot, is processed and published."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclpy.impl.rcutils_logger import RcutilsLogger

from videocups_core.engine.base import RawOutputs
from videocups_core.preprocess import Placement
from videocups_core.stream import Stream, Timings
from videocups_core.types import CameraModel, PanopticFrame
from videocups_perception.conversions import ImageMessage, check_layout, rgb_from_message, stamp_ns
from videocups_perception.diagnostics import InferenceHealth, InputHealth
from videocups_perception.frame_gate import FrameGate, GateLimits
from videocups_perception.outputs import Output, Outputs
from videocups_perception.overlap import OverlappingWorker
from videocups_perception.parameters import NodeParameters
from videocups_perception.rotation import turn, turn_back, turn_frame_back
from videocups_perception.scheduling import DropCause, FrameRejected, FrameWorker

STOP_TIMEOUT_S = 1.0


@dataclass(frozen=True)
class Job:
    """A message on its way to the worker; ``restarts``: how often the tracker must have been reset before it."""

    message: ImageMessage
    heard_s: float
    restarts: int


@dataclass(frozen=True)
class Begun:
    """A job after its inference, before its turn with the tracker; ``since_s``: when it was taken in hand."""

    job: Job
    since_s: float
    rgb: NDArray[np.uint8]
    raw: RawOutputs
    placement: Placement
    pre_ms: float
    infer_ms: float


class Pipeline:
    """What ``configure`` makes and ``cleanup`` frees. ``take`` runs on the executor, the rest on the worker.

    With ``pipeline_depth`` 2 the worker has two threads: one prepares and infers a frame, which touches no state, while
    the other tracks and publishes the frame before.
    """

    def __init__(
        self,
        stream: Stream,
        outputs: Outputs,
        parameters: NodeParameters,
        ros_now_ns: Callable[[], int],
        inference: InferenceHealth,
        logger: RcutilsLogger,
        held_back: Callable[[], bool],
    ) -> None:
        """``held_back``: what else the executor must do, and whether to go on, while a full queue blocks ``take``."""
        self.stream = stream
        self.outputs = outputs
        self.enabled = True
        self.camera: CameraModel | None = None
        self.image_size: tuple[int, int] | None = None  # (width, height) of the last good frame
        self.health: InputHealth | None = None
        self._rotation_deg = parameters.rotation_deg
        self._max_gap_ns = parameters.max_gap_s * 1e9
        self._ros_now_ns = ros_now_ns
        self._held_back = held_back
        self._inference = inference
        self._logger = logger
        self._gate = FrameGate(gate_limits(parameters))
        self._restarts = 0
        self._restarts_done = 0
        self._publishing = False
        keep_all = parameters.drop_policy == "none"
        capacity = parameters.queue_depth if keep_all else 1
        overlap = parameters.pipeline_depth == 2
        kind: Callable[..., FrameWorker[Job]] = OverlappingWorker if overlap else FrameWorker
        self.worker = kind(
            self._begin if overlap else self._process,
            self._on_drop,
            capacity=capacity,
            wait_for_room=keep_all,
            held_back=self._hold_back,
        )

    def start(self, health: InputHealth) -> None:
        """Begin with an empty slot, new tracks and frame 0."""
        self.health = health
        self._gate.forget()
        self.worker.start()
        self._publishing = True
        if self.stream.frame_index:
            self.reset_tracker()
        self.stream.frame_index = 0

    def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> bool:
        """Publish nothing from now on; say whether the worker has come to rest."""
        self._publishing = False
        return self.worker.stop(timeout_s)

    def change(self, parameters: NodeParameters) -> None:
        """Take over live parameters."""
        self._gate.limits = gate_limits(parameters)
        self.outputs.overlay_alpha = parameters.overlay_alpha
        self.stream.merge_config = parameters.merge_config(self.stream.bundle.merge)

    def reset_tracker(self) -> None:
        """Forget all tracks before the next frame that arrives."""
        self._restarts += 1

    def take(self, message: ImageMessage, info: Mapping[str, Any]) -> None:
        """Judge a message by its header and layout and hand it to the worker."""
        assert self.health is not None  # set by start, before there is a subscription
        heard_s = time.monotonic()
        self.health.heard(heard_s, info)
        try:
            check_layout(message)  # before the gate, so that a broken message never displaces a good one
        except FrameRejected as rejection:
            self.worker.refuse(rejection.cause, rejection)
            return
        header = message.header
        verdict = self._gate.judge(stamp_ns(header), header.frame_id, self._ros_now_ns(), heard_s)
        if verdict.restarted:
            self.reset_tracker()
        if verdict.cause is None and not self.enabled:
            self.health.usable(heard_s)
            self.worker.refuse(DropCause.DISABLED)
        elif verdict.cause is not None:
            if verdict.cause is DropCause.THROTTLED:
                self.health.usable(heard_s)
            self.worker.refuse(verdict.cause, FrameRejected(verdict.cause, verdict.sentence))
        else:
            self.worker.offer(Job(message, heard_s, self._restarts))

    def _hold_back(self) -> bool:
        if self.health is not None:  # the silence of a sender that waits for us is our own
            self.health.usable(time.monotonic())
        return self._held_back()

    def _process(self, job: Job) -> None:
        """Depth 1: the whole way."""
        since_s = time.monotonic()
        self._inference.took(since_s)
        try:
            rgb = self._read(job)
            self._restart_for(job)
            confident = self.outputs.wants_confidence
            image = turn(rgb, self._rotation_deg)
            frame = self.stream.step(image, stamp_ns(job.message.header), confidence=confident)
            self._publish(job, rgb, frame)
        except Exception as error:
            self._excuse(error)
            raise
        finally:
            self._inference.laid_down(since_s)

    def _begin(self, job: Job) -> Callable[[], None]:
        """Depth 2, first half: all that touches no track. Return the second half."""
        since_s = time.monotonic()
        self._inference.took(since_s)
        try:
            begun = self._infer(job, since_s, self._read(job))
        except Exception as error:
            self._inference.laid_down(since_s)
            self._excuse(error)
            raise
        return lambda: self._finish(begun)

    def _infer(self, job: Job, since_s: float, rgb: NDArray[np.uint8]) -> Begun:
        start_s = time.perf_counter()
        prepared = self.stream.prepare(turn(rgb, self._rotation_deg))
        prepared_s = time.perf_counter()
        raw = self.stream.engine.infer(prepared.network_image)
        pre_ms, infer_ms = (prepared_s - start_s) * 1e3, (time.perf_counter() - prepared_s) * 1e3
        return Begun(job, since_s, rgb, raw, prepared.placement, pre_ms, infer_ms)

    def _finish(self, begun: Begun) -> None:
        """Depth 2, second half: the tracker and the topics, frame after frame."""
        try:
            self._restart_for(begun.job)
            confident = self.outputs.wants_confidence
            start_s = time.perf_counter()
            stamp = stamp_ns(begun.job.message.header)
            frame = self.stream.finish(begun.raw, begun.placement, stamp, confidence=confident)
            self.stream.timings = Timings(begun.pre_ms, begun.infer_ms, (time.perf_counter() - start_s) * 1e3)
            self._publish(begun.job, begun.rgb, frame)
        except Exception as error:
            self._excuse(error)
            raise
        finally:
            self._inference.laid_down(begun.since_s)

    def _excuse(self, error: Exception) -> None:
        """Turn an error into a drop somebody asked for, where the process was told to stop."""
        if not self.outputs.can_publish:
            raise FrameRejected(DropCause.STOPPED, "the process was told to stop meanwhile") from error

    def _read(self, job: Job) -> NDArray[np.uint8]:
        rgb = rgb_from_message(job.message)
        if self.health is not None:
            self.health.usable(time.monotonic())
        self.image_size = (rgb.shape[1], rgb.shape[0])
        return rgb

    def _restart_for(self, job: Job) -> None:
        # The tracker counts frames: after a camera's pause of minutes it would take what stands there now for what was.
        last_ns = self.stream.last_stamp_ns
        has_paused = last_ns is not None and stamp_ns(job.message.header) - last_ns > self._max_gap_ns
        if has_paused or job.restarts != self._restarts_done:
            self.stream.reset()
            self._restarts_done = job.restarts

    def _publish(self, job: Job, rgb: NDArray[np.uint8], frame: PanopticFrame) -> None:
        header = job.message.header
        confidence = self.stream.confidence
        if confidence is not None:
            confidence = turn_back(confidence, self._rotation_deg)
        if not self._publishing:
            raise FrameRejected(DropCause.STOPPED, "the node was stopped while the frame was in inference")
        frame = turn_frame_back(frame, self._rotation_deg)
        self.outputs.publish(Output(header, rgb, frame, confidence, self.camera))
        now_s = time.monotonic()
        age_s = (self._ros_now_ns() - stamp_ns(header)) * 1e-9
        self._inference.done(now_s, now_s - job.heard_s, age_s)

    def _on_drop(self, cause: DropCause, error: Exception | None) -> None:
        now_s = time.monotonic()
        if cause is DropCause.FAILED and error is not None:
            self._inference.failed(error, now_s)
            trace = "".join(traceback.format_exception(error))
            self._logger.error(f"a frame failed, the next one is tried: {trace}", throttle_duration_sec=5.0)
        if self.health is not None:
            self.health.dropped(cause, str(error or ""), now_s)


def gate_limits(parameters: NodeParameters) -> GateLimits:
    """Return the gate's part of the parameters."""
    return GateLimits(
        max_rate_hz=parameters.max_rate_hz, time_jump_s=parameters.time_jump_s, max_future_s=parameters.max_future_s
    )
