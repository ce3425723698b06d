"""The inside of a real node, active, for tests that call its callbacks directly."""

from __future__ import annotations

from pathlib import Path

import pytest

BUNDLE = Path(__file__).parents[1] / "data" / "standin"


@pytest.fixture
def node_pipeline():
    import rclpy
    from rclpy.parameter import Parameter

    from videocups_perception.vps_node import VpsNode

    context = rclpy.Context()
    rclpy.init(context=context)
    settings = {"bundle": str(BUNDLE), "device": "cpu", "threads": 1}
    node = VpsNode(
        context=context, parameter_overrides=[Parameter(name, value=value) for name, value in settings.items()]
    )
    node.trigger_configure()
    node.trigger_activate()
    yield node.pipeline
    node.stop_work()
    node.destroy_node()
    context.try_shutdown()
