"""The ROS 2 nodes: thin; they convert, schedule, publish and diagnose."""

__version__ = "0.1.0"
