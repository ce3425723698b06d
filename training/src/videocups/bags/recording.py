"""What every recording is made of: topics, raw messages and a list of what is damaged."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Protocol


class BagError(ValueError):
    """A recording cannot be used as asked; the message names the fix."""


@dataclass(frozen=True)
class Topic:
    """One topic of a recording.

    ``definition``: text of the message type as the recording holds it, empty where it holds none.
    ``definition_format``: ``ros2msg``, ``ros2idl``, ``ros1msg`` or empty. ``qos``: YAML as recorded.
    """

    name: str
    msgtype: str
    serialization: str = "cdr"
    definition: str = ""
    definition_format: str = ""
    digest: str = ""
    qos: str = ""


@dataclass(frozen=True)
class Message:
    """One serialized message; ``log_ns`` is when it was recorded."""

    topic: Topic
    log_ns: int
    data: bytes | memoryview


@dataclass
class Damage:
    """What a reader could not get out of a recording, in sentences; empty means whole."""

    causes: list[str] = field(default_factory=list)

    def add(self, cause: str) -> None:
        """Note ``cause`` once."""
        if cause not in self.causes:
            self.causes.append(cause)

    def __bool__(self) -> bool:
        return bool(self.causes)


class Storage(Protocol):
    """One storage file opened for reading."""

    topics: tuple[Topic, ...]
    damage: Damage
    start_ns: int | None  # log time of the first message, None when empty
    last_ns: int | None  # log time of the last message

    def messages(
        self, topics: Collection[str], start_ns: int | None = None, stop_ns: int | None = None
    ) -> Iterator[Message]:
        """Yield messages of the named topics with start_ns <= log time < stop_ns, oldest first."""
        ...

    def counts(self) -> dict[str, int]:
        """Count the messages of every topic; may have to look at the whole file."""
        ...

    def close(self) -> None:
        """Free the file."""
        ...
