"""A rig for node tests: the real node in its own executor, and an observer that talks to it over DDS."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

BUNDLE = Path(__file__).parents[1] / "data" / "standin"
FRAME_ID = "front_camera"


class Spinner:
    """A node and the thread that spins it, in a ROS context of their own."""

    def __init__(self, make: Callable[[Any], Any]) -> None:
        import rclpy
        from rclpy.executors import SingleThreadedExecutor

        self.context = rclpy.Context()
        rclpy.init(context=self.context)
        self.node = make(self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self._running = True
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()

    def _spin(self) -> None:
        while self._running:
            self.executor.spin_once(timeout_sec=0.1)

    def call(self, function: Callable[[], Any], timeout_s: float = 20.0) -> Any:
        """Run a function on the spinning thread, as a service callback would be."""
        task = self.executor.create_task(function)
        deadline_s = time.monotonic() + timeout_s
        while not task.done():
            assert time.monotonic() < deadline_s, "the node did not answer in time"
            time.sleep(0.001)
        return task.result()

    def close(self) -> None:
        self._running = False
        self._thread.join(10)
        assert not self._thread.is_alive()
        self.executor.shutdown()
        self.node.destroy_node()
        self.context.try_shutdown()


class Rig:
    """The node under test, and what came out of it by topic, in order of arrival with the time of arrival."""

    def __init__(self, **parameters: Any) -> None:
        import rclpy
        from diagnostic_msgs.msg import DiagnosticArray
        from rclpy.parameter import Parameter
        from sensor_msgs.msg import CameraInfo, CompressedImage, Image

        from videocups_core.standin import StandInOracle, StandInWorld
        from videocups_perception.vps_node import VpsNode

        # A machine that stalls for seconds must not end tracks where a test does not ask for it.
        settings = {"bundle": str(BUNDLE), "device": "cpu", "threads": 1, "max_gap_s": 3600.0, **parameters}
        overrides = [Parameter(name, value=value) for name, value in settings.items()]
        self.world = StandInWorld()
        self.oracle = StandInOracle(self.world)
        self.received: dict[str, list[tuple[float, Any]]] = defaultdict(list)
        self._vehicle = Spinner(lambda context: VpsNode(context=context, parameter_overrides=overrides))
        self._observer = Spinner(lambda context: rclpy.create_node("observer", context=context))
        self.node, self.observer = self._vehicle.node, self._observer.node
        self._listening: set[str] = set()
        self._closed = False
        self.images = self.observer.create_publisher(Image, "image", 10)
        self.jpegs = self.observer.create_publisher(CompressedImage, "image/compressed", 10)
        self.infos = self.observer.create_publisher(CameraInfo, "camera_info", 10)
        self.listen("/diagnostics", DiagnosticArray)

    def listen(self, topic: str, kind: type[Any], qos: Any = 50) -> None:
        """Collect a topic (once) and wait until its publisher is found, where there is one."""
        if topic in self._listening:
            return
        self._listening.add(topic)
        self.observer.create_subscription(
            kind, topic, lambda message: self.received[topic].append((time.monotonic(), message)), qos
        )

    def listen_to_results(self) -> None:
        from sensor_msgs.msg import Image
        from videocups_msgs.msg import PanopticFrame

        self.listen("/vps/panoptic/segments", PanopticFrame)
        self.listen("/vps/panoptic/image", Image)

    def on_node(self, function: Callable[[], Any]) -> Any:
        return self._vehicle.call(function)

    def start(self) -> None:
        """Configure, activate, and wait until both sides have found each other."""
        assert self.on_node(self.node.trigger_configure).name == "SUCCESS"
        assert self.on_node(self.node.trigger_activate).name == "SUCCESS"
        topic = self.images if self.node.parameters.image_transport == "raw" else self.jpegs
        self.wait(lambda: topic.get_subscription_count() > 0)
        if self.node.parameters.camera_info_topic:
            self.wait(lambda: self.infos.get_subscription_count() > 0)
        for listened in self._listening:
            self.wait(lambda listened=listened: self.observer.count_publishers(listened) > 0)
            self.wait(lambda listened=listened: self.node.count_subscribers(listened) > 0)
        time.sleep(0.1)  # found in the graph is not yet matched by the reader

    def wait(self, condition: Callable[[], Any], timeout_s: float = 10.0) -> None:
        deadline_s = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline_s, "it did not happen in time"
            time.sleep(0.002)

    def header(self, stamp_ns: int | None = None, frame_id: str = FRAME_ID) -> Any:
        from std_msgs.msg import Header

        nanoseconds = self.observer.get_clock().now().nanoseconds if stamp_ns is None else stamp_ns
        header = Header(frame_id=frame_id)
        header.stamp.sec, header.stamp.nanosec = divmod(nanoseconds, 1_000_000_000)
        return header

    def image(self, index: int, stamp_ns: int | None = None, frame_id: str = FRAME_ID) -> Any:
        from videocups_perception.conversions import image_message

        return image_message(self.header(stamp_ns, frame_id), self.world.image_rgb(index), "rgb8")

    def send(self, message: Any) -> None:
        publisher = {"Image": self.images, "CompressedImage": self.jpegs, "CameraInfo": self.infos}
        publisher[type(message).__name__].publish(message)

    def exchange(self, message: Any) -> tuple[Any, Any]:
        """Send an image and return its segments and panoptic image."""
        count = len(self.received["/vps/panoptic/segments"])
        self.send(message)
        self.wait(lambda: len(self.received["/vps/panoptic/segments"]) > count)
        self.wait(lambda: len(self.received["/vps/panoptic/image"]) > count)
        return self.received["/vps/panoptic/segments"][-1][1], self.received["/vps/panoptic/image"][-1][1]

    def statuses(self, what: str) -> list[tuple[float, Any]]:
        """Return every status of 'image', 'camera_info' or 'inference' so far, with its time of arrival."""
        return [
            (at_s, status)
            for at_s, array in list(self.received["/diagnostics"])
            for status in array.status
            if status.name.endswith(f": {what}")
        ]

    def status(self, what: str) -> Any:
        """Return the latest status; wait for the first."""
        self.wait(lambda: self.statuses(what))
        return self.statuses(what)[-1][1]

    def values(self, what: str) -> dict[str, str]:
        return {pair.key: pair.value for pair in self.status(what).values}

    def close(self) -> None:
        """End node and observer, so that another rig is alone; a second call does nothing."""
        if self._closed:
            return
        self._closed = True
        self.on_node(self.node.stop_work)
        self._vehicle.close()
        self._observer.close()


@pytest.fixture(scope="module")
def bundle_folder() -> Path:
    return BUNDLE


@pytest.fixture
def make_rig() -> Iterator[Callable[..., Rig]]:
    """Make rigs that are closed at the end of the test."""
    yield from _rigs()


@pytest.fixture(scope="module")
def make_module_rig() -> Iterator[Callable[..., Rig]]:
    """Make rigs that live through a whole module."""
    yield from _rigs()


def _rigs() -> Iterator[Callable[..., Rig]]:
    rigs: list[Rig] = []

    def make(**parameters: Any) -> Rig:
        rigs.append(Rig(**parameters))
        return rigs[-1]

    yield make
    for rig in rigs:
        rig.close()


@pytest.fixture
def spinner() -> Iterator[Callable[[Callable[[Any], Any]], Spinner]]:
    """Spin any node on a thread of its own until the end of the test."""
    spinners: list[Spinner] = []

    def make(make_node: Callable[[Any], Any]) -> Spinner:
        spinners.append(Spinner(make_node))
        return spinners[-1]

    yield make
    for each in spinners:
        each.close()
