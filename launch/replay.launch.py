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


def make_replay(context: LaunchContext) -> list[Node]:
    """Return replay_node with its command line; the end of the recording ends the launch."""
    options = {
        name: LaunchConfiguration(name).perform(context) for name in ("source", "rate", "start", "loop", "follow")
    }
    arguments = [options["source"], "--start", options["start"], "--listeners", "1", "--wait", "60"]
    if options["follow"] == "true":
        arguments += ["--follow", "/vps/panoptic/segments"]
    else:
        arguments += ["--rate", options["rate"]]
    if options["loop"] == "true":
        arguments.append("--loop")
    replay = Node(
        package="videocups_perception",
        executable="replay_node",
        arguments=arguments,
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
        DeclareLaunchArgument("loop", default_value="false", description="true: begin again at the end."),
        DeclareLaunchArgument(
            "follow", default_value="false", description="true: as fast as the node follows, no frame is lost."
        ),
        DeclareLaunchArgument("rviz", default_value="false", description="true: open RViz with the results."),
    ]
    passed = ("bundle", "image_topic", "image_transport", "camera_info_topic", "rviz")
    vps = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(VPS_LAUNCH),
        launch_arguments=[*((name, LaunchConfiguration(name)) for name in passed), ("use_sim_time", "true")],
    )
    return LaunchDescription([*arguments, vps, OpaqueFunction(function=make_replay)])
