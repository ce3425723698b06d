"""Recordings cut at random bytes: every complete message comes back, the loss is told, nothing is invented.

What is complete is worked out here from the bytes of the whole file, not with the reader's code.
"""

from __future__ import annotations

import struct

import numpy as np
import pytest
from backports import zstd

from videocups.bags.commands import LOST, bag
from videocups.bags.messages import encode
from videocups.bags.reader import open_bag
from videocups.bags.recording import BagError
from videocups.bags.writer import new_bag

CUTS_OF_EACH = 50  # × four kinds of files = 200
STEP = 256


@pytest.fixture
def noisy(recordings):
    """Incompressible messages of three sizes, so that compressed chunks span several blocks."""
    random = np.random.default_rng(7)
    sizes = [300, 9_000, 70_000]
    return [(recordings.topic, recordings.t0 + 1000 * i, b"\0\1\0\0" + random.bytes(sizes[i % 3])) for i in range(18)]


def ends_in_plain(data: bytes, messages) -> list[int]:
    """Where each message's last byte lies: its data is in the file once, as it is."""
    return [data.index(payload) + len(payload) for _, _, payload in messages]


def ends_in_packed(data: bytes, messages, chunk_of) -> list[int]:
    """The first cut, in steps, at which the chunk's decompressed prefix holds the message."""
    ends = []
    for _, _, payload in messages:
        start, end = next(span for span in chunk_of if payload in decompressed(data[slice(*span)]))
        low, high = start, end
        while low < high:  # a prefix that holds the message still does when it grows
            middle = (low + high) // 2
            if payload in decompressed(data[start:middle]):
                high = middle
            else:
                low = middle + 1
        ends.append(low)
    return ends


def decompressed(packed: bytes) -> bytes:
    """Decompress as far as possible, byte ranges of 1 kB at a time."""
    stream = zstd.ZstdDecompressor()
    return b"".join(stream.decompress(packed[i : i + 1024]) for i in range(0, len(packed), 1024) if not stream.eof)


def chunk_spans(data: bytes) -> list[tuple[int, int]]:
    """Walk the records of the whole file; return where the compressed bytes of each chunk lie."""
    position, spans = 8, []
    while data[position] != 0x0F:
        opcode, length = struct.unpack_from("<BQ", data, position)
        if opcode == 0x06:
            (name,) = struct.unpack_from("<I", data, position + 9 + 28)
            start = position + 9 + 28 + 4 + name + 8
            spans.append((start, position + 9 + length))
        position += 9 + length
    return spans


def ends_in_database(data: bytes, messages) -> list[int]:
    """A message is complete behind the last place where a sample of it stands: SQLite scatters it over pages."""
    ends = []
    for _, _, payload in messages:
        samples = [payload[i : i + 16] for i in (*range(0, len(payload) - 16, STEP), len(payload) - 16)]
        found = [at for sample in samples if (at := data.find(sample)) >= 0]  # some straddle two pages
        ends.append(max(found) + 16 + STEP)
    return ends


def check_cut(path, data, cut, expected, messages, topic):
    path.write_bytes(data[:cut])
    try:
        with open_bag(path) as found:
            got = [(message.topic.name, message.log_ns, bytes(message.data)) for message in found.messages({topic})]
            assert found.damage, f"cut at {cut} of {len(data)} was not noticed"
    except BagError:
        got = []
    assert set(got) <= set(messages), f"cut at {cut}: invented"
    assert len(got) == len(set(got)), f"cut at {cut}: doubled"
    assert set(got) >= {message for message, end in zip(messages, expected, strict=True) if end <= cut}, f"cut at {cut}"


@pytest.mark.parametrize("compression", ["", "zstd", "lz4"])
def test_mcap(recordings, noisy, compression):
    whole = recordings.mcap("whole.mcap", recordings.image_topics(), noisy, compression=compression)
    data = whole.read_bytes()
    spans = chunk_spans(data)
    if compression == "zstd":
        expected = ends_in_packed(data, noisy, spans)
    elif compression == "lz4":  # noise does not compress: lz4 stores such blocks as they are, but hands out whole ones
        expected = [next(end for _, end in spans if end >= data.index(p[:64]) + len(p)) for _, _, p in noisy]
    else:
        expected = ends_in_plain(data, noisy)
    first_message = min(expected)
    cuts = np.random.default_rng(len(compression)).integers(1, len(data), CUTS_OF_EACH)
    for cut in (*cuts, first_message, first_message - 1, max(expected), len(data) - 1):
        check_cut(recordings.folder / "cut.mcap", data, int(cut), expected, noisy, recordings.topic)


def test_db3(recordings, noisy):
    path = recordings.folder / "bag"
    with new_bag(path, storage="db3") as writer:
        writer.write(recordings.topic, recordings.t0 - 1, recordings.image(0))
        connection = writer._connections[recordings.topic]
        for _, log_ns, payload in noisy:
            writer._writer.write(connection, log_ns, payload)
    data = recordings.storage_file(path).read_bytes()
    messages = [(recordings.topic, recordings.t0 - 1, bytes(encode(recordings.image(0)))), *noisy]
    expected = [0, *ends_in_database(data, noisy)]
    expected[0] = ends_in_plain(data, messages[:1])[0]
    topics_end = data.rindex(recordings.topic.encode()) + 4096  # without its topic a message says nothing
    expected = [max(end, topics_end) for end in expected]
    for cut in (*np.random.default_rng(3).integers(1, len(data), CUTS_OF_EACH), len(data) - 1):
        check_cut(recordings.folder / "cut.db3", data, int(cut), expected, messages, recordings.topic)


def test_a_crashed_recorder_without_chunks_or_footer(recordings, noisy):
    whole = recordings.mcap("w.mcap", recordings.image_topics(), noisy, compression=None, finish=False)
    data = whole.read_bytes()
    expected = ends_in_plain(data, noisy)
    for cut in (len(data), len(data) - 1, expected[7], expected[7] - 1, expected[3] + 5):
        check_cut(recordings.folder / "cut.mcap", data, cut, expected, noisy, recordings.topic)


def test_the_exit_status_tells(recordings, noisy, capsys):
    data = recordings.mcap("whole.mcap", recordings.image_topics(), noisy).read_bytes()
    path = recordings.folder / "cut.mcap"
    path.write_bytes(data)
    assert bag(["info", str(path)]) == 0
    path.write_bytes(data[: len(data) // 2])
    assert bag(["info", str(path)]) == LOST
    assert "LOST: cut.mcap ends early" in capsys.readouterr().out
