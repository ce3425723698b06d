"""The MCAP container, record by record (https://mcap.dev/spec), and decompression that keeps a prefix."""

from __future__ import annotations

import struct
import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import lz4.frame

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

MAGIC = b"\x89MCAP0\r\n"
HEADER, FOOTER, SCHEMA, CHANNEL, MESSAGE, CHUNK = 0x01, 0x02, 0x03, 0x04, 0x05, 0x06
CHUNK_INDEX, STATISTICS, DATA_END = 0x08, 0x0B, 0x0F
RECORD_HEAD = struct.Struct("<BQ")
MESSAGE_HEAD = struct.Struct("<HIQQ")
CHUNK_HEAD = struct.Struct("<QQQI")
FEED_BYTES = 1 << 16


class RecordError(ValueError):
    """Bytes that are no valid MCAP record."""


@dataclass(frozen=True)
class Schema:
    """A message type."""

    name: str
    encoding: str
    text: str


@dataclass(frozen=True)
class Channel:
    """A topic as MCAP stores it."""

    schema_id: int
    topic: str
    encoding: str
    metadata: dict[str, str]


@dataclass
class Catalogue:
    """Schemas and channels by id, as they are met."""

    schemas: dict[int, Schema] = field(default_factory=dict)
    channels: dict[int, Channel] = field(default_factory=dict)

    def add(self, opcode: int, body: memoryview) -> None:
        """Take a SCHEMA or CHANNEL record; other records are ignored."""
        if opcode == SCHEMA:
            fields = Fields(body)
            schema_id = fields.integer("<H")
            self.schemas[schema_id] = Schema(fields.text(), fields.text(), fields.text())
        elif opcode == CHANNEL:
            fields = Fields(body)
            channel_id, schema_id = fields.integer("<H"), fields.integer("<H")
            self.channels[channel_id] = Channel(schema_id, fields.text(), fields.text(), fields.text_map())


class Fields:
    """Read the fields of a record one after the other."""

    def __init__(self, body: memoryview) -> None:
        self.body = body
        self.position = 0

    def integer(self, layout: str) -> int:
        """Read one little-endian integer of struct ``layout``."""
        try:
            (value,) = struct.unpack_from(layout, self.body, self.position)
        except struct.error as error:
            raise RecordError(f"record ends inside a number: {error}") from None
        self.position += struct.calcsize(layout)
        return int(value)

    def blob(self, length_layout: str = "<I") -> memoryview:
        """Read bytes that follow their own length."""
        length = self.integer(length_layout)
        if self.position + length > len(self.body):
            raise RecordError("a field is longer than its record")
        start, self.position = self.position, self.position + length
        return self.body[start : self.position]

    def text(self) -> str:
        """Read a string; bytes that are no UTF-8 become replacement marks."""
        return str(self.blob(), "utf-8", "replace")

    def text_map(self) -> dict[str, str]:
        """Read a map of strings."""
        inner = Fields(self.blob())
        pairs = {}
        while inner.position < len(inner.body):
            key = inner.text()
            pairs[key] = inner.text()
        return pairs


def iter_records(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Yield (opcode, body) of every complete record; an incomplete last one is left out."""
    position = 0
    while position + RECORD_HEAD.size <= len(data):
        opcode, length = RECORD_HEAD.unpack_from(data, position)
        position += RECORD_HEAD.size
        if position + length > len(data):
            return
        yield opcode, data[position : position + length]
        position += length


@dataclass(frozen=True)
class ChunkContent:
    """The records of a chunk; ``complete`` is False when only a prefix could be had."""

    start_ns: int
    end_ns: int
    records: memoryview
    complete: bool
    cause: str = ""


def read_chunk(body: memoryview) -> ChunkContent:
    """Unpack a CHUNK record's body, which may end early; what can be had is returned."""
    if len(body) < CHUNK_HEAD.size:
        return ChunkContent(0, 0, memoryview(b""), complete=False, cause="its head is cut off")
    start_ns, end_ns, size, crc = CHUNK_HEAD.unpack_from(body)
    fields = Fields(body)
    fields.position = CHUNK_HEAD.size
    try:
        compression = fields.text()
        stored = fields.integer("<Q")
    except RecordError:
        return ChunkContent(start_ns, end_ns, memoryview(b""), complete=False, cause="its head is cut off")
    packed = body[fields.position : fields.position + stored]
    if compression == "":
        records, cause = packed[:size], ""
    else:
        unpacked, cause = decompress_prefix(packed, compression, size)
        records = memoryview(unpacked)
    if len(records) < size:
        return ChunkContent(start_ns, end_ns, records, complete=False, cause=cause or "its end is missing")
    if crc and zlib.crc32(records) != crc:
        return ChunkContent(start_ns, end_ns, memoryview(b""), complete=False, cause="its checksum is wrong")
    return ChunkContent(start_ns, end_ns, records, complete=True)


def decompress_prefix(packed: memoryview, compression: str, size: int) -> tuple[bytes, str]:
    """Decompress as far as the bytes go; returns at most ``size`` bytes and what stopped it, if anything."""
    if compression == "zstd":
        decompressor = zstd.ZstdDecompressor()
    elif compression == "lz4":
        decompressor = lz4.frame.LZ4FrameDecompressor()
    else:
        return b"", f"its compression {compression!r} is unknown"
    parts: list[bytes] = []
    total = 0
    for start in range(0, len(packed), FEED_BYTES):
        try:
            parts.append(decompressor.decompress(packed[start : start + FEED_BYTES]))
        except (zstd.ZstdError, RuntimeError, EOFError) as error:
            return b"".join(parts)[:size], f"it does not decompress ({error})"
        total += len(parts[-1])
        if total >= size or decompressor.eof:
            break
    return b"".join(parts)[:size], ""
