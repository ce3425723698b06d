"""Bring up one process for each camera.

ros2 launch launch/multi_camera.launch.py bundle:=/path/to/bundle cameras:=front,left,right

Camera ``front`` is read from /front/<image_topic>; its results are below /front/vps.
"""

from __future__ import annotations

from launch.actions import DeclareLaunchArgument, GroupAction, IncludeLaunchDescription, OpaqueFunction
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.substitutions import FindPackageShare

from launch import LaunchContext, LaunchDescription

VPS_LAUNCH = PathJoinSubstitution([FindPackageShare("videocups_perception"), "launch", "vps.launch.py"])
PASSED = ("bundle", "image_topic", "image_transport", "camera_info_topic", "device", "params_file", "use_sim_time")


def make_cameras(context: LaunchContext) -> list[GroupAction]:
    """Return one bring-up for each name."""
    names = [name.strip() for name in LaunchConfiguration("cameras").perform(context).split(",") if name.strip()]
    if not names or len(set(names)) != len(names):
        raise ValueError(f"cameras must be different names separated by commas, got {names}")
    given = {name: LaunchConfiguration(name).perform(context) for name in PASSED}
    passed = [(name, value) for name, value in given.items() if value]
    return [
        GroupAction(  # a scope of its own, so that no camera inherits the arguments of the one before
            [
                IncludeLaunchDescription(
                    PythonLaunchDescriptionSource(VPS_LAUNCH), launch_arguments=[("namespace", name), *passed]
                )
            ]
        )
        for name in names
    ]


def generate_launch_description() -> LaunchDescription:
    """List the arguments and the cameras."""
    arguments = [
        DeclareLaunchArgument("cameras", description="Names of the cameras, separated by commas; they are namespaces."),
        DeclareLaunchArgument(
            "bundle", default_value="", description="Model bundle of all cameras; none: the shipped model."
        ),
        DeclareLaunchArgument("image_topic", default_value="image_raw", description="Camera topic in each namespace."),
        DeclareLaunchArgument("image_transport", default_value="", description="raw or compressed."),
        DeclareLaunchArgument("camera_info_topic", default_value="", description="CameraInfo topic in each namespace."),
        DeclareLaunchArgument("device", default_value="", description="auto, cpu, cuda or cuda:N."),
        DeclareLaunchArgument("params_file", default_value="", description="YAML file with parameters for all."),
        DeclareLaunchArgument("use_sim_time", default_value="", description="true: time from /clock."),
    ]
    return LaunchDescription([*arguments, OpaqueFunction(function=make_cameras)])
