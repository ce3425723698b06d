"""Read a ROS 1 .bag file through ``rosbags``."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

from rosbags.interfaces import Connection
from rosbags.rosbag1 import Reader, ReaderError

from videocups.bags.recording import BagError, Damage, Message, Topic


class Ros1Storage:
    """One ROS 1 .bag file; see ``Storage``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.damage = Damage()
        self._reader = Reader(path)
        try:
            self._reader.open()
        except (ReaderError, OSError, ValueError) as error:
            raise BagError(f"cannot open ROS 1 bag {path}: {error}; try 'rosbag reindex' on it") from None
        self._topic_of = {connection.id: _topic(connection) for connection in self._reader.connections}
        self.topics = tuple(dict.fromkeys(self._topic_of.values()))
        filled = self._reader.message_count > 0
        self.start_ns = self._reader.start_time if filled else None
        self.last_ns = self._reader.end_time - 1 if filled else None

    def counts(self) -> dict[str, int]:
        """Count the messages of every topic."""
        return {name: info.msgcount for name, info in self._reader.topics.items()}

    def messages(
        self, topics: Collection[str], start_ns: int | None = None, stop_ns: int | None = None
    ) -> Iterator[Message]:
        """Yield messages of the named topics in [start_ns, stop_ns) by log time."""
        wanted = [connection for connection in self._reader.connections if connection.topic in topics]
        if not wanted:
            return
        try:
            for connection, log_ns, data in self._reader.messages(wanted, start_ns, stop_ns):
                yield Message(self._topic_of[connection.id], log_ns, data)
        except (ReaderError, OSError, ValueError) as error:
            self.damage.add(f"{self.path.name} cannot be read to its end: {error}; try 'rosbag reindex' on it")

    def close(self) -> None:
        """Close the file."""
        self._reader.close()


def _topic(connection: Connection) -> Topic:
    return Topic(
        name=connection.topic,
        msgtype=connection.msgtype,
        serialization="ros1",
        definition=connection.msgdef.data,
        definition_format="ros1msg",
        digest=connection.digest,
    )
