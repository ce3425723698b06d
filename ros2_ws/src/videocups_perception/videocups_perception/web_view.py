"""Browser view: the node's topics for the Foxglove app, and a small page of our own."""

from __future__ import annotations

import argparse
import sys
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cv2
from ament_index_python.packages import get_package_share_directory
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message
from rclpy.subscription import Subscription
from sensor_msgs.msg import Image
from videocups_msgs.msg import LabelInfo, PanopticFrame
from visualization_msgs.msg import MarkerArray

from videocups_perception.conversions import rgb_from_message, stamp_ns
from videocups_perception.foxglove_relay import FoxgloveRelay
from videocups_perception.message_definitions import type_name
from videocups_perception.node_process import run_node, split_arguments
from videocups_perception.web_page import LatestValue, WebPage
from videocups_perception.web_tables import diagnostics_table, label_names, track_table

DEMAND_PERIOD_S = 0.25
RATE_WINDOW = 30  # frames the shown rate is taken over
OTHER_CLOCK_NS = 3_600_000_000_000  # stamps an hour from now are a recording's, and this node has no use_sim_time

PARAMETERS_HELP = (
    "Parameters, each as --ros-args -p NAME:=VALUE: node (default /vps), image_topic (camera topic for Foxglove), "
    "host (0.0.0.0 shows it to the network), http_port (8080), foxglove_port (8765; -1: none), jpeg_quality (80), "
    "use_sim_time (true for a replay)."
)


class WebView(Node):
    """Subscribes only to what somebody looks at, so a view that nobody has open costs nothing."""

    def __init__(self, **options: Any) -> None:
        super().__init__("web_view", **options)
        self.exit_status: int | None = None
        source = self.declare_parameter("node", "/vps").value.rstrip("/")
        image_topic = self.declare_parameter("image_topic", "").value
        host = self.declare_parameter("host", "127.0.0.1").value  # 0.0.0.0 shows it to the network
        http_port = self.declare_parameter("http_port", 8080).value
        foxglove_port = self.declare_parameter("foxglove_port", 8765).value
        self._jpeg_quality = self.declare_parameter("jpeg_quality", 80).value
        self._picture, self._state = LatestValue(), LatestValue()
        self._status_prefix = f"{source.lstrip('/')}: "
        self._names: dict[int, str] = {}
        self._diagnostics: list[dict[str, Any]] = []
        self._arrivals_s: deque[float] = deque(maxlen=RATE_WINDOW)
        self._taps: dict[str, Subscription[Any]] = {}
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        latest = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
        every = QoSProfile(depth=10)
        # topic -> (type, QoS, what the page does with it)
        self._topics: dict[str, tuple[type[Any], QoSProfile, Callable[[bytes], None] | None]] = {
            f"{source}/overlay/image": (Image, latest, self._picture.put),
            f"{source}/panoptic/segments": (PanopticFrame, every, self._on_segments),
            f"{source}/labels": (LabelInfo, latched, self._on_labels),
            "/diagnostics": (DiagnosticArray, every, self._on_diagnostics),
            f"{source}/panoptic/image": (Image, latest, None),
            f"{source}/semantic/image": (Image, latest, None),
            f"{source}/markers": (MarkerArray, latest, None),
        }
        if image_topic:
            self._topics[self.resolve_topic_name(image_topic)] = (Image, latest, None)
        folder = Path(get_package_share_directory("videocups_perception")) / "web"
        self._page = WebPage(folder, host, http_port, self._picture, self._state, self._jpeg)
        self._relay = self._open_relay(host, foxglove_port) if foxglove_port >= 0 else None
        # A steady clock: with use_sim_time nothing would be shown before a replay begins.
        self.create_timer(DEMAND_PERIOD_S, self._follow_demand, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self.get_logger().info(f"browser view: http://{host}:{self._page.port}")

    def begin(self) -> None:
        """Nothing to start: the servers run since construction."""

    def stop_work(self) -> bool:
        """Close both servers."""
        self._page.close()
        if self._relay is not None:
            self._relay.close()
        return True

    def _open_relay(self, host: str, port: int) -> FoxgloveRelay:
        relay = FoxgloveRelay("videocups", host, port)
        for topic, (kind, *_) in self._topics.items():
            relay.advertise(topic, type_name(kind))
        self.get_logger().info(f"Foxglove: open connection ws://{host}:{relay.port}")
        return relay

    def _follow_demand(self) -> None:
        """Subscribe to what a viewer of the page or of Foxglove wants, and to nothing else."""
        for topic, (kind, qos, show) in self._topics.items():
            wanted = (show is not None and self._state.viewers > 0) or self._relayed(topic)
            if wanted and topic not in self._taps:
                take = partial(self._take, topic)
                self._taps[topic] = self.create_subscription(kind, topic, take, qos, raw=True)
            elif not wanted and topic in self._taps:
                self.destroy_subscription(self._taps.pop(topic))

    def _take(self, topic: str, data: bytes) -> None:
        if self._relay is not None and self._relayed(topic):
            self._relay.relay(topic, data, time.time_ns())
        show = self._topics[topic][2]
        if show is None or self._state.viewers == 0:
            return
        try:
            show(data)
        except (
            Exception
        ) as error:  # a foreign or broken message, which the middleware's own types say; the view goes on
            self.get_logger().warning(f"a message of {topic} cannot be shown: {error}", throttle_duration_sec=5.0)

    def _relayed(self, topic: str) -> bool:
        return self._relay is not None and self._relay.wanted(topic)

    def _jpeg(self, data: bytes) -> bytes:
        rgb = rgb_from_message(deserialize_message(data, Image))
        quality = [cv2.IMWRITE_JPEG_QUALITY, self._jpeg_quality]
        encoded, jpeg = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), quality)
        if not encoded:
            raise ValueError(f"the overlay of {rgb.shape} cannot be encoded as JPEG")
        return jpeg.tobytes()

    def _on_segments(self, data: bytes) -> None:
        frame = deserialize_message(data, PanopticFrame)
        self._arrivals_s.append(time.monotonic())
        span_s = self._arrivals_s[-1] - self._arrivals_s[0]
        latency_ns = self.get_clock().now().nanoseconds - stamp_ns(frame.header)
        self._state.put(
            {
                "model": frame.model_id,
                "frame": frame.frame_index,
                "epoch": frame.track_epoch,
                "arrived_s": self._arrivals_s[-1],
                "size": [frame.width, frame.height],
                "stamp": f"{frame.header.stamp.sec}.{frame.header.stamp.nanosec:09d}",
                "latency_ms": latency_ns / 1e6 if abs(latency_ns) < OTHER_CLOCK_NS else None,
                "rate_hz": (len(self._arrivals_s) - 1) / span_s if span_s > 0 else 0.0,
                "tracks": track_table(frame, self._names),
                "diagnostics": self._diagnostics,
            }
        )

    def _on_labels(self, data: bytes) -> None:
        self._names = label_names(deserialize_message(data, LabelInfo))

    def _on_diagnostics(self, data: bytes) -> None:
        rows = diagnostics_table(deserialize_message(data, DiagnosticArray))
        own = [row for row in rows if row["name"].startswith(self._status_prefix)]
        if not own:  # a vehicle's other nodes report on the same topic
            return
        self._diagnostics = own
        _, state = self._state.after(0, 0.0)
        # what the node says must arrive even when no frames do, so silence is shown as silence
        self._state.put({**(state or {}), "diagnostics": self._diagnostics})


def main(arguments: list[str] | None = None) -> int:
    """Serve until told to stop."""
    given, plain = split_arguments("web_view", arguments)
    parser = argparse.ArgumentParser(prog="web_view", description=__doc__, epilog=PARAMETERS_HELP)
    parser.parse_args(plain)
    return run_node(WebView, given)


if __name__ == "__main__":
    sys.exit(main())
