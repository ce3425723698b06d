"""Serialized messages to objects and back, with the types a recording brings, ROS's own, and ours."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

from rosbags.serde import SerdeError
from rosbags.typesys import Stores, TypesysError, get_types_from_idl, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from videocups.bags.recording import BagError, Message, Topic

IMAGE = "sensor_msgs/msg/Image"
COMPRESSED_IMAGE = "sensor_msgs/msg/CompressedImage"
CAMERA_INFO = "sensor_msgs/msg/CameraInfo"
IDL_RULE = "=" * 80 + "\n"
# A damaged message makes the generated readers fail in many ways; none of these leaves ``decode``.
DECODE_ERRORS = (SerdeError, ValueError, IndexError, KeyError, OverflowError, AssertionError)


class MessageError(ValueError):
    """One message is damaged; the rest of the recording may be fine."""


@cache
def ros2_types() -> Typestore:
    """Return ROS 2's own types together with ``videocups_msgs``, read from its .msg files."""
    store = get_typestore(Stores.ROS2_KILTED)
    folder = files("videocups.bags") / "msg"
    types = {}
    for entry in folder.iterdir():
        if entry.name.endswith(".msg"):
            name = f"videocups_msgs/msg/{entry.name.removesuffix('.msg')}"
            types.update(get_types_from_msg(entry.read_text(encoding="utf-8"), name))
    if not types:
        raise BagError(f"the message files of videocups_msgs are missing from {folder}; install videocups again")
    store.register(types)
    return store


def decode(message: Message) -> Any:
    """Deserialize one message; MessageError when its bytes are damaged, BagError when its type is unknown."""
    topic = message.topic
    store = _store_for(topic)
    try:
        if topic.serialization == "ros1":
            return store.deserialize_ros1(message.data, topic.msgtype)
        return store.deserialize_cdr(message.data, topic.msgtype)
    except DECODE_ERRORS as error:
        raise MessageError(f"a message on {topic.name} is damaged: {error}") from None


def encode(message: Any) -> memoryview:
    """Serialize one message object (of ``ros2_types``) to CDR."""
    return ros2_types().serialize_cdr(message, message.__msgtype__)


def stamp_ns(message: Any) -> int:
    """Return the header stamp of a message object in nanoseconds."""
    stamp = message.header.stamp
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


def new(msgtype: str, **fields: Any) -> Any:
    """Make a message object; ``msgtype`` like ``sensor_msgs/msg/Image``."""
    return ros2_types().types[msgtype](**fields)


def new_header(stamp: int, frame_id: str) -> Any:
    """Make a std_msgs/Header from nanoseconds."""
    time = new("builtin_interfaces/msg/Time", sec=stamp // 1_000_000_000, nanosec=stamp % 1_000_000_000)
    return new("std_msgs/msg/Header", stamp=time, frame_id=frame_id)


def definition_of(topic: Topic) -> tuple[str, str]:
    """Return (definition text, type hash) of a topic: the recording's own, else ROS's or ours."""
    if topic.definition and topic.digest:
        return topic.definition, topic.digest
    try:
        store = _store_for(topic)
        text = topic.definition or store.generate_msgdef(topic.msgtype, ros_version=2)[0]
        return text, topic.digest or store.hash_rihs01(topic.msgtype)
    except (BagError, TypesysError, KeyError):
        raise BagError(
            f"topic {topic.name} has type {topic.msgtype}, whose definition is neither in the recording nor known; "
            "leave the topic out with --topics"
        ) from None


@cache
def _store_for(topic: Topic) -> Typestore:
    """Return the types to read ``topic`` with. Only wanted topics get here: others may hold what nobody can parse."""
    if topic.serialization not in ("cdr", "ros1"):
        raise BagError(f"topic {topic.name} is serialized as {topic.serialization!r}; record it as 'cdr'")
    if topic.definition:
        store = get_typestore(Stores.EMPTY)
        try:
            store.register(_parsed(topic))
            if topic.msgtype in store.fielddefs:
                return store
        except (TypesysError, AssertionError, SyntaxError, ValueError, KeyError) as error:
            if topic.msgtype not in ros2_types().fielddefs:
                raise BagError(f"the definition of {topic.msgtype} in the recording cannot be read: {error}") from None
    store = get_typestore(Stores.ROS1_NOETIC) if topic.serialization == "ros1" else ros2_types()
    if topic.msgtype not in store.fielddefs:
        raise BagError(
            f"topic {topic.name} has type {topic.msgtype}, whose definition is neither in the recording nor known; "
            "record it again with a recorder that stores definitions (mcap, or db3 since ROS 2 Iron)"
        )
    return store


def _parsed(topic: Topic) -> Any:
    if topic.definition_format != "ros2idl":
        return get_types_from_msg(topic.definition, topic.msgtype)
    if not topic.definition.startswith(f"{IDL_RULE}IDL: "):
        return get_types_from_idl(topic.definition)
    types = {}
    for part in topic.definition.split(IDL_RULE)[1:]:
        types.update(get_types_from_idl(part.split("\n", 1)[1]))
    return types
