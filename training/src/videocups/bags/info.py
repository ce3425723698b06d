"""Describe a recording: topics, types, counts, rates and damage."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path

from videocups.bags.reader import open_bag

NS = 1_000_000_000


@dataclass(frozen=True)
class TopicInfo:
    """One line of the table; ``rate_hz`` is over the whole recording."""

    name: str
    msgtype: str
    count: int
    rate_hz: float


@dataclass(frozen=True)
class BagInfo:
    """What ``videocups bag info`` shows."""

    path: str
    start_ns: int | None
    duration_s: float
    messages: int
    topics: tuple[TopicInfo, ...]
    damage: tuple[str, ...]
    notes: tuple[str, ...]


def describe(path: Path) -> BagInfo:
    """Look at a recording without reading its messages, where its index allows that."""
    with open_bag(path) as bag:
        counts = bag.counts()
        filled = bag.start_ns is not None and bag.last_ns is not None
        duration_s = (bag.last_ns - bag.start_ns) / NS if bag.last_ns is not None and bag.start_ns is not None else 0.0
        topics = tuple(
            TopicInfo(topic.name, topic.msgtype, counts[topic.name], _rate(counts[topic.name], duration_s))
            for topic in bag.topics
        )
        damage, notes = list(bag.damage.causes), list(bag.notes)
        missing = bag.missing_messages()
        if missing > 0:
            told = f"metadata.yaml speaks of {bag.metadata.message_count} messages, the storage holds {missing} fewer"
            (damage if damage else notes).append(told)
        elif missing < 0:
            notes.append(f"metadata.yaml speaks of {bag.metadata.message_count} messages, the storage holds more")
        start_ns = bag.start_ns if filled else None
        return BagInfo(str(path), start_ns, duration_s, sum(counts.values()), topics, tuple(damage), tuple(notes))


def info_table(info: BagInfo) -> str:
    """Return the description for people."""
    start = "-"
    if info.start_ns is not None:
        start = datetime.fromtimestamp(info.start_ns / NS, timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")
    lines = [f"{info.path}: {info.messages} messages in {info.duration_s:.2f} s from {start}"]
    width = max((len(topic.name) for topic in info.topics), default=0)
    kind_width = max((len(topic.msgtype) for topic in info.topics), default=0)
    lines += [
        f"  {topic.name:<{width}}  {topic.msgtype:<{kind_width}}  {topic.count:>8}  {topic.rate_hz:8.2f} Hz"
        for topic in info.topics
    ]
    lines += [f"LOST: {cause}" for cause in info.damage]
    lines += [f"note: {note}" for note in info.notes]
    return "\n".join(lines)


def info_json(info: BagInfo) -> str:
    """Return the description for programs."""
    return json.dumps(asdict(info), indent=1)


def _rate(count: int, duration_s: float) -> float:
    """Return messages a second; n messages span n - 1 periods, so one message has no rate."""
    return (count - 1) / duration_s if count > 1 and duration_s > 0 else 0.0
