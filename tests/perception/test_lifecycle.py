"""The managed life of the node: fifty rounds leave nothing behind, and what cannot start says why."""

from __future__ import annotations

import gc
import shutil
import threading
import time
import weakref
from pathlib import Path

import pytest

pytestmark = pytest.mark.ros
rclpy = pytest.importorskip("rclpy", reason="needs ROS 2: source env.sh")


def entries(folder):
    return sum(1 for _ in Path(folder).iterdir())


def test_fifty_rounds_leave_no_thread_and_no_descriptor(make_rig):
    rig = make_rig(camera_info_topic="camera_info")
    transitions = (
        rig.node.trigger_configure, rig.node.trigger_activate, rig.node.trigger_deactivate, rig.node.trigger_cleanup,
    )  # fmt: skip

    def one_round():
        for transition in transitions:
            assert rig.on_node(transition).name == "SUCCESS"

    for _ in range(3):  # what is loaded lazily is loaded now
        one_round()
    gc.collect()
    threads, descriptors = threading.active_count(), entries("/proc/self/fd")
    native = entries("/proc/self/task")
    for _ in range(50):
        one_round()
    gc.collect()
    assert threading.active_count() == threads
    assert entries("/proc/self/fd") <= descriptors + 2  # the logger and DDS may keep one more
    assert entries("/proc/self/task") <= native + 1


@pytest.fixture
def no_collector():
    """A node that rests makes no garbage, so nothing but its own doing frees what it does not need any more."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def test_cleanup_frees_the_model(make_rig, no_collector):
    rig = make_rig(camera_info_topic="camera_info")
    rig.start()
    engine = weakref.ref(rig.node.pipeline.stream.engine)
    rig.on_node(rig.node.trigger_deactivate)
    rig.on_node(rig.node.trigger_cleanup)
    assert engine() is None


def test_a_model_that_fails_after_it_was_loaded_is_freed(make_rig, no_collector, monkeypatch):
    from videocups_core.engine.onnx import OnnxEngine

    engines = []

    def out_of_memory(engine):
        engines.append(weakref.ref(engine))
        raise RuntimeError("out of memory")

    monkeypatch.setattr(OnnxEngine, "warm_up", out_of_memory)
    rig = make_rig()
    assert rig.on_node(rig.node.trigger_configure).name == "FAILURE"
    assert [engine() for engine in engines] == [None]


def test_the_diagnostics_say_in_which_state_it_is(make_rig):
    rig = make_rig()

    def says(words):
        rig.wait(lambda: rig.status("inference").message == words)
        assert rig.status("inference").level == b"\x00"

    says("not configured: no model is loaded")
    rig.listen_to_results()
    rig.start()
    says("waiting for images")
    rig.exchange(rig.image(0))
    says("running")
    rig.on_node(rig.node.trigger_deactivate)
    says("inactive: no image is processed")
    rig.on_node(rig.node.trigger_cleanup)
    says("not configured: no model is loaded")
    rig.start()
    says("waiting for images")
    rig.on_node(rig.node.trigger_shutdown)
    says("inactive: no image is processed")


def test_it_works_after_every_round(make_rig):
    rig = make_rig()
    rig.listen_to_results()
    rig.start()
    for epoch in range(4):
        for index in range(2):
            segments, _ = rig.exchange(rig.image(index))
            assert segments.frame_index == index
            assert segments.track_epoch == epoch  # a new activation starts new tracks
        rig.on_node(rig.node.trigger_deactivate)
        before = len(rig.received["/vps/panoptic/segments"])
        rig.send(rig.image(5))
        time.sleep(0.1)
        assert len(rig.received["/vps/panoptic/segments"]) == before
        if epoch % 2:  # with and without a new model in between
            rig.on_node(rig.node.trigger_cleanup)
            rig.on_node(rig.node.trigger_configure)
        rig.on_node(rig.node.trigger_activate)
        rig.wait(lambda: rig.images.get_subscription_count() > 0)
        rig.wait(lambda: rig.observer.count_publishers("/vps/panoptic/image") > 0)
        time.sleep(0.2)


@pytest.mark.parametrize("damage", ["missing", "no_model", "other_hash", "not_json"])
def test_a_broken_bundle_is_refused_with_a_sentence_and_a_good_one_taken_afterwards(
    make_rig, bundle_folder, tmp_path, damage
):
    folder = tmp_path / "bundle"
    if damage != "missing":
        shutil.copytree(bundle_folder, folder)
    if damage == "no_model":
        (folder / "model.onnx").unlink()
    elif damage == "other_hash":
        data = bytearray((folder / "model.onnx").read_bytes())
        data[len(data) // 2] ^= 1
        (folder / "model.onnx").write_bytes(data)
    elif damage == "not_json":
        (folder / "model.json").write_text("{")
    rig = make_rig(bundle=str(folder))
    assert rig.on_node(rig.node.trigger_configure).name == "FAILURE"
    rig.wait(lambda: rig.status("inference").level == b"\x02")
    message = rig.status("inference").message
    assert message.startswith("cannot configure: ")
    assert str(folder) in message
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(bundle_folder, folder)
    rig.start()  # the same node, no restart


def test_a_long_load_is_told_with_its_seconds(make_rig, monkeypatch):
    from videocups_perception import vps_node

    load = vps_node.load_stream

    def slow_load(parameters):
        time.sleep(1.3)
        return load(parameters)

    monkeypatch.setattr(vps_node, "load_stream", slow_load)
    rig = make_rig()
    rig.wait(lambda: rig.observer.count_publishers("/diagnostics") > 0)
    time.sleep(0.2)
    assert rig.on_node(rig.node.trigger_configure).name == "SUCCESS"
    told = [status for _, status in rig.statuses("inference") if "loading the model" in status.message]
    assert told
    assert all(status.level == b"\x01" for status in told)
    assert told[-1].message.endswith("1 s so far")
    rig.wait(lambda: rig.status("inference").level == b"\x00")


def test_a_frame_in_hand_is_not_published_after_deactivation_and_blocks_no_one(make_rig):
    rig = make_rig()
    rig.listen_to_results()
    rig.start()
    stream = rig.node.pipeline.stream
    infer, entered, release = stream.engine.infer, threading.Event(), threading.Event()

    def stuck(image):
        entered.set()
        assert release.wait(20)
        return infer(image)

    stream.engine.infer = stuck
    rig.send(rig.image(0))
    assert entered.wait(5)
    start_s = time.monotonic()
    assert rig.on_node(rig.node.trigger_deactivate).name == "SUCCESS"
    assert time.monotonic() - start_s < 2.0
    assert rig.on_node(rig.node.trigger_activate).name == "FAILURE"  # the old frame still holds the engine
    rig.wait(lambda: any("still processes a frame" in status.message for _, status in rig.statuses("inference")))
    release.set()
    stream.engine.infer = infer
    rig.wait(lambda: rig.node.pipeline.worker.idle)
    time.sleep(0.1)
    assert rig.received["/vps/panoptic/segments"] == []
    assert rig.node.pipeline.worker.counts().dropped == {"stopped": 1}
    assert rig.on_node(rig.node.trigger_activate).name == "SUCCESS"
