"""Bring up one camera.

ros2 launch videocups_perception vps.launch.py image_topic:=/camera/image_raw bundle:=/path/to/bundle rviz:=true

An argument that is left out keeps the value of params_file. The node configures and activates itself (autostart), and
nothing here listens to its transitions: a node that somebody deactivates by hand stays inactive.
"""

from __future__ import annotations

import os

from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.conditions import IfCondition
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import LifecycleNode, Node
from launch_ros.substitutions import FindPackageShare

from launch import LaunchContext, LaunchDescription

SHARE = FindPackageShare("videocups_perception")


def is_true(text: str) -> bool:
    """Read one of TRUTHS."""
    return text.lower() == "true"


TRUTHS = ("true", "false", "True", "False")
# name of the argument and of the node's parameter, what it does, how its text becomes a value
PARAMETERS = {
    "bundle": ("Folder of the model bundle (model.onnx and model.json); none: the shipped model.", str),
    "image_topic": ("Camera topic; a name without leading '/' is inside the namespace.", str),
    "image_transport": ("raw (sensor_msgs/Image) or compressed (<image_topic>/compressed).", str),
    "camera_info_topic": ("CameraInfo topic of the camera, for markers in true proportions.", str),
    "rotation_deg": ("Clockwise turn that brings the picture upright: 0, 90, 180 or 270.", int),
    "device": ("Where the network runs: auto, cpu, cuda or cuda:N.", str),
    "drop_policy": ("newest: always the latest frame; none: every frame (evaluation of bags).", str),
    "input_reliability": ("best_effort, or reliable: no image is lost on the way (evaluation of bags).", str),
    "autostart": ("true: configure and activate at once; false: wait for a lifecycle manager.", is_true),
    "use_sim_time": ("true: take the time from /clock (replayed recordings).", is_true),
}
CHOICES = {
    "image_transport": ("raw", "compressed"),
    "rotation_deg": ("0", "90", "180", "270"),
    "drop_policy": ("newest", "none"),
    "input_reliability": ("best_effort", "reliable"),
    "autostart": TRUTHS,
    "use_sim_time": TRUTHS,
}


def given_parameters(context: LaunchContext) -> dict[str, object]:
    """Return the arguments that the user gave, as parameters of the node."""
    texts = {name: LaunchConfiguration(name).perform(context) for name in PARAMETERS}
    return {name: PARAMETERS[name][1](text) for name, text in texts.items() if text}


def make_node(context: LaunchContext) -> list[LifecycleNode]:
    """Return the node with its parameters and with the transport that large images need."""
    node = LifecycleNode(
        package="videocups_perception",
        executable="vps_node",
        name=LaunchConfiguration("name"),
        namespace=LaunchConfiguration("namespace"),
        parameters=[LaunchConfiguration("params_file"), given_parameters(context)],
        additional_env=fastdds_profile(context),
        output="screen",
        emulate_tty=True,
    )
    return [node]


def fastdds_profile(context: LaunchContext) -> dict[str, str]:
    """Return the variable that gives Fast DDS a segment for raw images, unless a profile is chosen already."""
    old, new = "FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE"
    if os.environ.get(old) or os.environ.get(new):
        return {}
    variable = old if os.environ.get("ROS_DISTRO") in ("humble", "iron", "jazzy") else new
    return {variable: PathJoinSubstitution([SHARE, "config", "fastdds.xml"]).perform(context)}


def generate_launch_description() -> LaunchDescription:
    """List the arguments, the node and, if wanted, RViz."""
    default_file = PathJoinSubstitution([SHARE, "config", "vps.yaml"])
    rviz_file = PathJoinSubstitution([SHARE, "rviz", "vps.rviz"])
    arguments = [
        DeclareLaunchArgument("name", default_value="vps", description="Name of the node; its topics are below it."),
        DeclareLaunchArgument("namespace", default_value="", description="Namespace of the node, one per camera."),
        DeclareLaunchArgument("params_file", default_value=default_file, description="YAML file with parameters."),
        *(
            DeclareLaunchArgument(
                name,
                default_value="",
                description=f"{text} Empty: as in params_file.",
                choices=["", *CHOICES[name]] if name in CHOICES else None,
            )
            for name, (text, _) in PARAMETERS.items()
        ),
        DeclareLaunchArgument(
            "rviz", default_value="false", description="true: open RViz with the results.", choices=TRUTHS
        ),
    ]
    rviz = Node(
        package="rviz2",
        executable="rviz2",
        namespace=LaunchConfiguration("namespace"),
        arguments=["-d", rviz_file],
        condition=IfCondition(LaunchConfiguration("rviz")),
    )
    return LaunchDescription([*arguments, OpaqueFunction(function=make_node), rviz])
