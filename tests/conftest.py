"""Every test process gets a ROS domain of its own: two of them would hear each other's topics."""

from __future__ import annotations

import os


def pytest_configure() -> None:
    """Move this process to the domain of its worker; rclpy reads the variable when it starts."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0")
    first = int(os.environ.get("VIDEOCUPS_TEST_DOMAIN", os.environ.get("ROS_DOMAIN_ID", "90")))
    os.environ["VIDEOCUPS_TEST_DOMAIN"] = str(first)  # workers inherit it, so that they count from the same one
    os.environ["ROS_DOMAIN_ID"] = str(first + int(worker.removeprefix("gw")))
