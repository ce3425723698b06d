"""Every trap of reading recordings, each with a real file made that way."""

from __future__ import annotations

import shutil
import sqlite3

import numpy as np
import pytest
from backports import zstd
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

from videocups.bags.messages import MessageError, decode, encode, ros2_types, stamp_ns
from videocups.bags.reader import is_bag, open_bag
from videocups.bags.recording import BagError


def read(path, topics, start=None, stop=None):
    with open_bag(path) as bag:
        messages = [
            (message.topic.name, message.log_ns, bytes(message.data)) for message in bag.messages(topics, start, stop)
        ]
        return messages, bag.damage.causes, bag.notes


@pytest.mark.parametrize("storage", ["mcap", "db3"])
def test_a_whole_bag_gives_every_byte_back(recordings, storage):
    written = recordings.images(12)
    path = recordings.bag("bag", written, storage=storage)
    messages, damage, notes = read(path, {recordings.topic})
    assert messages == [(topic, log_ns, bytes(encode(message))) for topic, log_ns, message in written]
    assert not damage
    assert not notes


@pytest.mark.parametrize("storage", ["mcap", "db3"])
def test_a_window_is_half_open(recordings, storage):
    path = recordings.bag("bag", recordings.images(10), storage=storage)
    third, sixth = (recordings.t0 + i * recordings.period + 7 for i in (3, 6))
    messages, _, _ = read(path, {recordings.topic}, third, sixth)
    assert [log_ns for _, log_ns, _ in messages] == [recordings.t0 + i * recordings.period + 7 for i in (3, 4, 5)]


def test_overlapping_chunks_come_out_in_order_of_time(recordings):
    raw = recordings.raw(9)
    shuffled = [raw[i] for i in (0, 3, 1, 2, 7, 4, 6, 5, 8)]
    path = recordings.mcap("mixed.mcap", recordings.image_topics(), shuffled)
    messages, damage, _ = read(path, {recordings.topic})
    assert [log_ns for _, log_ns, _ in messages] == [log_ns for _, log_ns, _ in raw]
    assert not damage


@pytest.mark.parametrize("compression", ["", "zstd", "lz4", None])
def test_every_compression_and_a_file_without_chunks(recordings, compression):
    raw = recordings.raw(10)
    path = recordings.mcap("any.mcap", recordings.image_topics(), raw, compression=compression)
    messages, damage, _ = read(path, {recordings.topic})
    assert messages == raw
    assert not damage


def test_service_event_channels_do_not_spoil_the_images(recordings):
    """rosbags' AnyReader refuses such a file whole: nobody can parse the event's definition."""
    topics = recordings.image_topics() | {"/arm/_service_event": ("std_srvs/srv/SetBool_Event", "ros2msg", "§ no msg")}
    raw = recordings.raw(4)
    path = recordings.mcap("service.mcap", topics, [*raw, ("/arm/_service_event", recordings.t0, b"\0\1\0\0")])
    from rosbags.highlevel import AnyReader

    with pytest.raises(Exception, match=r"."), AnyReader([path]):
        pass
    with open_bag(path) as bag:
        stamps = [stamp_ns(decode(message)) for message in bag.messages({recordings.topic})]
        assert bag.counts() == {recordings.topic: 4, "/arm/_service_event": 1}
    assert stamps == [recordings.t0 + i * recordings.period for i in range(4)]


@pytest.mark.parametrize("storage", ["mcap", "db3"])
def test_metadata_of_another_recording_hides_nothing(recordings, storage):
    """With renamed topics in metadata.yaml rosbags yields nothing and says nothing."""
    path = recordings.bag("bag", recordings.images(5), storage=storage)
    metadata = path / "metadata.yaml"
    text = (
        metadata.read_text().replace(recordings.topic, "/other/image").replace("message_count: 5", "message_count: 9")
    )
    metadata.write_text(text)
    with open_bag(path) as bag:
        assert [topic.name for topic in bag.topics] == [recordings.topic]
        assert len(list(bag.messages({recordings.topic}))) == 5
        assert bag.missing_messages() == 4


@pytest.mark.parametrize("storage", ["mcap", "db3"])
def test_a_folder_without_metadata_opens(recordings, storage):
    path = recordings.bag("bag", recordings.images(5), storage=storage)
    (path / "metadata.yaml").unlink()
    messages, damage, notes = read(path, {recordings.topic})
    assert len(messages) == 5
    assert not damage
    assert "no metadata.yaml" in notes[0]


def test_broken_and_stale_metadata_are_notes(recordings):
    path = recordings.bag("bag", recordings.images(3))
    recordings.storage_file(path).rename(path / "renamed.mcap")
    messages, damage, notes = read(path, {recordings.topic})
    assert len(messages) == 3
    assert not damage
    assert any("bag.mcap" in note for note in notes)
    assert any("renamed.mcap" in note for note in notes)
    (path / "metadata.yaml").write_text("rosbag2_bagfile_information: [")
    assert "cannot be read" in read(path, {recordings.topic})[2][0]


def test_a_missing_part_of_a_split_recording_is_a_loss(recordings):
    path = recordings.bag("bag", recordings.images(5))
    metadata = path / "metadata.yaml"
    text = metadata.read_text().replace("- bag.mcap", "- bag.mcap\n  - bag_1.mcap").replace("unt: 5", "unt: 8")
    metadata.write_text(text)
    messages, damage, _ = read(path, {recordings.topic})
    assert len(messages) == 5
    assert "bag_1.mcap" in damage[0]
    assert "3 messages are missing" in damage[0]


def test_split_files_are_one_recording(recordings):
    parts = [recordings.bag(f"part{i}", recordings.images(4, first=4 * i)) for i in range(3)]
    whole = recordings.folder / "whole"
    whole.mkdir()
    for number, part in zip((2, 10, 11), parts, strict=True):  # 10 comes after 2
        shutil.copy(recordings.storage_file(part), whole / f"whole_{number}.mcap")
    messages, _, _ = read(whole, {recordings.topic})
    assert [log_ns for _, log_ns, _ in messages] == [recordings.t0 + i * recordings.period + 7 for i in range(12)]
    (whole / "whole_10.mcap").write_bytes(b"nothing of a recording")
    messages, damage, _ = read(whole, {recordings.topic})
    assert len(messages) == 8
    assert "whole_10.mcap" in damage[0]


def test_old_databases_without_definitions_use_the_known_types(recordings):
    path = recordings.storage_file(recordings.bag("bag", recordings.images(4), storage="db3"))
    database = sqlite3.connect(path)
    database.executescript(
        """
        CREATE TABLE old(id INTEGER PRIMARY KEY, name TEXT, type TEXT, serialization_format TEXT);
        INSERT INTO old SELECT id, name, type, serialization_format FROM topics;
        DROP TABLE topics; ALTER TABLE old RENAME TO topics;
        DROP TABLE message_definitions; DROP TABLE schema; DROP TABLE metadata;
        """
    )
    database.execute("INSERT INTO topics VALUES (9, '/odd', 'their_msgs/msg/Odd', 'cdr')")
    database.execute("INSERT INTO messages VALUES (99, 9, ?, x'00010000')", (recordings.t0,))
    database.commit()
    database.close()
    with open_bag(path) as bag:
        images = [decode(message) for message in bag.messages({recordings.topic})]
        odd = next(bag.messages({"/odd"}))
        with pytest.raises(BagError, match="neither in the recording nor known"):
            decode(odd)
    assert [np.array_equal(image.data, recordings.image(i).data) for i, image in enumerate(images)] == [True] * 4


def test_a_live_database_with_a_write_ahead_log_is_read_whole(recordings):
    path = recordings.storage_file(recordings.bag("bag", recordings.images(3), storage="db3"))
    database = sqlite3.connect(path)
    database.execute("PRAGMA journal_mode = WAL")
    data = bytes(encode(recordings.image(3)))
    database.execute("INSERT INTO messages VALUES (4, 1, ?, ?)", (recordings.t0 + 3 * recordings.period, data))
    database.commit()
    assert path.with_name(path.name + "-wal").stat().st_size > 0
    messages, _, _ = read(path, {recordings.topic})
    assert len(messages) == 4
    database.close()


@pytest.mark.parametrize("mode", [CompressionMode.MESSAGE, CompressionMode.FILE])
def test_recorder_side_compression(recordings, mode):
    path = recordings.folder / "packed"
    writer = Writer(path, version=8, storage_plugin=StoragePlugin.SQLITE3)
    writer.set_compression(mode, CompressionFormat.ZSTD)
    with writer:
        connection = writer.add_connection(recordings.topic, "sensor_msgs/msg/Image", typestore=ros2_types())
        for _, log_ns, data in recordings.raw(4):
            writer.write(connection, log_ns, data)
    messages, damage, _ = read(path, {recordings.topic})
    assert messages == recordings.raw(4)
    assert not damage


def test_a_cut_compressed_file_gives_what_is_left(recordings):
    noise = np.random.default_rng(0)
    raw = [(recordings.topic, recordings.t0 + i, noise.bytes(20_000)) for i in range(60)]
    path = recordings.mcap("long.mcap", recordings.image_topics(), raw)
    packed = recordings.folder / "long_0.mcap.zstd"
    data = zstd.compress(path.read_bytes())
    packed.write_bytes(data[: len(data) * 9 // 10])
    messages, damage, _ = read(packed, {recordings.topic})
    assert messages == raw[: len(messages)]
    assert 40 <= len(messages) < 60
    assert "ends early" in damage[0]


def test_a_wrong_checksum_costs_its_chunk_and_is_told(recordings):
    path = recordings.mcap("flipped.mcap", recordings.image_topics(), recordings.raw(9))
    data = bytearray(path.read_bytes())
    middle = data.index(bytes(encode(recordings.image(4)))) + 200
    data[middle] ^= 0xFF
    path.write_bytes(data)
    messages, damage, _ = read(path, {recordings.topic})
    assert [message for message in recordings.raw(9) if message not in messages] == recordings.raw(9)[3:6]
    assert "checksum is wrong" in damage[0]


def test_a_damaged_message_is_an_error_of_its_own(recordings):
    raw = recordings.raw(3)
    raw[1] = (raw[1][0], raw[1][1], raw[1][2][:100])
    path = recordings.mcap("short.mcap", recordings.image_topics(), raw)
    with open_bag(path) as bag:
        first, second, third = bag.messages({recordings.topic})
        assert decode(first).height == decode(third).height == 24
        with pytest.raises(MessageError, match="is damaged"):
            decode(second)


def test_an_empty_bag_has_no_time(recordings):
    for path in (recordings.bag("empty", []), recordings.mcap("empty.mcap", recordings.image_topics(), [])):
        with open_bag(path) as bag:
            assert bag.start_ns is None
            assert bag.last_ns is None
            assert sum(bag.counts().values()) == 0


def test_what_is_no_recording_is_refused_in_a_sentence(recordings):
    folder = recordings.folder
    (folder / "empty").mkdir()
    (folder / "text.mcap").write_text("hello")
    (folder / "text.db3").write_text("hello")
    (folder / "notes.txt").write_text("hello")
    database = sqlite3.connect(folder / "other.db3")
    database.execute("CREATE TABLE t(a)")
    database.commit()
    database.close()
    for name, words in {
        "missing": "does not exist",
        "empty": "holds no .mcap",
        "text.mcap": "no MCAP file",
        "text.db3": "no SQLite database",
        "notes.txt": "is no recording",
        "other.db3": "no rosbag2 database",
    }.items():
        with pytest.raises(BagError, match=words):
            open_bag(folder / name)
    assert not is_bag(folder / "empty")
    assert not is_bag(folder / "notes.txt")
    assert is_bag(folder / "text.mcap")


def ros1_image(recordings, index):
    """The image as ROS 1 serializes it."""
    from rosbags.typesys import Stores, get_typestore

    store = get_typestore(Stores.ROS1_NOETIC)
    time = store.types["builtin_interfaces/msg/Time"](1_700_000_000, index * recordings.period)
    header = store.types["std_msgs/msg/Header"](seq=index, stamp=time, frame_id="cam")
    fields = (24, 32, "rgb8", 0, 96, recordings.image(index).data)
    kind = "sensor_msgs/msg/Image"
    return store, bytes(store.serialize_ros1(store.types[kind](header, *fields), kind))


def test_ros1_messages_in_mcap(recordings):
    store, _ = ros1_image(recordings, 0)
    text = store.generate_msgdef("sensor_msgs/msg/Image")[0]
    topics = {recordings.topic: ("sensor_msgs/Image", "ros1msg", text)}
    raw = [(recordings.topic, recordings.t0 + i, ros1_image(recordings, i)[1]) for i in range(3)]
    path = recordings.mcap("ros1.mcap", topics, raw, wire="ros1")
    with open_bag(path) as bag:
        images = [decode(message) for message in bag.messages({recordings.topic})]
    assert [stamp_ns(image) for image in images] == [recordings.t0 + i * recordings.period for i in range(3)]
    assert np.array_equal(images[2].data, recordings.image(2).data)


def test_ros1_bags(recordings):
    from rosbags.rosbag1 import Writer as Ros1Writer

    path = recordings.folder / "old.bag"
    with Ros1Writer(path) as writer:
        store, _ = ros1_image(recordings, 0)
        connection = writer.add_connection(recordings.topic, "sensor_msgs/msg/Image", typestore=store)
        for i in range(4):
            writer.write(connection, recordings.t0 + i * recordings.period, ros1_image(recordings, i)[1])
    with open_bag(path) as bag:
        images = [decode(message) for message in bag.messages({recordings.topic})]
        assert bag.counts() == {recordings.topic: 4}
    assert [stamp_ns(image) for image in images] == [recordings.t0 + i * recordings.period for i in range(4)]
    assert all(np.array_equal(image.data, recordings.image(i).data) for i, image in enumerate(images))
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(BagError, match="rosbag reindex"):
        open_bag(path)
