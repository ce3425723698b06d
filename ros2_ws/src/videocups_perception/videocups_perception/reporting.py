"""Collect the health of a node's inputs and of its inference, and publish it on /diagnostics."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock, ClockType
from rclpy.node import Node

from videocups_perception.diagnostics import Bulletin, InferenceHealth, InputHealth, Level, Status, diagnostic_array
from videocups_perception.scheduling import Counts

WATCH_PERIOD_S = 0.05


class Reporter:
    """``watched`` inputs come and go with the node's state; ``facts`` go into the inference status."""

    def __init__(self, node: Node, period_s: float, age_warn_s: float) -> None:
        self._node = node
        self.inference = InferenceHealth(age_warn_s)
        self.watched: dict[str, tuple[InputHealth, Callable[[], Counts]]] = {}
        self.facts: Callable[[], Mapping[str, str]] = dict
        self.hardware_id = ""
        self._bulletin = Bulletin(period_s)
        self._failing: set[str] = set()
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", 10)
        # A steady clock: with use_sim_time a silent /clock would stop the timer that has to report the silence.
        node.create_timer(WATCH_PERIOD_S, self.watch, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def renew(self, period_s: float, age_warn_s: float) -> None:
        """Start over with new settings."""
        self.inference = InferenceHealth(age_warn_s)
        self._bulletin = Bulletin(period_s)

    def watch(self) -> None:
        """Publish if it is time or something changed."""
        now_s = time.monotonic()
        statuses = self.statuses(now_s)
        self._log_silence(statuses)
        drops = sum(sum(counts().dropped.values()) for _, counts in list(self.watched.values()))
        if self._bulletin.is_due(statuses, drops, now_s):
            self.publish(statuses)

    def statuses(self, now_s: float) -> list[Status]:
        """Return one status for each watched input and one for the inference."""
        name = self._node.get_fully_qualified_name().lstrip("/")
        statuses = []
        for what, (health, counts) in list(self.watched.items()):
            publishers = self._node.get_publishers_info_by_topic(health.topic)
            types = {publisher.topic_type for publisher in publishers}
            health.other_types = "" if health.type_name in types else ", ".join(sorted(types))
            statuses.append(health.status(f"{name}: {what}", counts(), len(publishers), now_s))
        return [*statuses, self.inference.status(f"{name}: inference", self.facts(), now_s)]

    def _log_silence(self, statuses: list[Status]) -> None:
        """Tell the terminal of inputs that break off and come back: who starts a node sees this before anything else.

        Failures of the inference are logged where they happen.
        """
        *inputs, _ = statuses
        failing = {status.name for status in inputs if status.level is Level.ERROR}
        for status in inputs:
            if status.name in failing - self._failing:
                self._node.get_logger().error(f"{status.name}: {status.message}")
            elif status.name in self._failing - failing:
                self._node.get_logger().info(f"{status.name}: {status.message}")
        self._failing = failing

    def publish(self, statuses: list[Status] | None = None) -> None:
        """Publish now."""
        if self._node.context.ok():
            stamp = self._node.get_clock().now().to_msg()
            rows = self.statuses(time.monotonic()) if statuses is None else statuses
            self._publisher.publish(diagnostic_array(rows, stamp, self.hardware_id))
