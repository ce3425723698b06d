"""Every parameter of the node in one frozen dataclass: default, description, range, and whether it may change live."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import Field, dataclass, field, fields, replace
from difflib import get_close_matches
from typing import Any, Protocol

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.exceptions import InvalidParameterValueException, InvalidTopicNameException
from rclpy.parameter import Parameter
from rclpy.validate_topic_name import validate_topic_name

from videocups_core.panoptic.merge import MergeConfig

FROM_BUNDLE = -1.0
"""Value of a threshold parameter that leaves the choice to the bundle."""


def _parameter(
    default: Any,
    description: str,
    *,
    choices: tuple[Any, ...] = (),
    between: tuple[float, float] | None = None,
    live: bool = False,
) -> Any:
    metadata = {"description": description, "choices": choices, "between": between, "live": live}
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class NodeParameters:
    """What a user can set; anything not live is read when the node is configured."""

    bundle: str = _parameter("", "Folder of the model bundle (model.onnx, model.json); '' for the shipped one.")
    image_topic: str = _parameter("image", "Camera topic, relative to the node's namespace unless it starts with '/'.")
    image_transport: str = _parameter(
        "raw",
        "'raw': sensor_msgs/Image on image_topic; 'compressed': CompressedImage on <image_topic>/compressed.",
        choices=("raw", "compressed"),
    )
    camera_info_topic: str = _parameter("", "CameraInfo topic of the images; '' for an uncalibrated camera.")
    rotation_deg: int = _parameter(
        0,
        "Clockwise turn that brings the camera's picture upright before inference; outputs are turned back.",
        choices=(0, 90, 180, 270),
    )
    backend: str = _parameter("onnxruntime", "What runs the network.", choices=("onnxruntime", "tensorrt"))
    device: str = _parameter("auto", "Where the network runs: auto, cpu, cuda or cuda:N.")
    precision: str = _parameter(
        "fp16", "TensorRT only; what really runs is verified and in the diagnostics.", choices=("fp32", "fp16")
    )
    threads: int = _parameter(0, "CPU threads of the network, 0 = all cores.", between=(0, 256))
    cuda_graph: bool = _parameter(
        False, "On a GPU: run a frame as one captured CUDA graph; where that cannot be, the diagnostics say why."
    )
    autostart: bool = _parameter(True, "Configure and activate by itself; false leaves that to a lifecycle manager.")
    build_only: bool = _parameter(False, "Load the bundle, build the engine into the cache and exit.")

    score_threshold: float = _parameter(
        FROM_BUNDLE,
        "Detections below this score are left out; -1 = as the bundle says.",
        between=(-1, 1),
        live=True,
    )
    overlap_threshold: float = _parameter(
        FROM_BUNDLE,
        "A detection with more than this share of its mask already taken is rejected; -1 = as the bundle says.",
        between=(-1, 1),
        live=True,
    )
    max_rate_hz: float = _parameter(
        0.0, "Process at most so many frames a second of stamp time, 0 = all.", between=(0, 1000), live=True
    )
    overlay_alpha: float = _parameter(0.5, "Weight of the colours in ~/overlay/image.", between=(0, 1), live=True)

    drop_policy: str = _parameter(
        "newest",
        "'newest': a waiting frame is replaced by a newer one; 'none': every frame is processed and the sender is "
        "held back (for evaluating bags, with input_reliability 'reliable').",
        choices=("newest", "none"),
    )
    pipeline_depth: int = _parameter(
        1,
        "2: the next frame is inferred while this one is tracked and published, for a higher rate at a higher latency.",
        choices=(1, 2),
    )
    queue_depth: int = _parameter(4, "Frames that may wait with drop_policy 'none'.", between=(1, 1000))
    input_reliability: str = _parameter(
        "best_effort", "QoS of the image subscription.", choices=("best_effort", "reliable")
    )
    input_depth: int = _parameter(1, "QoS history depth of the image subscription.", between=(1, 1000))
    output_reliability: str = _parameter("reliable", "QoS of the publishers.", choices=("best_effort", "reliable"))
    output_depth: int = _parameter(1, "QoS history depth of the publishers.", between=(1, 1000))
    publish_hydra: bool = _parameter(False, "Publish ~/hydra/image, 32SC1 with (track << 16) | class per pixel.")
    publish_confidence: bool = _parameter(False, "Publish ~/confidence/image, mono8, where the model gives it.")

    silence_s: float = _parameter(
        0.4, "An input silent for longer is an ERROR; slower topics get 2.5 of their own periods.", between=(0.05, 60)
    )
    age_warn_s: float = _parameter(0.5, "Output older than this (now - stamp) is a WARN.", between=(0.01, 60))
    max_future_s: float = _parameter(5.0, "Frames stamped further ahead of the clock are dropped.", between=(0, 86400))
    time_jump_s: float = _parameter(
        1.0, "A step back of at least this resets the tracker; a smaller one drops the frame.", between=(0.01, 3600)
    )
    max_gap_s: float = _parameter(
        5.0, "A longer pause between the stamps of two processed frames ends all tracks.", between=(0.1, 3600)
    )
    diagnostics_period_s: float = _parameter(1.0, "Diagnostics at least this often.", between=(0.1, 60))

    def __post_init__(self) -> None:
        for info in fields(self):
            sentence = _complaint(info, getattr(self, info.name))
            if sentence:
                raise ValueError(sentence)

    def merge_config(self, of_bundle: MergeConfig) -> MergeConfig:
        """Return the bundle's merge settings with the thresholds set here on top."""
        changed = {
            name: getattr(self, name) for name in ("score_threshold", "overlap_threshold") if getattr(self, name) >= 0
        }
        return replace(of_bundle, **changed)


class ParameterNode(Protocol):
    """The part of a node that parameters need."""

    def declare_parameter(self, name: str, value: Any, descriptor: ParameterDescriptor) -> Any:
        """Declare one parameter."""

    def get_parameter(self, name: str) -> Parameter:
        """Return one parameter."""


_FIELDS: tuple[Field[Any], ...] = fields(NodeParameters)


def declare(node: ParameterNode) -> None:
    """Declare every parameter with its description, range and the read-only flag."""
    for info in _FIELDS:
        try:
            node.declare_parameter(info.name, info.default, descriptor_of(info))
        except InvalidParameterValueException as error:  # a range that the middleware checks by itself
            raise ValueError(f"parameter {info.name}: {error}") from error


def read(node: ParameterNode) -> NodeParameters:
    """Return the node's parameters; ValueError with a sentence for a bad value."""
    return NodeParameters(**{info.name: _typed(info, node.get_parameter(info.name).value) for info in _FIELDS})


def unknown_overrides(node: Any) -> list[str]:
    """Return a sentence for each parameter that was given and that the node does not have, so that it has no effect.

    The middleware keeps silent about them. They are no error: a file for all nodes (/**) names those of others too.
    """
    names = [info.name for info in _FIELDS]
    sentences = []
    for name in node._parameter_overrides:  # rclpy has no public way to them
        if not node.has_parameter(name) and not name.startswith("qos_overrides."):
            near = get_close_matches(name, names, 1)
            hint = f"did you mean '{near[0]}'?" if near else "docs/tune.md lists all"
            sentences.append(f"there is no parameter '{name}', so it has no effect; {hint}")
    return sentences


def help_lines() -> list[str]:
    """Return a line for each parameter: name, default and what it is."""
    width = max(len(info.name) for info in _FIELDS)
    return [f"  {info.name:<{width}}  {info.metadata['description']} Default: {info.default!r}." for info in _FIELDS]


def check_changes(current: NodeParameters, changes: Iterable[Parameter], configured: bool) -> SetParametersResult:
    """Judge a change before it is made: bad values and, once configured, parameters that are not live are refused."""
    known = {info.name: info for info in _FIELDS}
    for change in changes:
        info = known.get(change.name)
        if info is None:
            continue  # use_sim_time and others that the middleware owns
        if configured and not info.metadata["live"] and change.value != getattr(current, change.name):
            return SetParametersResult(
                successful=False,
                reason=f"{change.name} cannot change while the node is configured; clean it up first "
                "(ros2 lifecycle set <node> cleanup)",
            )
        sentence = _complaint(info, change.value)
        if sentence:
            return SetParametersResult(successful=False, reason=sentence)
    return SetParametersResult(successful=True)


def apply_changes(current: NodeParameters, changes: Iterable[Parameter]) -> NodeParameters:
    """Return the parameters after accepted changes."""
    known = {info.name: info for info in _FIELDS}
    accepted = [change for change in changes if change.name in known]
    return replace(current, **{change.name: _typed(known[change.name], change.value) for change in accepted})


def descriptor_of(info: Field[Any]) -> ParameterDescriptor:
    """Return what ``ros2 param describe`` shows."""
    # Dynamic typing, so that 10 for 10.0 is no error and other types are refused with our own sentence.
    descriptor = ParameterDescriptor(description=info.metadata["description"], dynamic_typing=True)
    if info.metadata["choices"]:
        descriptor.additional_constraints = "one of " + ", ".join(str(choice) for choice in info.metadata["choices"])
    if info.metadata["between"]:
        low, high = info.metadata["between"]
        if isinstance(info.default, int):
            descriptor.integer_range = [IntegerRange(from_value=int(low), to_value=int(high), step=0)]
        else:
            descriptor.floating_point_range = [FloatingPointRange(from_value=float(low), to_value=float(high))]
    if not info.metadata["live"]:
        note = "read when the node is configured"
        descriptor.additional_constraints = "; ".join(filter(None, (descriptor.additional_constraints, note)))
    return descriptor


def _typed(info: Field[Any], value: Any) -> Any:
    """Take a whole number for a real one."""
    return float(value) if isinstance(info.default, float) and type(value) is int else value


def _complaint(info: Field[Any], value: Any) -> str:
    """Return what is wrong with a value, '' where nothing is."""
    kind = type(info.default)
    if type(value) is not kind and not (kind is float and type(value) is int):
        return f"{info.name} must be a {kind.__name__}, got {value!r}"
    if info.name.endswith("_topic") and value != info.default and not _is_topic(str(value)):
        return f"{info.name} must be a topic such as /camera/image_raw, got {value!r}"
    choices, between = info.metadata["choices"], info.metadata["between"]
    if choices and value not in choices:
        return f"{info.name} must be one of {', '.join(map(str, choices))}, got {value!r}"
    if between and not between[0] <= value <= between[1]:
        return f"{info.name} must be in {between[0]}..{between[1]}, got {value}"
    return ""


def _is_topic(name: str) -> bool:
    try:
        validate_topic_name(name)
    except InvalidTopicNameException:
        return False
    return True
