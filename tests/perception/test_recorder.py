"""Recording: clips that hold what was sent, cut where the stream breaks, whole whatever happens to the disk."""

from __future__ import annotations

import errno
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest

pytestmark = pytest.mark.ros
rclpy = pytest.importorskip("rclpy", reason="needs ROS 2: source env.sh")

from rclpy.parameter import Parameter  # noqa: E402
from sensor_msgs.msg import Image  # noqa: E402
from std_msgs.msg import Header  # noqa: E402

from videocups_core.clip import Clip  # noqa: E402
from videocups_core.panoptic.storage import PanopticClip  # noqa: E402
from videocups_core.standin import StandInOracle, StandInWorld, standin_classes  # noqa: E402
from videocups_core.types import CameraModel  # noqa: E402
from videocups_perception import clip_recorder  # noqa: E402
from videocups_perception.clip_recorder import ClipRecorder, RecordingOptions  # noqa: E402
from videocups_perception.conversions import image_message  # noqa: E402
from videocups_perception.recorder_node import RecorderNode, parse  # noqa: E402

MS = 1_000_000
T0 = 1_650_000_000_000_000_000
WORLD = StandInWorld()


def message_at(index, stamp_ns=None, frame_id="cam"):
    header = Header(frame_id=frame_id)
    header.stamp.sec, header.stamp.nanosec = divmod(T0 + index * 100 * MS if stamp_ns is None else stamp_ns, 10**9)
    return image_message(header, WORLD.image_rgb(index), "rgb8")


@pytest.fixture
def record(spinner, tmp_path):
    """A recorder and a sender that have found each other."""

    def start(*options):
        arguments = parse(["--out", str(tmp_path / "clips"), *options])
        recorder = spinner(lambda context: RecorderNode(arguments, context=context))
        sender = spinner(lambda context: rclpy.create_node("sender", context=context))
        publisher = sender.node.create_publisher(Image, "image", 100)
        recorder.node.begin()
        deadline_s = time.monotonic() + 10
        while publisher.get_subscription_count() == 0:
            assert time.monotonic() < deadline_s
            time.sleep(0.01)
        time.sleep(0.2)
        return recorder.node, publisher

    return start


def wait(condition, timeout_s=10.0):
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, "it did not happen in time"
        time.sleep(0.005)


def files_in(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_a_stream_becomes_clips_cut_at_its_pauses(record, tmp_path):
    node, publisher = record("--until-silent", "0.5", "--name", "drive")
    stamps = [T0 + index * 100 * MS + (5_000 * MS if index >= 6 else 0) for index in range(10)]
    for index, stamp_ns in enumerate(stamps):
        publisher.publish(message_at(index, stamp_ns))
    wait(lambda: node.exit_status == 0)
    assert node.stop_work()
    first, second = (Clip(tmp_path / "clips" / name) for name in ("drive_000", "drive_001"))
    assert first.info.stamps_ns == tuple(stamps[:6])
    assert second.info.stamps_ns == tuple(stamps[6:])
    assert first.info.camera_name == "cam"
    for index in range(6):
        error = np.abs(first.frame_rgb(index).astype(int) - WORLD.image_rgb(index))
        assert error.mean() < 3  # JPEG at quality 95
    assert node.summary() == f"recorded 10 frames in 2 clips under {tmp_path / 'clips'}"


def test_images_and_the_nodes_answers_are_recorded_side_by_side(make_rig, record, tmp_path):
    rig = make_rig(input_reliability="reliable", input_depth=10, drop_policy="none")
    rig.listen_to_results()
    rig.start()
    node, _ = record("--panoptic", "/vps")
    wait(lambda: node.classes_of)  # the latched labels have come
    wait(lambda: node.count_publishers("/vps/panoptic/image") and node.count_publishers("/image") > 1)
    rig.wait(lambda: rig.images.get_subscription_count() == 2)
    time.sleep(0.3)
    for index in range(8):
        rig.exchange(message_at(index))
    wait(lambda: node.worker.counts().processed == 8)
    assert node.stop_work()
    clip, panoptic = Clip(tmp_path / "clips" / "clip_000"), PanopticClip(tmp_path / "clips" / "clip_000")
    assert panoptic.complete
    assert panoptic.classes == standin_classes()
    assert panoptic.stamps_ns == clip.info.stamps_ns
    for index, frame in enumerate(panoptic):
        truth = rig.oracle.step(index, T0 + index * 100 * MS)
        assert np.array_equal(frame.segment_ids, truth.segment_ids)
        assert {row.track_id for row in frame.segments} == {row.track_id for row in truth.segments}


def test_a_full_disk_ends_it_with_a_sentence_and_a_whole_clip(record, tmp_path, monkeypatch):
    write, written = clip_recorder.write_atomically, []

    def fills_up(path, data):  # a real full disk would need a mount of its own
        if path.suffix == ".jpg":
            written.append(path)
            if len(written) > 4:
                raise OSError(errno.ENOSPC, "No space left on device")
        write(path, data)

    monkeypatch.setattr(clip_recorder, "write_atomically", fills_up)
    node, publisher = record()
    for index in range(8):
        publisher.publish(message_at(index))
    wait(lambda: node.exit_status == 1)
    assert node.stop_work()
    assert "the disk is full; free some space" in node.summary()
    assert len(Clip(tmp_path / "clips" / "clip_000")) == 4
    assert files_in(tmp_path / "clips") == [*(f"00000{index}.jpg" for index in range(4)), "clip.json"]


def test_what_a_slow_disk_cannot_take_is_counted(record, monkeypatch):
    write = clip_recorder.write_atomically
    monkeypatch.setattr(clip_recorder, "write_atomically", lambda path, data: (time.sleep(0.05), write(path, data)))
    node, publisher = record("--drop", "--queue", "2")
    for index in range(12):
        publisher.publish(message_at(index))
        time.sleep(0.01)
    wait(lambda: node.worker.idle and node.worker.counts().received > 3)
    counts = node.worker.counts()
    assert counts.dropped["overrun"] > 0
    assert counts.balanced
    assert f"{counts.dropped['overrun']} dropped (overrun)" in node.summary()
    assert node.stop_work()


def test_held_back_senders_lose_nothing(tmp_path, spinner, monkeypatch):
    write = clip_recorder.write_atomically
    monkeypatch.setattr(clip_recorder, "write_atomically", lambda path, data: (time.sleep(0.02), write(path, data)))
    arguments = parse(["--out", str(tmp_path), "--queue", "2"])
    node = spinner(lambda context: RecorderNode(arguments, context=context)).node
    node.begin()
    for index in range(15):
        node._on_image(message_at(index))  # what the executor calls; it blocks until there is room
        assert node.worker.counts().in_flight <= 4
    assert node.stop_work()
    assert len(Clip(tmp_path / "clip_000")) == 15


def test_new_sizes_cameras_and_jumps_back_begin_new_clips(tmp_path):
    recorder = ClipRecorder(RecordingOptions(tmp_path, max_frames=3))
    small, large = np.zeros((8, 8, 3), np.uint8), np.zeros((8, 16, 3), np.uint8)
    for rgb, stamp_ns, camera_name in (
        (small, 1, "a"), (small, 2, "a"), (small, 3, "a"), (small, 4, "a"),  # longer than max_frames
        (large, 5, "a"), (large, 6, "b"), (large, 2, "b"),
    ):  # fmt: skip
        recorder.add(rgb, stamp_ns, camera_name)
    recorder.finish()
    assert [len(Clip(path)) for path in recorder.clips] == [3, 1, 1, 1, 1]
    wrong = CameraModel(99, 99, (1.0, 0, 1, 0, 1, 1, 0, 0, 1))
    recorder.add(small, 1, "a", wrong)
    recorder.finish()
    assert Clip(recorder.clips[-1]).info.camera is None  # a calibration for another size is worse than none


@pytest.mark.parametrize("frame_id", ["cam", ""])
def test_a_disorderly_camera_does_not_break_the_clip(tmp_path, spinner, frame_id):
    """Without names, with frames sent twice or late, and with another camera on the topic it stays one clip."""
    node = spinner(lambda context: RecorderNode(parse(["--out", str(tmp_path)]), context=context)).node
    node.begin()
    for index in range(1, 6):
        node._on_image(message_at(index, frame_id=frame_id))
        node._on_image(message_at(index, frame_id=frame_id))
        node._on_image(message_at(index, T0 + (index * 100 - 30) * MS, frame_id))
        node._on_image(message_at(index, frame_id="other"))
    assert node.stop_work()
    assert [Clip(path).info.stamps_ns for path in node.recorder.clips] == [
        tuple(T0 + index * 100 * MS for index in range(1, 6))
    ]
    assert node.worker.counts().dropped == {"repeated": 5, "out_of_order": 5, "foreign_frame": 5, "stopped": 0}


def test_stamps_of_zero_are_told_and_not_a_clip_each(tmp_path, spinner):
    node = spinner(lambda context: RecorderNode(parse(["--out", str(tmp_path)]), context=context)).node
    node.begin()
    for index in range(5):
        node._on_image(message_at(index, 0))
    assert node.stop_work()
    assert node.summary() == f"recorded 1 frames in 1 clips under {tmp_path}; 4 dropped (repeated)"


def test_new_tracks_and_new_models_begin_new_clips(tmp_path):
    """Track 1 of another epoch is another thing, and class 1 of another model may be another class."""
    recorder, oracle = ClipRecorder(RecordingOptions(tmp_path)), StandInOracle(WORLD)
    classes = standin_classes()
    renamed = (*classes[:-1], replace(classes[-1], name="something else"))
    for index in range(9):
        if index == 3:
            oracle.reset()
        frame = oracle.step(index, T0 + index * 100 * MS)
        names = renamed if index >= 6 else classes
        recorder.add(WORLD.image_rgb(index), frame.stamp_ns, "cam", None, frame, names)
    recorder.finish()
    read = [PanopticClip(path) for path in recorder.clips]
    assert [(len(clip), clip.classes) for clip in read] == [(3, classes), (3, classes), (3, renamed)]
    assert [{frame.track_epoch for frame in clip} for clip in read] == [{0}, {1}, {1}]


def test_silence_ends_it_under_a_clock_that_has_stopped(tmp_path, spinner):
    """As at the end of a replay, which stops /clock."""
    overrides = [Parameter("use_sim_time", value=True)]
    arguments = parse(["--out", str(tmp_path), "--until-silent", "0.2"])
    node = spinner(lambda context: RecorderNode(arguments, context=context, parameter_overrides=overrides)).node
    node.begin()
    node._on_image(message_at(0))
    wait(lambda: node.exit_status == 0)
    assert node.stop_work()


def test_a_signal_closes_the_clip(tmp_path, spinner):
    command = [sys.executable, "-m", "videocups_perception.recorder_node", "--out", str(tmp_path / "clips")]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    sender = spinner(lambda context: rclpy.create_node("sender", context=context))
    publisher = sender.node.create_publisher(Image, "image", 100)
    wait(lambda: publisher.get_subscription_count() > 0)
    time.sleep(0.3)
    for index in range(5):
        publisher.publish(message_at(index))
    wait(lambda: (tmp_path / "clips" / "clip_000" / "frames" / "000004.jpg").exists())
    process.send_signal(signal.SIGINT)
    start_s = time.monotonic()
    _, errors = process.communicate(timeout=10)
    assert time.monotonic() - start_s < 2.0
    assert process.returncode == 0, errors
    assert "recorded 5 frames in 1 clips" in errors
    assert len(Clip(tmp_path / "clips" / "clip_000")) == 5
