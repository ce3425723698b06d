"""Read an MCAP file through its index, or by scanning it where the index is missing or cut off."""

from __future__ import annotations

import heapq
import zlib
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path

from videocups.bags.mcap_index import Block, overlaps, read_chunk_index, read_statistics
from videocups.bags.mcap_records import (
    CHUNK,
    CHUNK_INDEX,
    DATA_END,
    FOOTER,
    MAGIC,
    MESSAGE,
    MESSAGE_HEAD,
    RECORD_HEAD,
    STATISTICS,
    Catalogue,
    ChunkContent,
    Fields,
    RecordError,
    iter_records,
    read_chunk,
)
from videocups.bags.recording import BagError, Damage, Message, Topic

FOOTER_BYTES = RECORD_HEAD.size + 20
LOOSE_BLOCK_BYTES = 4 << 20  # messages outside chunks are read in blocks of about this size


class McapStorage:
    """One .mcap file; see ``Storage``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.damage = Damage()
        self.blocks: list[Block] = []
        self._count_of: Counter[int] = Counter()
        self.start_ns: int | None = None
        self.last_ns: int | None = None
        self._catalogue = Catalogue()
        self._file = path.open("rb")
        self._size = path.stat().st_size
        try:
            if self._file.read(len(MAGIC)) != MAGIC:
                raise BagError(f"{path} is no MCAP file (wrong first bytes); check the path or record it again")
            if not self._read_summary():
                self._scan()
        except BaseException:
            self._file.close()
            raise
        self._topic_of = {channel_id: self._topic(channel_id) for channel_id in self._catalogue.channels}
        self.topics = tuple(self._topic_of.values())

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def counts(self) -> dict[str, int]:
        """Count the messages of every topic."""
        counts: Counter[str] = Counter()
        for channel_id, topic in self._topic_of.items():
            counts[topic.name] += self._count_of[channel_id]
        return dict(counts)

    def messages(
        self, topics: Collection[str], start_ns: int | None = None, stop_ns: int | None = None
    ) -> Iterator[Message]:
        """Yield messages of the named topics in [start_ns, stop_ns) by log time; only blocks in it are read."""
        wanted = {channel_id for channel_id, topic in self._topic_of.items() if topic.name in topics}
        blocks = sorted(
            (block for block in self.blocks if overlaps(block, wanted, start_ns, stop_ns)),
            key=lambda block: (block.start_ns, block.offset),
        )
        heap: list[tuple[int, int, int, Message]] = []
        for block in blocks:
            # Nothing in this or a later block is older than its start, so what is older can go.
            while heap and heap[0][0] < block.start_ns:
                yield heapq.heappop(heap)[-1]
            for position, (channel_id, log_ns, data) in enumerate(self._block_messages(block)):
                inside = (start_ns is None or log_ns >= start_ns) and (stop_ns is None or log_ns < stop_ns)
                if inside and channel_id in wanted:
                    message = Message(self._topic_of[channel_id], log_ns, data)
                    heapq.heappush(heap, (log_ns, block.offset, position, message))
        while heap:
            yield heapq.heappop(heap)[-1]

    def _read_summary(self) -> bool:
        """Fill the index from the summary section; False where the file has none that can be trusted."""
        tail_start = self._size - FOOTER_BYTES - len(MAGIC)
        tail = self._read(max(tail_start, 0), FOOTER_BYTES + len(MAGIC))
        opcode, length = RECORD_HEAD.unpack_from(tail) if len(tail) > RECORD_HEAD.size else (0, 0)
        if tail[-len(MAGIC) :] != MAGIC or opcode != FOOTER or length != 20:
            self.damage.add(f"{self.path.name} ends early (the recorder was stopped or the file was cut)")
            return False
        footer = Fields(memoryview(tail)[RECORD_HEAD.size :])
        summary_start, _, crc = footer.integer("<Q"), footer.integer("<Q"), footer.integer("<I")
        if not len(MAGIC) <= summary_start < tail_start:
            return False
        summary = self._read(summary_start, tail_start - summary_start)
        if crc and zlib.crc32(tail[: FOOTER_BYTES - 4], zlib.crc32(summary)) != crc:
            self.damage.add(f"the index of {self.path.name} is damaged")
            return False
        try:
            return self._take_summary(memoryview(summary))
        except RecordError as error:
            self.damage.add(f"the index of {self.path.name} is damaged ({error})")
            return False

    def _take_summary(self, summary: memoryview) -> bool:
        catalogue, blocks, chunks, statistics = Catalogue(), [], 0, None
        for opcode, body in iter_records(summary):
            catalogue.add(opcode, body)
            if opcode == CHUNK_INDEX:
                block = read_chunk_index(Fields(body))
                if block.offset + block.length > self._size:
                    raise RecordError("it points behind the end of the file")
                if block.start_ns <= block.end_ns:  # a chunk may hold no message
                    blocks.append(block)
                chunks += 1
            elif opcode == STATISTICS:
                statistics = read_statistics(Fields(body))
        if statistics is None or statistics.chunks != chunks:
            return False
        if (statistics.messages and not blocks) or set(statistics.counts) - set(catalogue.channels):
            return False  # messages outside chunks are in no index; unknown channels need a look at the data
        self._catalogue, self.blocks, self._count_of = catalogue, blocks, statistics.counts
        if statistics.messages:
            self.start_ns, self.last_ns = statistics.start_ns, statistics.last_ns
        return True

    def _scan(self) -> None:
        """Walk the file record by record and index every message that is whole."""
        position = len(MAGIC)
        loose: list[tuple[int, int, int]] = []  # channel, log time, end of record
        loose_start = position
        opcode = 0
        while position + RECORD_HEAD.size <= self._size:
            opcode, length = RECORD_HEAD.unpack(self._read(position, RECORD_HEAD.size))
            end = position + RECORD_HEAD.size + length
            if opcode == DATA_END or (end > self._size and opcode != CHUNK):
                break
            if opcode == MESSAGE and length >= MESSAGE_HEAD.size:
                channel_id, _, log_ns, _ = MESSAGE_HEAD.unpack(
                    self._read(position + RECORD_HEAD.size, MESSAGE_HEAD.size)
                )
                loose.append((channel_id, log_ns, end))
            elif opcode == CHUNK:
                self._scan_chunk(position, min(end, self._size))
            else:
                self._describe(opcode, memoryview(self._read(position + RECORD_HEAD.size, length)))
            position = min(end, self._size)
            if loose and (opcode != MESSAGE or position - loose_start > LOOSE_BLOCK_BYTES):
                self._add_loose(loose_start, loose)
                loose = []
            if not loose:
                loose_start = position
        if loose:
            self._add_loose(loose_start, loose)
        if opcode != DATA_END:
            self.damage.add(f"{self.path.name} ends early (the recorder was stopped or the file was cut)")
        for channel_id in set(self._count_of) - set(self._catalogue.channels):
            self.damage.add(f"{self._count_of.pop(channel_id)} messages have no topic: its description is lost")

    def _scan_chunk(self, start: int, end: int) -> None:
        length = end - start - RECORD_HEAD.size
        content = self._chunk(start, length)
        channels: Counter[int] = Counter()
        times = []
        for opcode, body in iter_records(content.records):
            self._describe(opcode, body)
            if opcode == MESSAGE and len(body) >= MESSAGE_HEAD.size:
                channel_id, _, log_ns, _ = MESSAGE_HEAD.unpack_from(body)
                channels[channel_id] += 1
                times.append(log_ns)
        if times:
            block = Block(min(times), max(times), start, length, is_chunk=True, channel_ids=frozenset(channels))
            self._add(block, channels)

    def _describe(self, opcode: int, body: memoryview) -> None:
        try:
            self._catalogue.add(opcode, body)
        except RecordError as error:
            self.damage.add(f"a description of topics in {self.path.name} is damaged ({error})")

    def _add_loose(self, start: int, loose: list[tuple[int, int, int]]) -> None:
        times = [log_ns for _, log_ns, _ in loose]
        channels = Counter(channel_id for channel_id, _, _ in loose)
        length = loose[-1][2] - start
        self._add(Block(min(times), max(times), start, length, False, frozenset(channels)), channels)

    def _add(self, block: Block, channels: Counter[int]) -> None:
        self.blocks.append(block)
        self._count_of.update(channels)
        self.start_ns = block.start_ns if self.start_ns is None else min(self.start_ns, block.start_ns)
        self.last_ns = block.end_ns if self.last_ns is None else max(self.last_ns, block.end_ns)

    def _chunk(self, offset: int, length: int) -> ChunkContent:
        record = memoryview(self._read(offset, RECORD_HEAD.size + length))
        if len(record) < RECORD_HEAD.size or record[0] != CHUNK:
            content = ChunkContent(0, 0, memoryview(b""), complete=False, cause="the index points elsewhere")
        else:
            content = read_chunk(record[RECORD_HEAD.size :])
        if not content.complete:
            self.damage.add(f"the chunk at byte {offset} of {self.path.name} is not whole: {content.cause}")
        return content

    def _block_messages(self, block: Block) -> Iterator[tuple[int, int, memoryview]]:
        if block.is_chunk:
            records = self._chunk(block.offset, block.length).records
        else:
            records = memoryview(self._read(block.offset, block.length))
        for opcode, body in iter_records(records):
            if opcode == MESSAGE and len(body) >= MESSAGE_HEAD.size:
                channel_id, _, log_ns, _ = MESSAGE_HEAD.unpack_from(body)
                yield channel_id, log_ns, body[MESSAGE_HEAD.size :]

    def _topic(self, channel_id: int) -> Topic:
        channel = self._catalogue.channels[channel_id]
        schema = self._catalogue.schemas.get(channel.schema_id)
        return Topic(
            name=channel.topic,
            msgtype=_full_name(schema.name) if schema else "",
            serialization=channel.encoding,
            definition=schema.text if schema else "",
            definition_format=schema.encoding if schema else "",
            digest=channel.metadata.get("topic_type_hash", ""),
            qos=channel.metadata.get("offered_qos_profiles", ""),
        )

    def _read(self, offset: int, length: int) -> bytes:
        if offset >= self._size:  # a damaged index may point anywhere
            return b""
        self._file.seek(offset)
        return self._file.read(min(length, self._size - offset))


def _full_name(msgtype: str) -> str:
    """Return ``sensor_msgs/msg/Image`` for ROS 1's ``sensor_msgs/Image``."""
    package, slash, name = msgtype.partition("/")
    return msgtype if not slash or "/" in name else f"{package}/msg/{name}"
