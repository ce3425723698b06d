"""The vehicle node: camera images in, panoptic frames out, with a managed life cycle."""

from __future__ import annotations

import argparse
import gc
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_srvs.srv import SetBool, Trigger

from videocups_core.stream import Stream
from videocups_perception.camera_info import CalibrationKeeper
from videocups_perception.diagnostics import INACTIVE, NOT_CONFIGURED, InputHealth
from videocups_perception.loading import Loader, has_confidence, load_stream, model_facts, tracker_facts
from videocups_perception.message_definitions import type_name
from videocups_perception.node_process import run_node, split_arguments
from videocups_perception.outputs import Outputs
from videocups_perception.parameters import apply_changes, check_changes, declare, help_lines, read, unknown_overrides
from videocups_perception.pipeline import STOP_TIMEOUT_S, Pipeline, gate_limits
from videocups_perception.qos_events import qos_events
from videocups_perception.reporting import Reporter
from videocups_perception.scheduling import FrameRejected

SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE
CONFIGURE_FIRST = "the node is not configured; configure and activate it first"


class VpsNode(LifecycleNode):
    """Lifecycle: configure loads and warms up, activate subscribes, deactivate stops, cleanup frees."""

    def __init__(self, **options: Any) -> None:
        super().__init__("vps", **options)
        self.exit_status: int | None = None
        declare(self)
        self.parameters = read(self)
        for sentence in unknown_overrides(self):
            self.get_logger().warning(sentence)
        self.pipeline: Pipeline | None = None
        self._first_epoch = 0
        self._loader = Loader()
        self.reporter = Reporter(self, self.parameters.diagnostics_period_s, self.parameters.age_warn_s)
        self.calibration = CalibrationKeeper()
        self._inputs: list[Subscription[Any]] = []
        self.create_service(SetBool, "~/enable", self._on_enable)
        self.create_service(Trigger, "~/reset_tracker", self._on_reset_tracker)
        self.add_on_set_parameters_callback(
            lambda changes: check_changes(self.parameters, changes, configured=self.pipeline is not None)
        )
        self.add_post_set_parameters_callback(self._on_parameters_changed)

    def begin(self) -> None:
        """Build the engine and leave, or bring the node up, as the parameters say."""
        if self.parameters.build_only:
            self.exit_status = 0 if self.trigger_configure() == SUCCESS else 1
        elif self.parameters.autostart and self.trigger_configure() == SUCCESS:
            self.trigger_activate()

    def stop_work(self) -> bool:
        """Unsubscribe, stop the worker and wait for a load; say whether all came to rest in time."""
        self.reporter.watched.clear()
        self.reporter.inference.standing = INACTIVE
        while self._inputs:
            self.destroy_subscription(self._inputs.pop())
        return self._loader.is_done(STOP_TIMEOUT_S) and (self.pipeline is None or self.pipeline.stop())

    # Life cycle

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the bundle and the engine, warm up, advertise the topics."""
        try:
            self.parameters = read(self)
            self.reporter.renew(self.parameters.diagnostics_period_s, self.parameters.age_warn_s)
            stream = self._load_while_reporting()
            self._advertise(stream)
        except Exception as error:  # the boundary: a state, a sentence and a diagnostic instead of a crash
            return self._refuse("configure", error)
        self.reporter.inference.standing = INACTIVE
        return SUCCESS

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Start the worker and subscribe."""
        assert self.pipeline is not None  # the state machine comes here only from configure
        wanted, pipeline = self.parameters, self.pipeline
        compressed = wanted.image_transport == "compressed"
        topic = f"{wanted.image_topic}/compressed" if compressed else wanted.image_topic
        health = InputHealth(
            self.resolve_topic_name(topic), wanted.silence_s, since_s=time.monotonic(), expects_first=True
        )
        try:
            pipeline.start(health)
        except RuntimeError as error:
            return self._refuse("activate", error)
        self.reporter.watched["image"] = (health, pipeline.worker.counts)
        self._subscribe(CompressedImage if compressed else Image, topic, pipeline.take, health)
        if wanted.camera_info_topic:
            self._subscribe_camera_info(pipeline)
        self.reporter.inference.standing = ""
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unsubscribe; a frame in hand is not published any more."""
        self.stop_work()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free the model and take the topics down."""
        if not self.stop_work():
            return self._refuse("clean up", RuntimeError("a frame is still in inference; try again in a moment"))
        if self.pipeline is not None:
            self._first_epoch = self.pipeline.stream.track_epoch + 1
            self.pipeline.outputs.destroy()
        self.pipeline = None
        self.reporter.facts = dict
        self.reporter.inference.standing = NOT_CONFIGURED
        self.calibration = CalibrationKeeper()
        gc.collect()  # pipeline and worker hold each other, and with them the model and its memory on the GPU
        return SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop whatever runs."""
        self.stop_work()
        return SUCCESS

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Return to unconfigured after a transition that raised."""
        return self.on_cleanup(state)

    def _refuse(self, what: str, error: Exception) -> TransitionCallbackReturn:
        self.get_logger().error(f"cannot {what}: {error}")
        self.reporter.inference.begin("", time.monotonic())
        self.reporter.inference.failed(f"cannot {what}: {error}", time.monotonic())
        self.reporter.publish()
        return FAILURE

    def _load_while_reporting(self) -> Stream:
        inference = self.reporter.inference
        inference.begin("loading the model, building its engine if it is new", time.monotonic())
        stream = self._loader.load(lambda: load_stream(self.parameters), self._still_reporting)
        inference.begin("", time.monotonic())
        return stream

    def _advertise(self, stream: Stream) -> None:
        bundle, facts = stream.bundle, model_facts(stream)
        stream.tracker.epoch = self._first_epoch  # track ids begin again with every stream, the epoch tells them apart
        model_id = f"{bundle.model_id}@{facts['model_sha256'][:8]}"
        outputs = Outputs(self, self.parameters, bundle.classes, model_id, confident=has_confidence(stream))
        outputs.publish_labels(stream.merge_config.score_threshold)
        inference, logger = self.reporter.inference, self.get_logger()
        self.pipeline = Pipeline(
            stream, outputs, self.parameters, self._ros_now_ns, inference, logger, self._still_reporting
        )
        self.reporter.facts = lambda: facts | tracker_facts(stream)
        self.reporter.hardware_id = facts["device"]
        logger.info(f"model {model_id} runs on {facts['device']} ({facts['provider']}, {facts['precision']})")

    # Inputs

    def _subscribe(self, kind: type[Any], topic: str, callback: Callable[..., None], health: InputHealth) -> None:
        reliability = ReliabilityPolicy[self.parameters.input_reliability.upper()]
        qos = QoSProfile(depth=self.parameters.input_depth, reliability=reliability)
        health.type_name = type_name(kind)
        self._inputs.append(self.create_subscription(kind, topic, callback, qos, event_callbacks=qos_events(health)))

    def _subscribe_camera_info(self, pipeline: Pipeline) -> None:
        wanted = self.parameters
        topic = self.resolve_topic_name(wanted.camera_info_topic)
        health = InputHealth(topic, wanted.silence_s, since_s=time.monotonic(), expects_first=False)
        calibration = self.calibration = CalibrationKeeper(gate_limits(wanted))

        def take(message: CameraInfo, info: Mapping[str, Any]) -> None:
            now_s = time.monotonic()
            health.heard(now_s, info)
            try:
                calibration.take(message, pipeline.image_size, self._ros_now_ns(), now_s)
            except FrameRejected as rejection:
                health.dropped(rejection.cause, str(rejection), now_s)
                return
            health.usable(now_s)
            pipeline.camera = calibration.camera

        self.reporter.watched["camera_info"] = (health, calibration.counts)
        self._subscribe(CameraInfo, wanted.camera_info_topic, take, health)

    def _still_reporting(self) -> bool:
        """Keep the diagnostics going while the executor is held back; False once the node is told to stop."""
        self.reporter.watch()
        return self.context.ok()

    def _ros_now_ns(self) -> int:
        return int(self.get_clock().now().nanoseconds)

    # Services and parameters

    def _on_enable(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        response.success, response.message = False, CONFIGURE_FIRST
        if self.pipeline is not None:
            self.pipeline.enabled = request.data
            message = "processing frames" if request.data else "dropping frames, counted as 'disabled'"
            response.success, response.message = True, message
        return response

    def _on_reset_tracker(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.success, response.message = False, CONFIGURE_FIRST
        if self.pipeline is not None:
            self.pipeline.reset_tracker()
            response.success = True
            response.message = "all tracks end before the next frame; track_epoch goes up by one"
        return response

    def _on_parameters_changed(self, changes: list[Parameter[Any]]) -> None:
        self.parameters = apply_changes(self.parameters, changes)
        if self.pipeline is not None:
            self.pipeline.change(self.parameters)


def main(arguments: list[str] | None = None) -> int:
    """Run the node until it is told to stop."""
    given, plain = split_arguments("vps_node", arguments)
    explained = "\n".join(["parameters, each as --ros-args -p NAME:=VALUE:", *help_lines()])
    layout = argparse.RawDescriptionHelpFormatter
    argparse.ArgumentParser("vps_node", description=__doc__, epilog=explained, formatter_class=layout).parse_args(plain)
    return run_node(VpsNode, given)


if __name__ == "__main__":
    sys.exit(main())
