"""Copy a part of a recording, byte for byte."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from videocups.bags.image_source import window_ns
from videocups.bags.reader import Bag, open_bag
from videocups.bags.recording import BagError
from videocups.bags.writer import new_bag
from videocups.progress import Progress

NS = 1_000_000_000


@dataclass(frozen=True)
class CutResult:
    """What was copied, and what could not be read."""

    messages: int
    topics: int
    damage: list[str]


def cut_bag(
    path: Path,
    out: Path,
    *,
    start_s: float | None = None,
    end_s: float | None = None,
    topics: Sequence[str] | None = None,
    storage: str = "mcap",
) -> CutResult:
    """Copy the messages of some topics in a time window to a new bag; types, QoS and bytes stay what they are."""
    with open_bag(path) as bag:
        wanted = {bag.topic(name).name for name in topics} if topics else {topic.name for topic in bag.topics}
        check_ros2(bag)
        if bag.start_ns is None or bag.last_ns is None:
            raise BagError(f"{path} holds no messages; there is nothing to cut")
        start_ns, stop_ns = window_ns(start_s, end_s, bag.start_ns)
        begin = max(start_ns or bag.start_ns, bag.start_ns)
        total_s = (min(stop_ns or bag.last_ns, bag.last_ns) - begin) / NS
        with new_bag(out, storage=storage) as writer, Progress("cut", total=total_s, unit="s of recording") as progress:
            for topic in bag.topics:
                if topic.name in wanted:
                    writer.add(topic)
            for message in bag.messages(wanted, start_ns, stop_ns):
                writer.copy(message)
                progress.update((message.log_ns - begin) / NS)
            if not writer.count:
                raise BagError(f"{path} holds no such message in that window; check --start, --end and --topics")
        return CutResult(writer.count, len(wanted), bag.damage.causes)


def check_ros2(bag: Bag) -> None:
    """Refuse what rosbag2 cannot hold."""
    foreign = [topic for topic in bag.topics if topic.serialization != "cdr"]
    if foreign:
        raise BagError(
            f"{bag.path} is serialized as {foreign[0].serialization!r} ({foreign[0].name}); "
            "convert it first with 'rosbags-convert --src BAG --dst OUT'"
        )
