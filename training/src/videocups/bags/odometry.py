"""The vehicle's speed over time, from an odometry or twist topic."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from videocups.bags.messages import MessageError, decode, stamp_ns
from videocups.bags.reader import Bag
from videocups.bags.recording import BagError

# type -> path to the linear velocity
VELOCITY_IN = {
    "nav_msgs/msg/Odometry": "twist.twist.linear",
    "geometry_msgs/msg/TwistWithCovarianceStamped": "twist.twist.linear",
    "geometry_msgs/msg/TwistStamped": "twist.linear",
    "geometry_msgs/msg/Twist": "linear",
}
MARGIN_NS = 1_000_000_000  # read a little more than the window, so that its ends can be interpolated
MAX_GAP_NS = 1_000_000_000  # no speed is given further than this from a measurement


@dataclass(frozen=True)
class SpeedTrack:
    """Speeds in m/s at increasing stamps."""

    stamps_ns: NDArray[np.int64]
    speeds_mps: NDArray[np.float64]

    def at(self, stamps_ns: Sequence[int]) -> tuple[float, ...]:
        """Interpolate; empty where a stamp lies further than 1 s from every measurement."""
        if not len(self.stamps_ns):
            return ()
        wanted = np.asarray(stamps_ns, dtype=np.int64)
        after = np.clip(np.searchsorted(self.stamps_ns, wanted), 1, max(len(self.stamps_ns) - 1, 1))
        near = np.minimum(
            np.abs(wanted - self.stamps_ns[np.minimum(after, len(self.stamps_ns) - 1)]),
            np.abs(wanted - self.stamps_ns[after - 1]),
        )
        if near.max() > MAX_GAP_NS:
            return ()
        origin = int(self.stamps_ns[0])  # float64 cannot hold nanoseconds since 1970
        speeds = np.interp(wanted - origin, self.stamps_ns - origin, self.speeds_mps)
        return tuple(round(float(speed), 4) for speed in speeds)


def read_speeds(bag: Bag, topic_name: str, start_ns: int | None, stop_ns: int | None) -> SpeedTrack:
    """Read the speed in a time window; the stamp is the header's, or the recording time where there is none."""
    topic = bag.topic(topic_name)
    if topic.msgtype not in VELOCITY_IN:
        raise BagError(f"{topic_name} has type {topic.msgtype}; --odometry-topic needs one of {', '.join(VELOCITY_IN)}")
    begin = None if start_ns is None else start_ns - MARGIN_NS
    end = None if stop_ns is None else stop_ns + MARGIN_NS
    speed_of: dict[int, float] = {}
    for message in bag.messages({topic_name}, begin, end):
        try:
            content = decode(message)
        except MessageError:
            continue
        velocity: Any = content
        for name in VELOCITY_IN[topic.msgtype].split("."):
            velocity = getattr(velocity, name)
        speed = math.hypot(velocity.x, velocity.y, velocity.z)
        if math.isfinite(speed):
            speed_of[stamp_ns(content) if hasattr(content, "header") else message.log_ns] = speed
    stamps = sorted(speed_of)
    return SpeedTrack(np.array(stamps, np.int64), np.array([speed_of[stamp] for stamp in stamps], np.float64))
