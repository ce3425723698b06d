"""Turn the middleware's silent refusals into sentences for the diagnostics."""

from __future__ import annotations

from rclpy.event_handler import QoSRequestedIncompatibleQoSInfo, SubscriptionEventCallbacks
from rclpy.qos import qos_policy_name_from_kind

from videocups_perception.diagnostics import InputHealth


def qos_events(health: InputHealth) -> SubscriptionEventCallbacks:
    """Return callbacks that note a publisher which this subscription can never hear."""

    def incompatible(event: QoSRequestedIncompatibleQoSInfo) -> None:
        policy = qos_policy_name_from_kind(event.last_policy_kind)
        health.note = (
            f"a publisher of {health.topic} offers less than this node asks for ({policy}); "
            "set input_reliability to best_effort or make the publisher reliable"
        )

    return SubscriptionEventCallbacks(incompatible_qos=incompatible)
