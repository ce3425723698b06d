"""The node as a process of its own: how it starts, refuses to start, and ends."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

pytestmark = pytest.mark.ros
rclpy = pytest.importorskip("rclpy", reason="needs ROS 2: source env.sh")

from diagnostic_msgs.msg import DiagnosticArray  # noqa: E402
from lifecycle_msgs.msg import Transition  # noqa: E402
from lifecycle_msgs.srv import ChangeState  # noqa: E402
from sensor_msgs.msg import Image  # noqa: E402
from videocups_msgs.msg import PanopticFrame  # noqa: E402

NODE = [sys.executable, "-m", "videocups_perception.vps_node", "--ros-args"]
# The real node with an engine that takes ten seconds of native code per frame, which nothing can interrupt.
SLOW_NODE = """
import sys
import ctypes
from videocups_core.engine.onnx import OnnxEngine
from videocups_perception import loading, vps_node

load = loading.load_stream
nap = ctypes.CDLL(None).sleep

def load_slow(parameters):
    stream = load(parameters)
    infer = stream.engine.infer
    stream.engine.infer = lambda image: (print("in inference", flush=True), nap(10), infer(image))[2]
    return stream

vps_node.load_stream = load_slow
vps_node.has_confidence = lambda stream: False
sys.exit(vps_node.main())
"""


def parameters(**values):
    return [part for name, value in values.items() for part in ("-p", f"{name}:={value}")]


class Watcher:
    """An observer in this process; the node under test is another one."""

    def __init__(self, spinner):
        self.spinner = spinner(lambda context: rclpy.create_node("watcher", context=context))
        self.node = self.spinner.node
        self.diagnostics, self.segments = [], []
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self.diagnostics.append, 10)
        self.node.create_subscription(PanopticFrame, "/vps/panoptic/segments", self.segments.append, 10)
        self.images = self.node.create_publisher(Image, "image", 1)

    def send_until(self, condition, timeout_s=15.0):
        """Publish a grey image at 20 Hz until something happens."""
        deadline_s = time.monotonic() + timeout_s
        image = Image(encoding="rgb8", height=256, width=512, step=3 * 512)
        image.data.frombytes(b"\x90" * (256 * 512 * 3))
        while not condition():
            assert time.monotonic() < deadline_s, "it did not happen in time"
            image.header.stamp = self.node.get_clock().now().to_msg()
            self.images.publish(image)
            time.sleep(0.05)


def finish(process, timeout_s=15.0):
    return process.communicate(timeout=timeout_s)[0]


@pytest.fixture
def start():
    """Start processes that do not outlive the test."""
    started = []

    def start_one(command, log=subprocess.PIPE):
        started.append(subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, text=True))
        return started[-1]

    yield start_one
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_idle_ends_it_with_status_0(start, spinner, bundle_folder, sign):
    watcher = Watcher(spinner)
    process = start([*NODE, *parameters(bundle=bundle_folder, threads=1)])
    watcher.send_until(lambda: len(watcher.segments) >= 3)  # autostart is the default
    process.send_signal(sign)
    start_s = time.monotonic()
    output = finish(process)
    assert time.monotonic() - start_s < 2.0
    assert process.returncode == 0, output
    assert "Traceback" not in output


def test_the_terminal_tells_of_images_that_do_not_come(start, spinner, bundle_folder, tmp_path):
    watcher, log = Watcher(spinner), tmp_path / "log"
    with log.open("w") as file:
        process = start([*NODE, *parameters(bundle=bundle_folder, threads=1, image_topic="typo")], file)
    watcher.send_until(lambda: "nobody publishes /typo; check the topic name" in log.read_text())
    watcher.images = watcher.node.create_publisher(Image, "typo", 1)
    watcher.send_until(lambda: "vps: image: receiving" in log.read_text())
    process.send_signal(signal.SIGINT)
    finish(process)
    assert log.read_text().count("nobody publishes") == 1  # told once, not ten times a second


@pytest.mark.parametrize("gap_s", [0.1, 0.3])
def test_a_second_signal_does_not_disturb_the_end(start, spinner, bundle_folder, gap_s):
    """Ctrl-C in a terminal comes from the terminal and from the launch system."""
    watcher = Watcher(spinner)
    process = start([*NODE, *parameters(bundle=bundle_folder, threads=1)])
    watcher.send_until(lambda: watcher.segments)
    process.send_signal(signal.SIGINT)
    time.sleep(gap_s)
    for sign in (signal.SIGINT, signal.SIGTERM):
        process.send_signal(sign)
    output = finish(process)
    assert process.returncode == 0, output
    assert "Traceback" not in output


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(("drop_policy", "depth"), [("newest", 1), ("none", 1), ("none", 2)])
def test_a_signal_during_inference_ends_it_within_two_seconds_with_status_0(
    start, spinner, bundle_folder, tmp_path, sign, drop_policy, depth
):
    watcher = Watcher(spinner)
    log = tmp_path / "log"
    policy = {"drop_policy": drop_policy, "queue_depth": 1, "pipeline_depth": depth}
    wanted = parameters(bundle=bundle_folder, threads=1, **policy)
    with log.open("w") as file:
        process = start([sys.executable, "-c", SLOW_NODE, "--ros-args", *wanted], file)
    watcher.send_until(lambda: "in inference" in log.read_text())
    enough_s = time.monotonic() + 0.5  # with drop_policy none the queue is full by then and holds the sender back
    watcher.send_until(lambda: time.monotonic() > enough_s)
    process.send_signal(sign)
    start_s = time.monotonic()
    finish(process)
    assert time.monotonic() - start_s < 2.0
    output = log.read_text()
    assert process.returncode == 0, output
    assert "Traceback" not in output


# The real node with an engine that takes ten seconds per frame, in native calls that come back now and then.
BUSY_NODE = """
import sys
import time
from videocups_perception import loading, vps_node

load = loading.load_stream

def load_busy(parameters):
    stream = load(parameters)
    infer = stream.engine.infer

    def work(image):
        print("in inference", flush=True)
        end_s = time.monotonic() + 10
        while time.monotonic() < end_s:
            answer = infer(image)
        return answer

    stream.engine.infer = work
    return stream

vps_node.load_stream = load_busy
sys.exit(vps_node.main())
"""


def test_a_signal_while_it_is_being_deactivated_ends_it_with_status_0(start, spinner, bundle_folder, tmp_path):
    """As at the end of a bring-up: the manager deactivates, and the signal comes while it waits for a frame."""
    watcher, log = Watcher(spinner), tmp_path / "log"
    with log.open("w") as file:
        process = start(
            [sys.executable, "-c", BUSY_NODE, "--ros-args", *parameters(bundle=bundle_folder, threads=1)], file
        )
    watcher.send_until(lambda: "in inference" in log.read_text())
    manager = watcher.node.create_client(ChangeState, "/vps/change_state")
    assert manager.wait_for_service(10)
    manager.call_async(ChangeState.Request(transition=Transition(id=Transition.TRANSITION_DEACTIVATE)))
    time.sleep(0.4)
    process.send_signal(signal.SIGINT)
    finish(process)
    assert process.returncode == 0, log.read_text()


# The real node with a model that takes ten seconds to load, in native calls that come back now and then.
SLOW_TO_LOAD = """
import sys
import time
from videocups_perception import loading, vps_node

load = loading.load_stream

def load_slow(parameters):
    stream = load(parameters)
    print("loading", flush=True)
    end_s = time.monotonic() + 10
    while time.monotonic() < end_s:
        stream.engine.warm_up()
    return stream

vps_node.load_stream = load_slow
sys.exit(vps_node.main())
"""


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_a_model_is_loaded_ends_it_within_two_seconds_with_status_0(start, bundle_folder, sign):
    """Who sees the first engine build take minutes presses Ctrl-C."""
    process = start([sys.executable, "-c", SLOW_TO_LOAD, "--ros-args", *parameters(bundle=bundle_folder, threads=1)])
    while (line := process.stdout.readline()).strip() != "loading":
        assert line, "it ended before it loaded"
    time.sleep(0.1)
    process.send_signal(sign)
    start_s = time.monotonic()
    output = finish(process)
    assert time.monotonic() - start_s < 2.0
    assert process.returncode == 0, output
    assert "Traceback" not in output


# Nodes that meet the end of the middleware at the worst moments, as after a signal: in a frame, between two spins.
ENDED_IN_A_FRAME = """
import sys
import rclpy
from videocups_perception import loading, vps_node

load = loading.load_stream

def load_ending(parameters):
    stream = load(parameters)
    infer = stream.engine.infer
    stream.engine.infer = lambda image: (rclpy.try_shutdown(), infer(image))[1]
    return stream

vps_node.load_stream = load_ending
vps_node.has_confidence = lambda stream: False
sys.exit(vps_node.main())
"""
ENDED_BETWEEN_SPINS = """
import sys
import rclpy
from rclpy.executors import SingleThreadedExecutor
from videocups_perception import vps_node

spin_once = SingleThreadedExecutor.spin_once
SingleThreadedExecutor.spin_once = lambda self, timeout_sec: (rclpy.try_shutdown(), spin_once(self, timeout_sec))
sys.exit(vps_node.main())
"""


@pytest.mark.parametrize(("script", "depth"), [(ENDED_IN_A_FRAME, 1), (ENDED_IN_A_FRAME, 2), (ENDED_BETWEEN_SPINS, 1)])
def test_the_end_of_the_middleware_is_an_end_with_status_0(start, spinner, bundle_folder, tmp_path, script, depth):
    watcher = Watcher(spinner)
    with (tmp_path / "log").open("w") as file:
        wanted = parameters(bundle=bundle_folder, threads=1, pipeline_depth=depth)
        process = start([sys.executable, "-c", script, "--ros-args", *wanted], file)
    watcher.send_until(lambda: process.poll() is not None, 30)
    output = (tmp_path / "log").read_text()
    assert process.returncode == 0, output
    assert "Traceback" not in output
    assert "a frame failed" not in output


def test_without_autostart_it_waits_for_a_manager(start, spinner, bundle_folder):
    from lifecycle_msgs.srv import ChangeState, GetState

    watcher = Watcher(spinner)
    process = start([*NODE, *parameters(bundle=bundle_folder, threads=1, autostart="false")])
    get_state = watcher.node.create_client(GetState, "/vps/get_state")
    change_state = watcher.node.create_client(ChangeState, "/vps/change_state")
    assert get_state.wait_for_service(15)
    assert change_state.wait_for_service(15)

    def ask(client, request, patience_s=10.0):
        answer = client.call_async(request)
        deadline_s = time.monotonic() + patience_s
        while not answer.done() and time.monotonic() < deadline_s:
            time.sleep(0.005)
        return answer.result() if answer.done() else None

    # The way back is found later than the way there: an early answer may get lost, so ask until one comes.
    first = next(filter(None, (ask(get_state, GetState.Request(), 1.0) for _ in range(15))))
    assert first.current_state.label == "unconfigured"
    time.sleep(0.5)
    for transition, label in ((1, "inactive"), (3, "active"), (4, "inactive")):
        request = ChangeState.Request()
        request.transition.id = transition
        assert ask(change_state, request).success
        assert ask(get_state, GetState.Request()).current_state.label == label
    time.sleep(0.5)  # deactivated by hand, it stays so
    assert ask(get_state, GetState.Request()).current_state.label == "inactive"
    process.send_signal(signal.SIGINT)
    output = finish(process)
    assert process.returncode == 0, output


def test_build_only_builds_and_leaves(start, bundle_folder, tmp_path):
    good = start([*NODE, *parameters(bundle=bundle_folder, build_only="true", threads=1)])
    output = finish(good)
    assert good.returncode == 0, output
    assert "runs on cpu (CPUExecutionProvider, fp32)" in output
    bad = start([*NODE, *parameters(bundle=tmp_path / "nowhere", build_only="true")])
    output = finish(bad)
    assert bad.returncode == 1
    assert "cannot configure: " in output
    assert "nowhere" in output
    assert "Traceback" not in output


def test_a_bad_parameter_is_one_sentence_and_status_1(start, bundle_folder):
    for settings, sentence in (
        ({"drop_policy": "oldest"}, "drop_policy must be one of newest, none, got 'oldest'"),
        ({"queue_depth": 0}, "queue_depth"),
        ({"max_rate_hz": "fast"}, "max_rate_hz must be a float, got 'fast'"),
        ({"image_topic": "front camera"}, "image_topic must be a topic such as /camera/image_raw, got 'front camera'"),
    ):
        process = start([*NODE, *parameters(bundle=bundle_folder, **settings)])
        output = finish(process)
        assert process.returncode == 1
        assert sentence in output
        assert "Traceback" not in output


@pytest.mark.parametrize(
    ("node", "arguments", "status", "words"),
    [
        ("vps_node", ["--help"], 0, "image_topic           Camera topic, relative to the node's namespace"),
        ("vps_node", ["--bundle", "x"], 2, "unrecognized arguments: --bundle x"),
        ("web_view", ["--port", "9"], 2, "unrecognized arguments: --port 9"),
        ("vps_node", ["--ros-args", "--params-file", "nowhere.yaml"], 1, "nowhere.yaml"),
        ("replay_node", ["bag", "--ros-args", "--colour"], 1, "--colour"),
        ("recorder_node", ["--out", "file/below"], 1, "error: file/below: Not a directory; give another path"),
    ],
)
def test_a_wrong_command_line_is_a_sentence(tmp_path, node, arguments, status, words):
    (tmp_path / "file").write_text("")
    command = [sys.executable, "-m", f"videocups_perception.{node}", *arguments]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == status, ended.stderr
    assert words in ended.stdout + ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_parameter_that_does_not_exist_is_named(start, bundle_folder):
    output = finish(start([*NODE, *parameters(bundle=bundle_folder, build_only="true", threads=1, devise="cpu")]))
    assert "there is no parameter 'devise', so it has no effect; did you mean 'device'?" in output
    assert output.count("there is no parameter") == 1


def test_it_takes_a_parameter_file_and_names(start, spinner, bundle_folder, tmp_path):
    file = tmp_path / "vps.yaml"
    file.write_text(
        "/front/vps:\n  ros__parameters:\n"
        f"    bundle: {bundle_folder}\n    image_topic: camera/image_raw\n    threads: 1\n    max_rate_hz: 10\n"
    )
    watcher = Watcher(spinner)
    process = start([*NODE, "-r", "__ns:=/front", "--params-file", str(file)])
    publisher = watcher.node.create_publisher(Image, "/front/camera/image_raw", 1)
    deadline_s = time.monotonic() + 15
    while publisher.get_subscription_count() == 0:
        assert time.monotonic() < deadline_s
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    output = finish(process)
    assert process.returncode == 0, output
