"""Write rosbag2 recordings that appear whole or not at all."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from rosbags.interfaces import Connection
from rosbags.rosbag2 import StoragePlugin, Writer, WriterError
from rosbags.rosbag2.errors import ReaderError
from rosbags.rosbag2.metadata import parse_qos

from videocups.bags.messages import definition_of, encode, ros2_types
from videocups.bags.recording import BagError, Message, Topic

FORMATS = {"mcap": StoragePlugin.MCAP, "db3": StoragePlugin.SQLITE3}
METADATA_VERSION: Literal[8] = 8  # what Humble and later read
# Latched: transient local, so that a late subscriber still gets the one message.
LATCHED_QOS = """- history: 1
  depth: 1
  reliability: 1
  durability: 1
  deadline: {sec: 9223372036, nsec: 854775807}
  lifespan: {sec: 9223372036, nsec: 854775807}
  liveliness: 1
  liveliness_lease_duration: {sec: 9223372036, nsec: 854775807}
  avoid_ros_namespace_conventions: false
"""


class BagWriter:
    """An open recording; topics are made when their first message comes or with ``add``."""

    def __init__(self, writer: Writer, path: Path) -> None:
        self._writer = writer
        self._path = path
        self._connections: dict[str, Connection] = {}
        self.count = 0

    def add(self, topic: Topic) -> None:
        """Make a topic as another recording has it: type, definition, hash and QoS."""
        if topic.name in self._connections:
            return
        definition, digest = definition_of(topic)
        try:
            qos = parse_qos(topic.qos)
        except (ReaderError, KeyError, TypeError) as error:
            raise BagError(f"the QoS of topic {topic.name} in the recording cannot be read: {error}") from None
        self._connections[topic.name] = self._writer.add_connection(
            topic.name, topic.msgtype, msgdef=definition, rihs01=digest, offered_qos_profiles=qos
        )

    def copy(self, message: Message) -> None:
        """Write a message of another recording, byte for byte."""
        self.add(message.topic)
        self._put(message.topic.name, message.log_ns, message.data)

    def write(self, topic: str, log_ns: int, message: Any, *, latched: bool = False) -> None:
        """Write a message object (of ``ros2_types``)."""
        if topic not in self._connections:
            qos = parse_qos(LATCHED_QOS) if latched else []
            self._connections[topic] = self._writer.add_connection(
                topic, message.__msgtype__, typestore=ros2_types(), offered_qos_profiles=qos
            )
        self._put(topic, log_ns, encode(message))

    def _put(self, topic: str, log_ns: int, data: bytes | memoryview) -> None:
        with _disk_errors_named(self._path):
            self._writer.write(self._connections[topic], log_ns, data)
        self.count += 1


@contextmanager
def _disk_errors_named(path: Path) -> Iterator[None]:
    """Turn what a full or broken disk causes into one sentence."""
    try:
        yield
    except (OSError, sqlite3.Error, WriterError) as error:
        raise BagError(f"cannot write {path}: {error}; make room or give another --out, and run it again") from None


@contextmanager
def new_bag(path: Path, *, storage: str = "mcap") -> Iterator[BagWriter]:
    """Open ``path`` (a folder that must not exist) for writing; it appears when the context ends well."""
    if storage not in FORMATS:
        raise BagError(f"storage must be one of {', '.join(FORMATS)}, got {storage!r}")
    if path.exists():
        raise BagError(f"{path} exists already; remove it or give another --out")
    # rosbags names the storage file after its folder, so the folder in the making has the final name already.
    staging = path.parent / f".{path.name}.partial"
    try:
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(parents=True)
        writer = Writer(staging / path.name, version=METADATA_VERSION, storage_plugin=FORMATS[storage])
        writer.open()
    except OSError as error:
        raise BagError(f"cannot write into {path.parent}: {error.strerror}; give another --out") from None
    finished = False
    try:
        yield BagWriter(writer, path)
        with _disk_errors_named(path):
            writer.close()
            finished = True
            (staging / path.name).rename(path)
    finally:
        try:
            if not finished:
                writer.abort()
        finally:  # on a full disk closing fails too
            shutil.rmtree(staging, ignore_errors=True)
