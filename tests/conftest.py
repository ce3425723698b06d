"""What every test process needs: a ROS domain of its own, and Ctrl-C that works in the processes it starts."""

from __future__ import annotations

import os
import signal


def pytest_configure() -> None:
    """Prepare this process before anything is imported."""
    own_domain()
    # a shell starts background jobs with SIGINT ignored, and what is ignored stays so in every process below
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def own_domain() -> None:
    """Move this process to the domain of its worker, for nodes hear all topics of theirs; rclpy reads it at start."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0")
    first = int(os.environ.get("VIDEOCUPS_TEST_DOMAIN", os.environ.get("ROS_DOMAIN_ID", "90")))
    os.environ["VIDEOCUPS_TEST_DOMAIN"] = str(first)  # workers inherit it, so that they count from the same one
    os.environ["ROS_DOMAIN_ID"] = str(first + int(worker.removeprefix("gw")))
