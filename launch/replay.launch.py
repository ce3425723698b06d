"""Replay a recording through the node.

ros2 launch launch/replay.launch.py source:=/path/to/bag bundle:=/path/to/bundle image_topic:=/camera/image_raw
"""

from __future__ import annotations

from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, OpaqueFunction, Shutdown
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare

from launch import LaunchContext, LaunchDescription

VPS_LAUNCH = PathJoinSubstitution([FindPackageShare("videocups_perception"), "launch", "vps.launch.py"])
TRUTHS = ("true", "false", "True", "False")
# With follow every frame counts: none is replaced by a newer one, and none is lost between the processes.
EVERY_FRAME = {"drop_policy": "none", "input_reliability": "reliable"}


def is_set(name: str, context: LaunchContext) -> bool:
    """Read one of TRUTHS."""
    return LaunchConfiguration(name).perform(context).lower() == "true"


def make_vps(context: LaunchContext) -> list[IncludeLaunchDescription]:
    """Return the node under replayed time."""
    passed = ("bundle", "image_topic", "image_transport", "camera_info_topic", "rviz")
    given = [(name, LaunchConfiguration(name)) for name in passed]
    every_frame = list(EVERY_FRAME.items()) if is_set("follow", context) else []
    return [
        IncludeLaunchDescription(
            PythonLaunchDescriptionSource(VPS_LAUNCH),
            launch_arguments=[*given, *every_frame, ("use_sim_time", "true")],
        )
    ]


def make_replay(context: LaunchContext) -> list[Node]:
    """Return replay_node with its command line; the end of the recording ends the launch."""
    source, rate, start = (LaunchConfiguration(name).perform(context) for name in ("source", "rate", "start"))
    pace = ["--follow", "/vps/panoptic/segments"] if is_set("follow", context) else ["--rate", rate]
    loop = ["--loop"] if is_set("loop", context) else []
    replay = Node(
        package="videocups_perception",
        executable="replay_node",
        arguments=[source, "--start", start, "--listeners", "1", "--wait", "60", *pace, *loop],
        output="screen",
        on_exit=Shutdown(reason="the recording has ended"),
    )
    return [replay]


def generate_launch_description() -> LaunchDescription:
    """List the arguments, the node under replayed time, and the replay."""
    arguments = [
        DeclareLaunchArgument("source", description="A bag (folder, .mcap, .db3) or a clip folder."),
        DeclareLaunchArgument(
            "bundle", default_value="", description="Folder of the model bundle; none: the shipped model."
        ),
        DeclareLaunchArgument("image_topic", default_value="image", description="Camera topic in the recording."),
        DeclareLaunchArgument("image_transport", default_value="raw", description="raw or compressed."),
        DeclareLaunchArgument("camera_info_topic", default_value="", description="CameraInfo topic, if there is one."),
        DeclareLaunchArgument("rate", default_value="1.0", description="Times real time."),
        DeclareLaunchArgument("start", default_value="0.0", description="Seconds to skip at the beginning."),
        DeclareLaunchArgument(
            "loop", default_value="false", description="true: begin again at the end.", choices=TRUTHS
        ),
        DeclareLaunchArgument(
            "follow",
            default_value="false",
            description="true: as fast as the node follows, every frame is processed.",
            choices=TRUTHS,
        ),
        DeclareLaunchArgument(
            "rviz", default_value="false", description="true: open RViz with the results.", choices=TRUTHS
        ),
    ]
    return LaunchDescription([*arguments, OpaqueFunction(function=make_vps), OpaqueFunction(function=make_replay)])
