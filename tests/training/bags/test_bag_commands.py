"""``videocups bag``: info, cut, render, label, play."""

from __future__ import annotations

import json
import os
import stat
import sys
from pathlib import Path

import numpy as np
import pytest
from rosbags.highlevel import AnyReader
from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime
from rosbags.rosbag2 import Reader, StoragePlugin, Writer

from videocups.bags.messages import decode, encode, ros2_types, stamp_ns
from videocups.bags.reader import open_bag
from videocups.cli import main
from videocups_core.clip import Clip, find_clips
from videocups_core.panoptic.storage import PanopticClipWriter
from videocups_core.types import ClassInfo, PanopticFrame, Segment

CLASSES = (ClassInfo(0, "road", False, (90, 90, 90)), ClassInfo(1, "car", True, (0, 0, 200)))


@pytest.fixture
def run(capsys):
    """Run ``videocups bag …`` and return (status, what was printed)."""

    def run(*arguments):
        status = main(["bag", *map(str, arguments)])
        printed = capsys.readouterr()
        return status, printed.out + printed.err

    return run


def messages_of(path, topics=None):
    with open_bag(path) as bag:
        names = topics or {topic.name for topic in bag.topics}
        return [(m.topic.name, m.log_ns, bytes(m.data)) for m in bag.messages(names)]


@pytest.mark.parametrize("storage", ["mcap", "db3"])
def test_info(recordings, run, storage):
    path = recordings.bag(
        "drive", [("/odom", recordings.t0, recordings.odometry(1, 0.0)), *recordings.images(11)], storage=storage
    )
    status, text = run("info", path)
    assert status == 0
    lines = [line.split() for line in text.splitlines()]
    assert lines[0][1:3] == ["12", "messages"]
    assert ["/cam/image_raw", "sensor_msgs/msg/Image", "11", "10.00", "Hz"] in lines
    info = json.loads(run("info", path, "--json")[1])
    assert info["start_ns"] == recordings.t0
    assert info["duration_s"] == pytest.approx(1.000000007)
    assert [topic["count"] for topic in info["topics"]] == [11, 1]


def test_info_compares_with_the_metadata(recordings, run):
    path = recordings.bag("drive", recordings.images(5))
    metadata = path / "metadata.yaml"
    metadata.write_text(metadata.read_text().replace("message_count: 5", "message_count: 0"))
    status, text = run("info", path)
    assert status == 0
    assert "metadata.yaml speaks of 0 messages, the storage holds more" in text
    assert "5 messages in" in text


@pytest.mark.parametrize("storage", ["mcap", "db3"])
def test_cut_copies_bytes_types_and_qos(recordings, run, storage):
    path = recordings.folder / "drive"
    forever = QosTime(9223372036, 854775807)
    qos = Qos(
        QosHistory.KEEP_LAST,
        7,
        QosReliability.BEST_EFFORT,
        QosDurability.VOLATILE,
        forever,
        forever,
        QosLiveliness.AUTOMATIC,
        forever,
        False,
    )
    with Writer(path, version=8, storage_plugin=StoragePlugin.MCAP) as writer:
        topics = [
            writer.add_connection(name, "sensor_msgs/msg/Image", typestore=ros2_types(), offered_qos_profiles=[qos])
            for name in (recordings.topic, "/other")
        ]
        for _, log_ns, data in recordings.raw(10):
            for connection in topics:
                writer.write(connection, log_ns, data)
    out = recordings.folder / "part"
    arguments = ("cut", path, "--out", out, "--start", 0.25, "--end", 0.6, "--topics", recordings.topic)
    status, text = run(*arguments, "--storage", storage)
    assert status == 0
    assert "3 messages on 1 topics" in text
    assert messages_of(out) == recordings.raw(10)[3:6]
    with Reader(path) as before, Reader(out) as after:
        (kept,) = after.connections
        assert kept.ext.offered_qos_profiles == [qos]
        assert kept.msgdef == before.connections[0].msgdef
        assert kept.digest == before.connections[0].digest
    status, text = run(*arguments)
    assert status == 1
    assert "exists already" in text


def test_cut_saves_what_is_left_of_a_damaged_bag(recordings, run):
    data = recordings.mcap("drive.mcap", recordings.image_topics(), recordings.raw(9)).read_bytes()
    damaged = recordings.folder / "drive.mcap"
    damaged.write_bytes(data[: len(data) // 2])
    status, text = run("cut", damaged, "--out", recordings.folder / "saved")
    assert status == 3
    assert "LOST: drive.mcap ends early" in text
    assert run("info", recordings.folder / "saved")[0] == 0
    saved = messages_of(recordings.folder / "saved")
    assert saved == recordings.raw(9)[: len(saved)]
    assert saved


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--topics", "/nothing"], "has no topic '/nothing'"),
        (["--start", "50"], "holds no such message in that window"),
        (["--start", "2", "--end", "1"], "must be later"),
    ],
)
def test_a_refused_cut_leaves_nothing(recordings, run, arguments, words):
    path = recordings.bag("drive", recordings.images(3))
    status, text = run("cut", path, "--out", recordings.folder / "part", *arguments)
    assert status == 1
    assert words in text
    assert [entry.name for entry in recordings.folder.iterdir()] == ["drive"]


@pytest.fixture(scope="module")
def street(tmp_path_factory):
    """A rendered recording, and the world it shows."""
    from videocups.bags.render import RenderOptions
    from videocups.synthetic.world import World

    out = tmp_path_factory.mktemp("street") / "world"
    arguments = ["--frames", "2", "--size", "96x64", "--seed", "5", "--stereo", "--clock"]
    assert main(["bag", "render", "--out", str(out), *arguments]) == 0
    return out, World(RenderOptions(frames=2, size="96x64", seed=5, stereo=True).world_config())


def test_render_writes_what_the_world_is(street):
    out, world = street
    frame = world.frame(1)
    with open_bag(out) as bag:
        last = {m.topic.name: decode(m) for m in bag.messages({topic.name for topic in bag.topics})}
        counts = bag.counts()
    assert counts.pop("/tf_static") == counts.pop("/truth/labels") == 1
    assert set(counts.values()) == {2}
    image = last["/camera/image_raw"]
    assert np.array_equal(image.data.reshape(64, 96, 3), frame.rgb)
    assert np.array_equal(last["/camera_right/image_raw"].data.reshape(64, 96, 3), frame.right_rgb)
    assert np.array_equal(last["/truth/class"].data.reshape(64, 96), frame.class_map)
    assert np.array_equal(last["/truth/track"].data.view(np.uint16).reshape(64, 96), frame.track_map)
    assert np.array_equal(last["/truth/depth"].data.view(np.float32).reshape(64, 96), frame.depth_m)
    assert {stamp_ns(last[name]) for name in last if name.startswith(("/camera", "/truth/d"))} == {frame.stamp_ns}
    assert last["/camera/camera_info"].k.tolist() == list(world.camera.k)
    assert last["/camera_right/camera_info"].p[3] == pytest.approx(-world.camera.fx * 0.54)
    assert last["/odom"].twist.twist.linear.x == pytest.approx(world.ego_speed_mps(1))
    assert [info.name for info in last["/truth/labels"].classes] == [info.name for info in world.classes]


def test_base_link_looks_forward(street):
    """The x axis of base_link is the camera's optical axis, in the map."""
    from videocups.bags.render import OPTICAL_FROM_BASE

    out, world = street
    with open_bag(out) as bag:
        odometry = [decode(message) for message in bag.messages({"/odom"})]
    for index, message in enumerate(odometry):
        q = message.pose.pose.orientation
        forward = [1 - 2 * (q.y**2 + q.z**2), 2 * (q.x * q.y + q.z * q.w), 2 * (q.x * q.z - q.y * q.w)]
        assert forward == pytest.approx(world.camera_to_world(index)[:3, 2].tolist(), abs=1e-9)
    assert np.linalg.det(OPTICAL_FROM_BASE) == pytest.approx(1.0)


def test_rendered_jpeg_worlds_ingest(recordings, run):
    out = recordings.folder / "world"
    assert run("render", "--out", out, "--frames", 2, "--size", "96x64", "--image", "jpeg", "--storage", "db3")[0] == 0
    arguments = ["--odometry-topic", "/odom", "--topic", "/camera/image_raw/compressed"]
    assert main(["ingest", str(out), "--out", str(recordings.folder / "clips"), *arguments]) == 0
    (clip,) = map(Clip, find_clips(recordings.folder / "clips"))
    assert len(clip) == len(clip.info.ego_speed_mps) == 2
    assert clip.info.camera is not None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--size", "big"], "--size must be WIDTHxHEIGHT"),
        (["--encoding", "rgb565"], "encoding 'rgb565' is not supported"),
        (["--frames", "0"], "num_frames must be >= 1"),
        (["--quality", "300"], "--quality must be in 1..100"),
    ],
)
def test_a_refused_render_leaves_nothing(recordings, run, arguments, words):
    status, text = run("render", "--out", recordings.folder / "world", *arguments)
    assert status == 1
    assert words in text
    assert list(recordings.folder.iterdir()) == []


def labelled(recordings, *arguments, height=24, width=32):
    """A recording, and a clip of its frames 2..4 with labels."""
    path = recordings.bag("drive", [*recordings.images(7), ("/odom", recordings.t0, recordings.odometry(1, 0.0))])
    start = ["--start", "0.2", "--end", "0.5", *arguments]
    assert main(["ingest", str(path), "--out", str(recordings.folder / "clips"), *start]) == 0
    (folder,) = find_clips(recordings.folder / "clips")
    with PanopticClipWriter(folder, CLASSES) as writer:
        for index, stamp in enumerate(Clip(folder).info.stamps_ns):
            ids = np.full((height, width), 3, np.uint16)
            ids[5:9, 10 + index : 20] = 60_000
            box = (10 + index, 5, 10 - index, 4)
            car = Segment(60_000, 1, True, 2**63 + 5, score=0.5, age=index, area_px=4 * (10 - index), bbox_xywh=box)
            road = Segment(3, 0, False, area_px=height * width - car.area_px, bbox_xywh=(0, 0, width, height))
            writer.append(PanopticFrame(stamp, ids, (road, car), index))
    return path


@pytest.mark.parametrize("storage", ["mcap", "db3"])
def test_label_adds_topics_and_changes_nothing_else(recordings, run, storage):
    path = labelled(recordings)
    out = recordings.folder / "labelled"
    status, text = run("label", path, "--clips", recordings.folder / "clips", "--out", out, "--storage", storage)
    assert status == 0
    assert "3 of 7 images labelled" in text
    assert messages_of(out, {recordings.topic, "/odom"}) == messages_of(path)
    with AnyReader([out]) as reader:  # a reader of its own, with the definitions in the file
        found = {}
        for connection, log_ns, data in reader.messages():
            found.setdefault(connection.topic, []).append((log_ns, reader.deserialize(data, connection.msgtype)))
        types = {connection.topic: connection.msgtype for connection in reader.connections}
    images = [image for _, image in found[recordings.topic]][2:5]
    assert types["/vps_node/panoptic/segments"] == "videocups_msgs/msg/PanopticFrame"
    for index, image in enumerate(images):
        log_ns, ids = found["/vps_node/panoptic/image"][index]
        table = found["/vps_node/panoptic/segments"][index][1]
        classes = found["/vps_node/semantic/image"][index][1]
        assert ids.header == table.header == classes.header == image.header
        assert log_ns == stamp_ns(image) + 7
        assert ids.encoding == "16UC1"
        assert (ids.data.view(np.uint16) == 60_000).sum() == 4 * (10 - index)
        assert (classes.data == 1).sum() == 4 * (10 - index)
        road, car = table.segments
        assert (car.segment_id, car.track_id, car.class_id, car.is_thing, car.age) == (
            60_000,
            2**63 + 5,
            1,
            True,
            index,
        )
        assert (car.roi.x_offset, car.roi.y_offset, car.roi.width, car.roi.height) == (10 + index, 5, 10 - index, 4)
        assert (road.track_id, road.is_thing, car.score) == (0, False, 0.5)
        assert (table.height, table.width, table.frame_index) == (24, 32, index)
    (label,) = [message for _, message in found["/vps_node/labels"]]
    assert [(info.class_id, info.name, info.is_thing) for info in label.classes] == [
        (0, "road", False),
        (1, "car", True),
    ]
    with Reader(out) as reader:
        (latched,) = [c for c in reader.connections if c.topic == "/vps_node/labels"]
        assert latched.ext.offered_qos_profiles[0].durability == QosDurability.TRANSIENT_LOCAL


def test_labels_that_do_not_fit_are_refused(recordings, run):
    path = labelled(recordings, height=12, width=16)
    clips, out = recordings.folder / "clips", recordings.folder / "labelled"
    cases = {
        "the labels are 16×12 px but the images on /cam/image_raw are 32×24": ["--clips", clips],
        "holds no labels called 'other'": ["--clips", clips, "--kind", "other"],
        "has no image topic '/odom'": ["--clips", clips, "--topic", "/odom"],
        "no clip": ["--clips", recordings.folder / "drive"],
    }
    for words, arguments in cases.items():
        status, text = run("label", path, "--out", out, *arguments)
        assert status == 1
        assert words in text
        assert not out.exists()
    other = recordings.bag("other", recordings.images(2, first=50))
    status, text = run("label", other, "--clips", clips, "--out", out)
    assert status == 1
    assert "give clips of this recording" in text
    assert not out.exists()


def test_labels_of_undistorted_clips_are_refused(recordings, run):
    calibration = recordings.folder / "k.yaml"
    calibration.write_text("{fx: 30, fy: 30, cx: 15, cy: 11, distortion: [-0.1, 0, 0, 0]}")
    path = labelled(recordings, "--undistort", "--calibration", str(calibration))
    arguments = ("--clips", recordings.folder / "clips", "--out", recordings.folder / "labelled")
    status, text = run("label", path, *arguments)
    assert status == 1
    assert "ingest without --undistort" in text


def test_the_messages_are_those_of_the_workspace():
    """One source: the package's message files are the workspace's."""
    shipped = Path(sys.modules["videocups.bags.messages"].__file__).parent / "msg"
    workspace = Path(__file__).parents[3] / "ros2_ws" / "src" / "videocups_msgs" / "msg"
    texts = {path.name: path.read_text() for path in workspace.glob("*.msg")}
    assert texts
    assert {path.name: path.read_text() for path in shipped.glob("*.msg")} == texts
    for name in texts:
        assert f"videocups_msgs/msg/{name.removesuffix('.msg')}" in ros2_types().fielddefs


def test_play_runs_the_node_of_the_sourced_ros(recordings, run, monkeypatch):
    monkeypatch.setenv("AMENT_PREFIX_PATH", "")
    monkeypatch.setenv("PATH", "/nowhere")
    status, text = run("play", "bag")
    assert status == 1
    assert "run 'source env.sh' first" in text
    node = recordings.folder / "lib" / "videocups_perception" / "replay_node"
    node.parent.mkdir(parents=True)
    node.write_text('#!/bin/sh\nprintf "%s\\n" "$@" > "$0.arguments"\nexit 5\n')
    node.chmod(node.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("AMENT_PREFIX_PATH", f"/nothing{os.pathsep}{recordings.folder}")
    child = os.fork()
    if child == 0:  # play replaces the process, so it gets one of its own
        os._exit(main(["bag", "play", "drive", "--rate", "2"]))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 5
    assert node.with_name("replay_node.arguments").read_text().split() == ["drive", "--rate", "2"]


def test_encode_of_a_decoded_message_is_the_same_bytes(recordings):
    raw = bytes(encode(recordings.image(1)))
    path = recordings.mcap("one.mcap", recordings.image_topics(), [(recordings.topic, recordings.t0, raw)])
    with open_bag(path) as bag:
        (message,) = bag.messages({recordings.topic})
        assert bytes(encode(decode(message))) == raw
