"""The launch files: run for real where launch is installed, read for sense everywhere."""

from __future__ import annotations

import ast
import importlib.util
import os
import signal
import subprocess
import sys
import time
from dataclasses import fields
from pathlib import Path

import pytest
import yaml

pytestmark = pytest.mark.ros
rclpy = pytest.importorskip("rclpy", reason="needs ROS 2: source env.sh")

from videocups_perception.parameters import NodeParameters  # noqa: E402

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "ros2_ws" / "src" / "videocups_perception"
VPS = PACKAGE / "launch" / "vps.launch.py"
FILES = [VPS, ROOT / "launch" / "replay.launch.py", ROOT / "launch" / "multi_camera.launch.py"]
KNOWN = {info.name for info in fields(NodeParameters)} | {"use_sim_time"}
HAS_LAUNCH = all(importlib.util.find_spec(name) for name in ("launch", "launch_ros"))
needs_launch = pytest.mark.skipif(not HAS_LAUNCH, reason="launch and launch_ros are not installed (no wheels of them)")

RUN = """
import sys
from launch import LaunchDescription, LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
service = LaunchService(noninteractive=True)
given = [argument.split(":=") for argument in sys.argv[2:]]
source = PythonLaunchDescriptionSource(sys.argv[1])
service.include_launch_description(LaunchDescription([IncludeLaunchDescription(source, launch_arguments=given)]))
sys.exit(service.run())
"""


def declared(path):
    """Name and description of every argument that is declared with a literal name."""
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    found = {}
    for call in calls:
        if isinstance(call.func, ast.Name) and call.func.id == "DeclareLaunchArgument":
            description = next((word.value for word in call.keywords if word.arg == "description"), None)
            if isinstance(call.args[0], ast.Constant):
                found[call.args[0].value] = description.value if isinstance(description, ast.Constant) else description
            assert description is not None
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_argument_is_explained(path):
    compile(path.read_text(), str(path), "exec")
    arguments = declared(path)
    assert arguments
    assert all(isinstance(text, str) and text.endswith(".") for text in arguments.values())


def table(path, name):
    """The syntax of a dictionary at the top of a launch file."""
    tree = ast.parse(path.read_text())
    return next(node.value for node in tree.body if isinstance(node, ast.Assign) and node.targets[0].id == name)


def vps_parameters():
    return {key.value for key in table(VPS, "PARAMETERS").keys}


def test_launch_arguments_and_the_parameter_file_name_real_parameters():
    assert vps_parameters() <= KNOWN
    content = yaml.safe_load((PACKAGE / "config" / "vps.yaml").read_text())
    defaults = content["/**"]["ros__parameters"]
    assert defaults.keys() <= KNOWN
    assert NodeParameters(**defaults) == NodeParameters()  # the file shows defaults, it does not change them


def test_what_the_other_launch_files_pass_on_exists():
    taken = vps_parameters() | declared(VPS).keys()
    for path in FILES[1:]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "").lower() == "passed":
                names = {element.value for element in ast.walk(node.value) if isinstance(element, ast.Constant)}
                assert {name for name in names if name} <= taken


def test_a_replay_that_follows_sets_what_an_evaluation_needs():
    """The settings that docs/deploy.md names; here read, in the test with launch seen to arrive."""
    settings = ast.literal_eval(table(FILES[1], "EVERY_FRAME"))
    assert settings.keys() <= vps_parameters()
    parameters = NodeParameters(**settings)
    assert (parameters.drop_policy, parameters.input_reliability) == ("none", "reliable")


def start(path, *arguments):
    command = [sys.executable, "-c", RUN, str(path), *arguments]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


def finish(process, sign=signal.SIGINT):
    os.killpg(process.pid, sign)
    return process.communicate(timeout=20)[0]


def wait_for_state(spinner, node, label):
    from lifecycle_msgs.srv import GetState

    asker = spinner(lambda context: rclpy.create_node("asker", context=context))
    client = asker.node.create_client(GetState, f"{node}/get_state")
    deadline_s = time.monotonic() + 30
    while True:
        if client.service_is_ready():
            answer = client.call_async(GetState.Request())
            for _ in range(100):
                if answer.done():
                    break
                time.sleep(0.01)
            if answer.done() and answer.result().current_state.label == label:
                return asker
        assert time.monotonic() < deadline_s, f"{node} is not {label}"
        time.sleep(0.1)


@needs_launch
@pytest.mark.parametrize(("autostart", "label"), [("", "active"), ("false", "unconfigured")])
def test_vps_launch_brings_the_node_up(spinner, bundle_folder, autostart, label):
    process = start(
        VPS, f"bundle:={bundle_folder}", "namespace:=front", *([f"autostart:={autostart}"] if autostart else [])
    )
    wait_for_state(spinner, "/front/vps", label)
    output = finish(process)
    assert process.returncode == 0, output
    assert "process has finished cleanly" in output


@needs_launch
def test_multi_camera_launch_brings_one_node_up_for_each_camera(spinner, bundle_folder):
    process = start(FILES[2], f"bundle:={bundle_folder}", "cameras:=left,right")
    wait_for_state(spinner, "/left/vps", "active")
    wait_for_state(spinner, "/right/vps", "active")
    output = finish(process)
    assert process.returncode == 0, output


@pytest.fixture
def clip(tmp_path):
    import cv2

    from videocups_core.clip import ClipInfo, write_clip_info
    from videocups_core.standin import StandInWorld

    (tmp_path / "frames").mkdir(parents=True)
    for index in range(5):
        cv2.imwrite(str(tmp_path / "frames" / f"{index:06d}.png"), StandInWorld().image_rgb(index))
    write_clip_info(tmp_path, ClipInfo("clip", "cam", 512, 256, tuple(range(1, 500, 100)), image_suffix=".png"))
    return tmp_path


@needs_launch
def test_replay_launch_ends_with_the_recording(clip, bundle_folder):
    process = start(FILES[1], f"bundle:={bundle_folder}", f"source:={clip}", "follow:=true")
    output = process.communicate(timeout=60)[0]
    assert process.returncode == 0, output
    assert "replayed image 5, answered 5, unanswered 0" in output


@needs_launch
@pytest.mark.parametrize(("follow", "expected"), [("true", ["none", "reliable"]), ("false", ["newest", "best_effort"])])
def test_replay_launch_drops_frames_only_in_real_time(spinner, clip, bundle_folder, follow, expected):
    from rcl_interfaces.srv import GetParameters

    process = start(FILES[1], f"bundle:={bundle_folder}", f"source:={clip}", f"follow:={follow}", "loop:=True")
    node = wait_for_state(spinner, "/vps", "active").node
    client = node.create_client(GetParameters, "/vps/get_parameters")
    assert client.wait_for_service(15)
    answer = client.call_async(GetParameters.Request(names=["drop_policy", "input_reliability"]))
    deadline_s = time.monotonic() + 15
    while not answer.done():
        assert time.monotonic() < deadline_s
        time.sleep(0.01)
    assert [value.string_value for value in answer.result().values] == expected
    finish(process)


@needs_launch
@pytest.mark.parametrize("given", ["rotation_deg:=45", "drop_policy:=all", "autostart:=maybe"])
def test_a_wrong_argument_is_named(given):
    process = start(VPS, given)
    output = process.communicate(timeout=60)[0]
    assert process.returncode == 1
    name, _, value = given.partition(":=")
    assert f'"{name}" provided value "{value}" is not valid' in output
