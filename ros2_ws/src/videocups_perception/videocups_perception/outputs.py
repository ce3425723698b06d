"""Everything the node publishes about a frame; what nobody listens to is not made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from videocups_msgs.msg import LabelInfo
from videocups_msgs.msg import PanopticFrame as PanopticFrameMsg
from visualization_msgs.msg import MarkerArray

from videocups_core.overlay import draw_overlay
from videocups_core.panoptic.codecs import MAX_HYDRA_TRACK, pack_hydra
from videocups_core.types import CameraModel, ClassInfo, PanopticFrame
from videocups_perception import detections
from videocups_perception.conversions import image_message, label_message, panoptic_message
from videocups_perception.markers import marker_array
from videocups_perception.parameters import NodeParameters

LATCHED = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)


@dataclass(frozen=True)
class Output:
    """One processed camera image: its unchanged header, its pixels, and what was found in it."""

    header: Header
    rgb: NDArray[np.uint8]
    frame: PanopticFrame
    confidence: NDArray[np.uint8] | None
    camera: CameraModel | None


class Outputs:
    """The publishers of a configured node. ``publish`` is called by the worker thread."""

    def __init__(
        self, node: Node, parameters: NodeParameters, classes: tuple[ClassInfo, ...], model_id: str, *, confident: bool
    ) -> None:
        """``confident``: the model can tell its confidence."""
        self._node = node
        self._classes = classes
        self._class_of = {info.class_id: info for info in classes}
        self._model_id = model_id
        self.overlay_alpha = parameters.overlay_alpha
        reliability = ReliabilityPolicy[parameters.output_reliability.upper()]
        self._qos = QoSProfile(depth=parameters.output_depth, reliability=reliability)
        # topic -> (publisher, message maker); a maker may return None for nothing to say
        self._streams: dict[str, tuple[Publisher[Any], Callable[[Output], Any]]] = {}
        self._latched: list[Publisher[Any]] = []
        self._add("panoptic/image", Image, self._panoptic_image)
        self._add("panoptic/segments", PanopticFrameMsg, self._segments)
        self._add("semantic/image", Image, self._semantic_image)
        self._add("overlay/image", Image, self._overlay_image)
        self._add("markers", MarkerArray, self._markers)
        if parameters.publish_confidence and confident:
            self._add("confidence/image", Image, self._confidence_image)
        if parameters.publish_hydra:
            self._add("hydra/image", Image, self._hydra_image)
        if detections.available():
            self._add("detections", detections.vision.Detection2DArray, self._detections)

    @property
    def wants_confidence(self) -> bool:
        """Say whether somebody listens to the confidence image."""
        return "confidence/image" in self._streams and self._is_wanted("confidence/image")

    @property
    def can_publish(self) -> bool:
        """Say whether the middleware is still there; a signal takes it away at any moment."""
        return bool(self._node.context.ok())

    def publish(self, output: Output) -> None:
        """Publish every topic that has a listener; the image first, so that a segments message finds its pixels."""
        for topic, (publisher, make) in self._streams.items():
            if self._is_wanted(topic) and (message := make(output)) is not None:
                publisher.publish(message)

    def publish_labels(self, score_threshold: float) -> None:
        """Publish the classes, latched: who comes later gets them too."""
        header = Header(stamp=self._node.get_clock().now().to_msg())
        labels = self._node.create_publisher(LabelInfo, "~/labels", LATCHED)
        self._latched.append(labels)
        labels.publish(label_message(header, self._classes, self._model_id))
        if detections.available():
            info = self._node.create_publisher(detections.vision.LabelInfo, "~/label_info", LATCHED)
            self._latched.append(info)
            info.publish(detections.label_info(header, self._classes, score_threshold))

    def destroy(self) -> None:
        """Take all publishers down."""
        for publisher, _ in self._streams.values():
            self._node.destroy_publisher(publisher)
        for publisher in self._latched:
            self._node.destroy_publisher(publisher)
        self._streams.clear()
        self._latched.clear()

    def _add(self, topic: str, kind: type[Any], make: Callable[[Output], Any]) -> None:
        self._streams[topic] = (self._node.create_publisher(kind, f"~/{topic}", self._qos), make)

    def _is_wanted(self, topic: str) -> bool:
        return self._streams[topic][0].get_subscription_count() > 0

    def _panoptic_image(self, output: Output) -> Image:
        return image_message(output.header, output.frame.segment_ids, "16UC1")

    def _segments(self, output: Output) -> PanopticFrameMsg:
        return panoptic_message(output.header, output.frame, self._model_id)

    def _semantic_image(self, output: Output) -> Image:
        return image_message(output.header, output.frame.class_map(), "mono8")

    def _overlay_image(self, output: Output) -> Image:
        pixels = draw_overlay(output.rgb, output.frame, self._classes, alpha=self.overlay_alpha)
        return image_message(output.header, pixels, "rgb8")

    def _markers(self, output: Output) -> MarkerArray:
        return marker_array(output.header, output.frame, self._class_of, output.camera)

    def _confidence_image(self, output: Output) -> Image | None:
        if output.confidence is None:  # the listener came after this frame was started
            return None
        return image_message(output.header, output.confidence, "mono8")

    def _hydra_image(self, output: Output) -> Image:
        # 15 bits hold the last 32,767 tracks; older ones are long gone when a number comes round again.
        track_map = output.frame.track_map()
        track_map = np.where(track_map > 0, (track_map - 1) % MAX_HYDRA_TRACK + 1, 0)
        return image_message(output.header, pack_hydra(output.frame.class_map(), track_map), "32SC1")

    def _detections(self, output: Output) -> Any:
        return detections.detection_array(output.header, output.frame)
