"""Replay: the recorded bytes arrive as they are, at the right time, from whole and from damaged recordings."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace

import cv2
import numpy as np
import pytest

pytestmark = pytest.mark.ros
rclpy = pytest.importorskip("rclpy", reason="needs ROS 2: source env.sh")

from rclpy.serialization import deserialize_message, serialize_message  # noqa: E402
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer  # noqa: E402
from rosbags.typesys import Stores, get_typestore  # noqa: E402
from rosgraph_msgs.msg import Clock  # noqa: E402
from sensor_msgs.msg import CameraInfo, CompressedImage, Image  # noqa: E402
from std_msgs.msg import Header  # noqa: E402

from videocups_core.clip import ClipInfo, write_clip_info  # noqa: E402
from videocups_core.standin import StandInWorld  # noqa: E402
from videocups_core.types import CameraModel  # noqa: E402
from videocups_perception.conversions import image_message  # noqa: E402
from videocups_perception.replay_node import ReplayNode, parse  # noqa: E402
from videocups_perception.replay_pace import ClockPace, FollowPace  # noqa: E402
from videocups_perception.replay_sources import SourceError, open_source  # noqa: E402

MS = 1_000_000
T0 = 1_650_000_000_000_000_000
WORLD = StandInWorld()
STORAGES = {"mcap": StoragePlugin.MCAP, "db3": StoragePlugin.SQLITE3}


def header_at(stamp_ns):
    header = Header(frame_id="recorded_camera")
    header.stamp.sec, header.stamp.nanosec = divmod(stamp_ns, 1_000_000_000)
    return header


def write_bag(folder, count, period_ms, storage="mcap", compression=None, topics=("/image",)):
    """Write a bag of world frames, logged 5 ms after their stamps; also a topic of a type that nobody has."""
    types = get_typestore(Stores.ROS2_JAZZY)
    from rosbags.typesys import get_types_from_msg

    types.register(get_types_from_msg("uint8 secret", "nowhere_msgs/msg/Unknown"))
    recorded = []
    bag = Writer(folder, version=9, storage_plugin=STORAGES[storage])
    if compression is not None:
        bag.set_compression(compression, CompressionFormat.ZSTD)
    with bag as writer:
        images = [writer.add_connection(topic, "sensor_msgs/msg/Image", typestore=types) for topic in topics]
        unknown = writer.add_connection("/unknown", "nowhere_msgs/msg/Unknown", typestore=types)
        for index in range(count):
            stamp_ns = T0 + index * period_ms * MS
            message = image_message(header_at(stamp_ns), WORLD.image_rgb(index), "rgb8")
            recorded.append(bytes(serialize_message(message)))
            for camera in images:
                writer.write(camera, stamp_ns + 5 * MS, recorded[-1])
            writer.write(unknown, stamp_ns + 6 * MS, b"\x00\x01\x00\x00\x07")
    return recorded


@pytest.fixture
def play(spinner):
    """Replay with the given command line while an observer listens; returns what it heard, by topic."""

    def run(source, *options, listeners=1, timeout_s=15.0):
        heard = {topic: [] for topic in ("/clock", "/image", "/image/compressed", "/camera_info")}
        observer = spinner(lambda context: rclpy.create_node("listener", context=context))

        def collect(topic, raw):
            return lambda message: heard[topic].append((time.monotonic(), message))

        observer.node.create_subscription(Clock, "/clock", collect("/clock", False), 1000)
        observer.node.create_subscription(Image, "/image", collect("/image", True), 100, raw=True)
        observer.node.create_subscription(
            CompressedImage, "/image/compressed", collect("/image/compressed", False), 100
        )
        observer.node.create_subscription(CameraInfo, "/camera_info", collect("/camera_info", False), 100)
        arguments = parse([str(source), "--listeners", str(listeners), *options])
        replay = spinner(lambda context: ReplayNode(arguments, context=context))
        replay.node.begin()
        deadline_s = time.monotonic() + timeout_s
        while replay.node.exit_status is None:
            assert time.monotonic() < deadline_s, "the replay did not end"
            time.sleep(0.005)
        time.sleep(0.2)
        return replay.node, heard

    return run


@pytest.mark.parametrize("storage", ["mcap", "db3"])
def test_the_bytes_arrive_as_they_were_recorded(play, tmp_path, storage):
    recorded = write_bag(tmp_path / "bag", 12, 50, storage)
    node, heard = play(tmp_path / "bag")
    assert node.exit_status == 0
    assert [bytes(data) for _, data in heard["/image"]] == recorded
    assert node.published == {"/image": 12}  # the unknown type is left out
    arrival_s = [at_s for at_s, _ in heard["/image"]]
    assert arrival_s[-1] - arrival_s[0] > 0.25  # 11 periods of 50 ms, even if the first ones came late
    clock_ns = [message.clock.sec * 10**9 + message.clock.nanosec for _, message in heard["/clock"]]
    assert clock_ns == sorted(clock_ns)
    assert clock_ns[0] == T0 + 5 * MS
    assert clock_ns[-1] == T0 + (11 * 50 + 5) * MS
    assert len(clock_ns) > 18  # also between the messages


def test_rate_start_and_duration(play, tmp_path):
    recorded = write_bag(tmp_path / "bag", 30, 100)
    node, heard = play(tmp_path / "bag", "--rate", "10", "--start", "0.5", "--duration", "2")
    assert node.exit_status == 0
    assert [bytes(data) for _, data in heard["/image"]] == recorded[5:26]
    arrival_s = [at_s for at_s, _ in heard["/image"]]
    assert arrival_s[-1] - arrival_s[0] < 1.2  # two seconds, ten times as fast


def test_the_pace_is_never_ahead_and_tells_the_time_meanwhile():
    pace, ticks = ClockPace(2.0, threading.Event()), []
    pace.restart()
    begin_s = time.monotonic()
    for index in range(4):
        pace.wait(T0 + index * 100 * MS, ticks.append)
        assert time.monotonic() - begin_s >= index * 0.05
    assert ticks == sorted(ticks)
    assert ticks[0] > T0
    assert ticks[-1] == T0 + 300 * MS


@pytest.mark.parametrize("state", ["no metadata", "stale metadata", "binary metadata", "one file"])
def test_the_storage_counts_not_its_metadata(play, tmp_path, state):
    recorded = write_bag(tmp_path / "bag", 5, 10)
    source = tmp_path / "bag"
    if state == "no metadata":
        (source / "metadata.yaml").unlink()
    elif state == "stale metadata":
        text = (source / "metadata.yaml").read_text()
        (source / "metadata.yaml").write_text(text.replace("message_count: 5", "message_count: 0"))
    elif state == "binary metadata":
        (source / "metadata.yaml").write_bytes(b"\xff\xfe\x80")
    else:
        source = next(source.glob("*.mcap"))
    _, heard = play(source)
    assert [bytes(data) for _, data in heard["/image"]] == recorded


@pytest.mark.parametrize("storage", ["mcap", "db3"])
@pytest.mark.parametrize("mode", ["MESSAGE", "FILE"])
def test_what_the_recorder_compressed_is_unpacked(tmp_path, storage, mode):
    recorded = write_bag(tmp_path / "bag", 3, 10, storage, compression=CompressionMode[mode])
    for state in ("whole", "no metadata"):
        if state == "no metadata" and mode == "FILE":
            continue  # a sentence, below
        if state == "no metadata":
            (tmp_path / "bag" / "metadata.yaml").unlink()
        source = open_source(tmp_path / "bag", compressed=False)
        assert [record.cdr for record in source.records(frozenset(["/image"]), 0)] == recorded


def test_what_nothing_can_be_played_of_is_a_sentence(tmp_path):
    write_bag(tmp_path / "bag", 3, 10)
    write_bag(tmp_path / "packed", 3, 10, compression=CompressionMode.FILE)
    (tmp_path / "packed" / "metadata.yaml").unlink()
    file = next((tmp_path / "bag").glob("*.mcap"))
    (tmp_path / "cut.mcap").write_bytes(file.read_bytes()[:-2000])
    for source, sentence in ((tmp_path / "packed", "cannot be read as a bag"), (tmp_path / "cut.mcap", "bag cut")):
        with pytest.raises(SourceError, match=sentence):
            open_source(source, compressed=False)


@pytest.mark.parametrize(
    ("topics", "sentence"),
    [
        (["/image", "/imgae"], "has no /imgae; it has /image, /unknown"),
        (["/unknown"], "install the packages"),
    ],
)
def test_topics_that_cannot_be_played_are_named(spinner, tmp_path, topics, sentence):
    write_bag(tmp_path / "bag", 3, 10)
    arguments = parse([str(tmp_path / "bag"), "--topics", *topics])
    with pytest.raises(SourceError, match=sentence):
        spinner(lambda context: ReplayNode(arguments, context=context))


@pytest.mark.parametrize("loop", [[], ["--loop"]])
def test_a_start_behind_the_end_fails_with_a_sentence(spinner, tmp_path, capfd, loop):
    write_bag(tmp_path / "bag", 3, 10)
    arguments = parse([str(tmp_path / "bag"), "--start", "5", *loop])
    node = spinner(lambda context: ReplayNode(arguments, context=context)).node
    node.begin()
    deadline_s = time.monotonic() + 10
    while node.exit_status is None:
        assert time.monotonic() < deadline_s, "it went on for ever"
        time.sleep(0.01)
    assert node.exit_status == 1
    assert "no message of /image lies 5 s or more after the beginning" in capfd.readouterr().err


@pytest.mark.parametrize(
    "option",
    ["--rate=nan", "--rate=0", "--start=inf", "--duration=nan", "--timeout=nan", "--wait=-1", "--listeners=-1"],
)
def test_numbers_that_mean_nothing_are_refused(option, capsys):
    with pytest.raises(SystemExit):
        parse(["bag", option])
    assert "must be a number of at least" in capsys.readouterr().err


def test_an_image_that_comes_twice_is_not_waited_for():
    pace = FollowPace(window=1, timeout_s=60.0, stopped=threading.Event())
    start_s = time.monotonic()
    for stamp_ns in (5, 5, 6, 6, 6):
        pace.wait_for_room()
        pace.sent(stamp_ns)
        pace.answer(stamp_ns)
    pace.finish()
    assert time.monotonic() - start_s < 10.0
    assert (pace.answered, pace.unanswered) == (2, 0)


def test_as_fast_as_the_node_follows_no_frame_is_lost(make_rig, play, tmp_path):
    write_bag(tmp_path / "bag", 30, 1000, topics=("/image", "/other"))  # half a minute of recording
    rig = make_rig(input_reliability="reliable")
    rig.listen_to_results()
    rig.observer.create_subscription(Image, "/other", lambda message: None, 10)  # as RViz would; it gets no answers
    rig.start()
    start_s = time.monotonic()
    node, _ = play(tmp_path / "bag", "--follow", "/vps/panoptic/segments", listeners=3, timeout_s=28)
    assert time.monotonic() - start_s < 20.0
    assert node.exit_status == 0
    assert (node.follow_pace.answered, node.follow_pace.unanswered) == (30, 0)
    rig.wait(lambda: len(rig.received["/vps/panoptic/image"]) == 30)
    for index, (_, message) in enumerate(rig.received["/vps/panoptic/image"]):
        truth = rig.oracle.step(index, 0)
        assert message.header == header_at(T0 + index * 1000 * MS)
        assert np.array_equal(np.frombuffer(message.data, np.uint16).reshape(256, 512), truth.segment_ids)


def test_a_loop_jumps_back_and_the_node_starts_new_tracks(make_rig, spinner, tmp_path):
    write_bag(tmp_path / "bag", 25, 50)
    rig = make_rig()
    rig.listen_to_results()
    rig.start()
    arguments = parse([str(tmp_path / "bag"), "--loop", "--listeners", "1", "--rate", "2"])
    replay = spinner(lambda context: ReplayNode(arguments, context=context))
    replay.node.begin()
    rig.wait(lambda: rig.received["/vps/panoptic/segments"][-1:] and
             rig.received["/vps/panoptic/segments"][-1][1].track_epoch == 2)  # fmt: skip
    assert replay.node.stop_work()
    epochs = [message.track_epoch for _, message in rig.received["/vps/panoptic/segments"]]
    assert epochs == sorted(epochs)


def test_a_damaged_bag_plays_up_to_the_damage_and_says_so(play, tmp_path, capfd):
    recorded = write_bag(tmp_path / "bag", 20, 5)
    file = next((tmp_path / "bag").glob("*.mcap"))
    data = bytearray(file.read_bytes())
    middle = data.find(recorded[10][:30])
    data[middle - 400 : middle + 400] = bytes(800)  # the eleventh record and what frames it
    file.write_bytes(data)
    node, heard = play(tmp_path / "bag")
    assert [bytes(message) for _, message in heard["/image"]] == recorded[:9]
    assert node.exit_status == 1
    assert "is damaged" in capfd.readouterr().err


@pytest.mark.parametrize("storage", ["mcap", "db3"])
def test_no_damage_loses_messages_without_a_word(tmp_path, storage):
    recorded = write_bag(tmp_path / "bag", 8, 10, storage, compression=CompressionMode.MESSAGE)
    file = next((tmp_path / "bag").glob("bag.*"))
    whole, rng, complaints = file.read_bytes(), np.random.default_rng(7), 0
    for length in (4, 50, 800, 6000) * 15:
        begin = int(rng.integers(0, len(whole) - length))
        file.write_bytes(whole[:begin] + bytes(length) + whole[begin + length :])
        read = []
        try:
            read += open_source(tmp_path / "bag", compressed=False).records(frozenset(["/image"]), 0)
        except SourceError:
            complaints += 1
            continue
        assert len(read) == len(recorded)
    assert 0 < complaints < 60


def test_channels_of_service_calls_do_not_hide_the_rest(play, tmp_path):
    types = get_typestore(Stores.ROS2_JAZZY)
    with Writer(tmp_path / "bag", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        event = writer.add_connection(
            "/vps/enable/_service_event", "std_srvs/srv/SetBool_Event", msgdef="uint8 x", rihs01="RIHS01_" + "0" * 64
        )
        images = writer.add_connection("/image", "sensor_msgs/msg/Image", typestore=types)
        message = bytes(serialize_message(image_message(header_at(T0), WORLD.image_rgb(0), "rgb8")))
        writer.write(event, T0, b"\x00\x01\x00\x00\x01")
        writer.write(images, T0 + MS, message)
    node, heard = play(tmp_path / "bag")
    assert node.exit_status == 0
    assert [bytes(data) for _, data in heard["/image"]] == [message]


def test_a_message_that_is_no_image_stops_neither_replay_nor_node(make_rig, play, tmp_path):
    types = get_typestore(Stores.ROS2_JAZZY)
    with Writer(tmp_path / "bag", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        images = writer.add_connection("/image", "sensor_msgs/msg/Image", typestore=types)
        for index in range(6):
            good = image_message(header_at(T0 + index * 50 * MS), WORLD.image_rgb(index), "rgb8")
            junk = b"\x00\x01\x00\x00" + b"\xff" * 40 if index % 2 else bytes(serialize_message(good))
            writer.write(images, T0 + index * 50 * MS, junk)
    rig = make_rig(input_reliability="reliable", input_depth=10, drop_policy="none")  # a busy machine drops no frame
    rig.listen_to_results()
    rig.start()
    node, _ = play(tmp_path / "bag", listeners=2)
    assert node.exit_status == 0
    assert node.published == {"/image": 6}
    rig.wait(lambda: len(rig.received["/vps/panoptic/segments"]) == 3)
    segments, _ = rig.exchange(rig.image(9, T0 + 10_000 * MS, "recorded_camera"))
    assert segments.frame_index == 3


def make_clip(folder, suffix=".png"):
    (folder / "frames").mkdir(parents=True)
    for index in range(4):
        cv2.imwrite(str(folder / "frames" / f"{index:06d}{suffix}"), WORLD.image_rgb(index)[..., ::-1])
    camera = CameraModel(512, 256, (400.0, 0, 255.5, 0, 401.0, 127.5, 0, 0, 1.0))
    stamps = tuple(T0 + index * 20 * MS for index in range(4))
    info = ClipInfo("clip", "left_camera", 512, 256, stamps, camera=camera, image_suffix=suffix)
    write_clip_info(folder, info)
    return info


def test_a_clip_is_replayed_like_a_bag(play, tmp_path):
    make_clip(tmp_path / "clip")
    node, heard = play(tmp_path / "clip")
    assert node.exit_status == 0
    images = [deserialize_message(bytes(data), Image) for _, data in heard["/image"]]
    assert len(images) == 4
    for index, message in enumerate(images):
        assert message.header.frame_id == "left_camera"
        assert message.header.stamp.nanosec == index * 20 * MS
        assert np.array_equal(np.frombuffer(message.data, np.uint8).reshape(256, 512, 3), WORLD.image_rgb(index))
    assert [message.k[4] for _, message in heard["/camera_info"]] == [401.0] * 4


def test_the_files_of_a_clip_can_be_sent_as_they_are(play, tmp_path):
    info = make_clip(tmp_path / "clip")
    write_clip_info(tmp_path / "clip", replace(info, camera=None))
    _, heard = play(tmp_path / "clip", "--compressed")
    sent = [bytes(message.data) for _, message in heard["/image/compressed"]]
    assert sent == [path.read_bytes() for path in sorted((tmp_path / "clip" / "frames").iterdir())]
    assert heard["/camera_info"] == []


def run_process(*arguments, timeout_s=20):
    command = [sys.executable, "-m", "videocups_perception.replay_node", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout_s)


def test_as_a_process_it_ends_with_a_summary_or_a_sentence(tmp_path):
    write_bag(tmp_path / "bag", 3, 10)
    done = run_process(tmp_path / "bag", "--ros-args", "-r", "/image:=/front/image")
    assert done.returncode == 0, done.stderr
    assert "replayed /image 3" in done.stderr
    alone = run_process(tmp_path / "bag", "--listeners", "1", "--wait", "0.5")
    assert alone.returncode == 1
    assert "0 of 1 listeners" in alone.stderr
    (tmp_path / "empty").mkdir()
    shutil.copy(__file__, tmp_path / "text.mcap")
    for source, sentence in (
        (tmp_path / "nowhere", "does not exist"),
        (tmp_path / "empty", "neither a bag nor a clip"),
        (tmp_path / "text.mcap", "cannot be read as a bag"),
    ):
        failed = run_process(source)
        assert failed.returncode == 1
        assert sentence in failed.stderr
        assert "Traceback" not in failed.stderr


def test_a_signal_ends_it_with_status_0(spinner, tmp_path):
    write_bag(tmp_path / "bag", 50, 1000)
    heard = []
    observer = spinner(lambda context: rclpy.create_node("listener", context=context))
    observer.node.create_subscription(Image, "/image", heard.append, 10)
    command = [sys.executable, "-m", "videocups_perception.replay_node", str(tmp_path / "bag"), "--listeners", "1"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    deadline_s = time.monotonic() + 30
    while not heard:
        assert process.poll() is None
        assert time.monotonic() < deadline_s
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    start_s = time.monotonic()
    _, errors = process.communicate(timeout=10)
    assert time.monotonic() - start_s < 2.0
    assert process.returncode == 0, errors
    assert "Traceback" not in errors
