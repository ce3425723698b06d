"""The index of an MCAP file: where its chunks lie and what they hold."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from videocups.bags.mcap_records import CHUNK_HEAD, RECORD_HEAD, Fields, RecordError


@dataclass(frozen=True)
class Block:
    """A piece of the file that holds messages: a chunk, or a run of messages outside any chunk."""

    start_ns: int
    end_ns: int  # of the last message, inclusive
    offset: int
    length: int
    is_chunk: bool
    channel_ids: frozenset[int] | None = None  # None: unknown


@dataclass(frozen=True)
class Statistics:
    """What the file says about itself as a whole."""

    messages: int
    chunks: int
    start_ns: int
    last_ns: int
    counts: Counter[int]


def read_statistics(fields: Fields) -> Statistics:
    """Read a STATISTICS record."""
    messages = fields.integer("<Q")
    fields.integer("<H")  # schemas
    for _ in ("channels", "attachments", "metadata"):
        fields.integer("<I")
    chunks = fields.integer("<I")
    start_ns, last_ns = fields.integer("<Q"), fields.integer("<Q")
    inner = Fields(fields.blob())
    counts: Counter[int] = Counter()
    while inner.position < len(inner.body):
        channel_id = inner.integer("<H")
        counts[channel_id] = inner.integer("<Q")
    return Statistics(messages, chunks, start_ns, last_ns, counts)


def read_chunk_index(fields: Fields) -> Block:
    """Read a CHUNK_INDEX record."""
    start_ns, end_ns = fields.integer("<Q"), fields.integer("<Q")
    offset, length = fields.integer("<Q"), fields.integer("<Q")
    if length < RECORD_HEAD.size + CHUNK_HEAD.size:
        raise RecordError(f"the index names a chunk of {length} bytes")
    inner = Fields(fields.blob())
    channel_ids = set()
    while inner.position < len(inner.body):
        channel_ids.add(inner.integer("<H"))
        inner.position += 8
    # A writer may leave the message index out; then the channels are unknown, not none.
    known = frozenset(channel_ids) if channel_ids else None
    return Block(start_ns, end_ns, offset, length - RECORD_HEAD.size, is_chunk=True, channel_ids=known)


def overlaps(block: Block, wanted: set[int], start_ns: int | None, stop_ns: int | None) -> bool:
    """Tell whether a block may hold a wanted channel in the window."""
    if block.channel_ids is not None and not (block.channel_ids & wanted):
        return False
    return (start_ns is None or block.end_ns >= start_ns) and (stop_ns is None or block.start_ns < stop_ns)
