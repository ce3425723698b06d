"""Find every whole message of a .db3 file that was cut, from the pages that are left.

SQLite refuses a database that ends early, and interior pages of its tree may lie behind the cut. But a row sits in a
leaf page (first byte 13) and continues in overflow pages that name their successor, so whole rows can be
read without the tree (https://www.sqlite.org/fileformat2.html). An overflow page starts with a page number, whose
first byte is 13 only beyond 800 GB: the two kinds cannot be taken for each other.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from videocups.bags.recording import BagError

SQLITE_MAGIC = b"SQLite format 3\x00"
TABLE_LEAF = 13
FIRST_PAGE_HEADER = 100
SMALLEST_PAGE_BYTES = 512
INTEGER_BYTES = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}
Value = int | str | bytes | None
MESSAGE_COLUMNS = 4  # id, topic_id, timestamp, data
DEFINITION_COLUMNS = 5  # id, topic_type, encoding, encoded_message_definition, type_description_hash


@dataclass(frozen=True)
class FoundMessage:
    """Where a whole message lies: its pieces as (offset, length) and the data's place in them."""

    topic_id: int
    log_ns: int
    pieces: tuple[tuple[int, int], ...]
    data_start: int
    data_length: int

    def read(self, file: BinaryIO) -> bytes:
        """Read the serialized message."""
        payload = b"".join(_read(file, offset, length) for offset, length in self.pieces)
        return payload[self.data_start : self.data_start + self.data_length]


@dataclass(frozen=True)
class SalvagedDatabase:
    """Rows of the tables topics and message_definitions, and where the messages lie, oldest first."""

    topics: list[tuple[Value, ...]]
    definitions: dict[str, tuple[str, str]]
    messages: list[FoundMessage]


@dataclass(frozen=True)
class _Layout:
    page_bytes: int
    usable_bytes: int
    file_bytes: int


def declared_bytes(head: bytes) -> int:
    """Return the size the header of a database gives; 0 where it gives none that can be trusted."""
    changes, pages = struct.unpack_from(">II", head, 24)
    (valid_for,) = struct.unpack_from(">I", head, 92)
    return pages * _page_bytes(head) if changes == valid_for else 0


def salvage(path: Path) -> SalvagedDatabase:
    """Read every whole row of a rosbag2 database that is left in ``path``."""
    topics: dict[int, tuple[Value, ...]] = {}
    definitions: dict[str, tuple[str, str]] = {}
    messages: dict[int, FoundMessage] = {}
    with path.open("rb") as file:
        head = _read(file, 0, FIRST_PAGE_HEADER)
        page_bytes = _page_bytes(head)
        if page_bytes < SMALLEST_PAGE_BYTES or page_bytes & (page_bytes - 1):
            raise BagError(f"the head of {path} is damaged, nothing can be recovered; copy it again from its source")
        layout = _Layout(page_bytes, page_bytes - head[20], path.stat().st_size)
        for row_id, pieces in _rows(file, layout):
            first = _read(file, *pieces[0])
            columns, body_start = _columns(first)
            if _is_message(columns):
                messages[row_id] = _found_message(first, columns, body_start, pieces)
                continue
            payload = b"".join(_read(file, offset, length) for offset, length in pieces)
            values = tuple(_values(payload, columns, body_start))
            if len(values) == DEFINITION_COLUMNS and values[2] in ("ros2msg", "ros2idl"):
                definitions[str(values[1])] = (str(values[2]), str(values[3]))
            elif len(values) >= 4 and isinstance(values[1], str) and values[1].startswith("/"):
                topics[row_id] = (row_id, *values[1:])
    ordered = sorted(messages.items(), key=lambda item: (item[1].log_ns, item[0]))
    return SalvagedDatabase([topics[row_id] for row_id in sorted(topics)], definitions, [found for _, found in ordered])


def _rows(file: BinaryIO, layout: _Layout) -> Iterator[tuple[int, tuple[tuple[int, int], ...]]]:
    """Yield (row id, pieces) of every whole row in every leaf page of a table."""
    for page_start in range(0, layout.file_bytes, layout.page_bytes):
        header = FIRST_PAGE_HEADER if page_start == 0 else 0
        if _read(file, page_start + header, 1) != bytes([TABLE_LEAF]):
            continue
        page = _read(file, page_start, layout.page_bytes)
        if len(page) < header + 8:
            continue
        (cells,) = struct.unpack_from(">H", page, header + 3)
        for index in range(cells):
            pointer = header + 8 + 2 * index
            if pointer + 2 > len(page):
                break
            (cell,) = struct.unpack_from(">H", page, pointer)
            row = _row(file, layout, page, page_start, cell)
            if row:
                yield row


def _row(
    file: BinaryIO, layout: _Layout, page: bytes, page_start: int, cell: int
) -> tuple[int, tuple[tuple[int, int], ...]] | None:
    """Follow one row through its overflow pages; None where a part of it is missing."""
    size, position = _varint(page, cell)
    row_id, position = _varint(page, position)
    local = _local_bytes(size, layout.usable_bytes)
    if position + local + (4 if local < size else 0) > len(page):
        return None
    pieces = [(page_start + position, local)]
    left = size - local
    following = int.from_bytes(page[position + local : position + local + 4], "big") if left else 0
    while left:
        start = (following - 1) * layout.page_bytes
        length = min(left, layout.usable_bytes - 4)
        if following < 2 or start + 4 + length > layout.file_bytes:
            return None
        pieces.append((start + 4, length))
        following = int.from_bytes(_read(file, start, 4), "big")
        left -= length
    return row_id, tuple(pieces)


def _local_bytes(size: int, usable: int) -> int:
    """Return how much of a row of ``size`` bytes lies in the leaf page itself."""
    largest = usable - 35
    if size <= largest:
        return size
    smallest = (usable - 12) * 32 // 255 - 23
    local = smallest + (size - smallest) % (usable - 4)
    return local if local <= largest else smallest


def _columns(payload: bytes) -> tuple[list[int], int]:
    """Return the serial types of a row and where its values start."""
    header_bytes, position = _varint(payload, 0)
    types = []
    while position < min(header_bytes, len(payload)):
        serial_type, position = _varint(payload, position)
        types.append(serial_type)
    return types, header_bytes


def _is_message(types: list[int]) -> bool:
    is_integer = [kind in INTEGER_BYTES or kind in (8, 9) for kind in types]
    blob = len(types) == MESSAGE_COLUMNS and types[3] >= 12 and types[3] % 2 == 0
    return blob and types[0] == 0 and is_integer[1] and is_integer[2]


def _found_message(payload: bytes, types: list[int], start: int, pieces: tuple[tuple[int, int], ...]) -> FoundMessage:
    topic_id, log_ns = list(_values(payload, types[:3], start))[1:]
    data_start = start + sum(map(_value_bytes, types[:3]))
    return FoundMessage(int(topic_id or 0), int(log_ns or 0), pieces, data_start, _value_bytes(types[3]))


def _values(payload: bytes, types: list[int], position: int) -> Iterator[Value]:
    for kind in types:
        length = _value_bytes(kind)
        raw = payload[position : position + length]
        position += length
        if kind in INTEGER_BYTES:
            yield int.from_bytes(raw, "big", signed=True)
        elif kind in (8, 9):
            yield kind - 8
        elif kind >= 13 and kind % 2:
            yield raw.decode("utf-8", "replace")
        else:
            yield raw if kind >= 12 else None


def _value_bytes(kind: int) -> int:
    if kind >= 12:
        return (kind - 12) // 2
    return 8 if kind == 7 else INTEGER_BYTES.get(kind, 0)


def _varint(data: bytes, position: int) -> tuple[int, int]:
    """Read SQLite's big-endian variable-length integer; missing bytes read as zero."""
    value = 0
    for count in range(9):
        byte = data[position] if position < len(data) else 0
        position += 1
        if count == 8:
            return value << 8 | byte, position
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            break
    return value, position


def _page_bytes(head: bytes) -> int:
    (size,) = struct.unpack_from(">H", head, 16)
    return 65_536 if size == 1 else int(size)


def _read(file: BinaryIO, offset: int, length: int) -> bytes:
    file.seek(offset)
    return file.read(length)
