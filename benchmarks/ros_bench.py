"""What the benchmarks of the node share: a node process, a camera process, and a listener with a clock."""

from __future__ import annotations

import multiprocessing
import os
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.serialization import serialize_message
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from videocups_msgs.msg import PanopticFrame

from videocups_core.standin import StandInWorld
from videocups_perception.conversions import image_message, stamp_ns

BUNDLE = Path(__file__).resolve().parents[1] / "tests" / "data" / "standin"


def world_images(height: int, width: int, count: int) -> list[np.ndarray]:
    """Render stand-in images of any size: the smallest world that covers it, cut."""
    unit = -(-height // 64)
    world = StandInWorld(64 * unit, unit * -(-width // unit))
    return [np.ascontiguousarray(world.image_rgb(index)[:height, :width]) for index in range(count)]


class NodeProcess:
    """The vehicle node in a process of its own."""

    def __init__(self, **parameters: object) -> None:
        settings = {"bundle": BUNDLE, "device": "cpu", "threads": 1, **parameters}
        flags = [part for name, value in settings.items() for part in ("-p", f"{name}:={value}")]
        command = [sys.executable, "-m", "videocups_perception.vps_node", "--ros-args", *flags]
        self._process = subprocess.Popen(command)
        self.pid = self._process.pid

    def resources(self) -> dict[str, float]:
        """Return resident memory in MB, threads and open descriptors."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        numbers = {line.split(":")[0]: line.split()[1] for line in status.splitlines() if len(line.split()) > 1}
        descriptors = sum(1 for _ in Path(f"/proc/{self.pid}/fd").iterdir())
        return {"rss_mb": int(numbers["VmRSS"]) / 1024, "threads": int(numbers["Threads"]), "fds": descriptors}

    def cpu_s(self) -> float:
        """Return the processor seconds it has used."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self) -> int:
        """End it as a user would and return its status."""
        self._process.send_signal(signal.SIGINT)
        return self._process.wait(10)


@dataclass
class Listener:
    """Collects the node's tables and diagnostics on a thread of its own."""

    segments: list[PanopticFrame] = field(default_factory=list)
    age_s: list[float] = field(default_factory=list)
    arrival_s: list[float] = field(default_factory=list)
    diagnostics: list[DiagnosticArray] = field(default_factory=list)
    keep: bool = True

    def __post_init__(self) -> None:
        rclpy.init()
        self.node = rclpy.create_node("bench_listener")
        self.node.create_subscription(PanopticFrame, "/vps/panoptic/segments", self._on_segments, 50)
        self.node.create_subscription(Image, "/vps/panoptic/image", lambda message: None, 1, raw=True)
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 50)
        self.images = self.node.create_publisher(Image, "image", QoSProfile(depth=1))
        self.answered = threading.Condition()
        self.last_stamp_ns = -1
        executor = SingleThreadedExecutor()
        executor.add_node(self.node)
        self._thread = threading.Thread(target=executor.spin, daemon=True)
        self._thread.start()

    def _on_segments(self, message: PanopticFrame) -> None:
        now_ns = time.time_ns()
        with self.answered:
            self.last_stamp_ns = stamp_ns(message.header)
            self.age_s.append((now_ns - self.last_stamp_ns) * 1e-9)
            self.arrival_s.append(time.monotonic())
            if self.keep:
                self.segments.append(message)
            self.answered.notify_all()

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        self.diagnostics[:] = [*self.diagnostics[-20:], message]

    def forget(self) -> None:
        """Begin a new measurement."""
        with self.answered:
            self.segments.clear()
            self.age_s.clear()
            self.arrival_s.clear()

    def values(self, what: str) -> dict[str, str]:
        """Return the latest values of one status; empty before the first."""
        for message in reversed(self.diagnostics):
            for status in message.status:
                if status.name.endswith(f": {what}"):
                    return {pair.key: pair.value for pair in status.values}
        return {}

    def wait_until_active(self, timeout_s: float = 60.0) -> None:
        """Wait until the node listens to images and this process to its results."""
        deadline_s = time.monotonic() + timeout_s
        while not (self.values("image") and self.images.get_subscription_count()):
            if time.monotonic() > deadline_s:
                raise TimeoutError("the node did not become active")
            time.sleep(0.05)
        time.sleep(0.5)


def serialized(images: Sequence[np.ndarray]) -> list[bytearray]:
    """Return the images as messages in bytes; ``stamped`` gives them their time."""
    return [bytearray(serialize_message(image_message(Header(frame_id="camera"), rgb, "rgb8"))) for rgb in images]


def stamped(message: bytearray, nanoseconds: int) -> bytes:
    """Write a stamp into a serialized message that begins with a header."""
    struct.pack_into("<iI", message, 4, *divmod(nanoseconds, 1_000_000_000))
    return bytes(message)


def run_camera(images: Sequence[np.ndarray], rate_hz: float, frames: int, sent: Any) -> None:
    """Publish in real time from this process (the target of ``camera``); the stamps go into the queue ``sent``."""
    rclpy.init()
    node = rclpy.create_node("bench_camera")
    qos = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
    publisher = node.create_publisher(Image, "image", qos)
    messages = serialized(images)
    while publisher.get_subscription_count() == 0:
        time.sleep(0.01)
    time.sleep(0.5)
    stamps = [time.time_ns()]
    publisher.publish(stamped(messages[-1], stamps[0]))  # shows the node where this camera's numbers begin
    time.sleep(0.5)
    begin_s = time.monotonic()
    for index in range(frames):
        time.sleep(max(begin_s + index / rate_hz - time.monotonic(), 0))
        now_ns = time.time_ns()
        publisher.publish(stamped(messages[index % len(messages)], now_ns))
        stamps.append(now_ns)
    took_s = time.monotonic() - begin_s
    time.sleep(0.5)
    sent.put((stamps, took_s))
    node.destroy_node()
    rclpy.shutdown()


def camera(images: Sequence[np.ndarray], rate_hz: float, frames: int) -> tuple[list[int], float]:
    """Publish from another process; return the stamps that were sent and the time it took.

    One image goes half a second ahead of the others.
    """
    context = multiprocessing.get_context("spawn")
    sent = context.Queue()
    process = context.Process(target=run_camera, args=(images, rate_hz, frames, sent))
    process.start()
    stamps, took_s = sent.get(timeout=frames / rate_hz * 5 + 60)
    process.join(20)
    return stamps, took_s
