"""Replay a bag or a clip into the graph: in real time, at a rate, or as fast as the consumers follow."""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections import Counter
from importlib import import_module
from pathlib import Path
from typing import Any

from builtin_interfaces.msg import Time
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile
from rosgraph_msgs.msg import Clock
from videocups_msgs.msg import PanopticFrame

from videocups_perception.conversions import stamp_ns
from videocups_perception.node_process import require_at_least, run_node, split_arguments
from videocups_perception.replay_pace import ClockPace, FollowPace
from videocups_perception.replay_sources import IMAGE_KINDS, Channel, Record, Source, SourceError, open_source

SETTLE_S = 0.3  # a listener is found a little before it can hear


class ReplayNode(Node):
    """Publishes the recorded bytes as they are, and /clock with the time of the recording."""

    def __init__(self, options: argparse.Namespace, **node_options: Any) -> None:
        super().__init__("replay", **node_options)
        self.exit_status: int | None = None
        self._options = options
        self._source: Source = open_source(options.source, compressed=options.compressed)
        self._stopped = threading.Event()
        self._clock_pace = ClockPace(options.rate, self._stopped)
        self.follow_pace: FollowPace | None = None
        self._answered_topics: frozenset[str] = frozenset()  # with --follow: whose images are waited for
        self.published: Counter[str] = Counter()
        self._clock = self.create_publisher(Clock, "/clock", 10)
        self._publishers_of_topics: dict[str, Publisher[Any]] = {}
        for channel in self._source.channels:
            if not options.topics or channel.topic in options.topics:
                self._advertise(channel)
        held = ", ".join(channel.topic for channel in self._source.channels) or "nothing but /clock"
        if missing := set(options.topics) - {channel.topic for channel in self._source.channels}:
            raise SourceError(f"{options.source} has no {', '.join(sorted(missing))}; it has {held}")
        if not self._publishers_of_topics:
            raise SourceError(f"nothing to replay: {options.source} has {held}; install the packages of its messages")
        if options.follow:
            self.follow_pace = FollowPace(options.window, options.timeout, self._stopped)
            self.create_subscription(PanopticFrame, options.follow, self._on_answer, 50)
        self._thread = threading.Thread(target=self._run, name="replay", daemon=True)

    def begin(self) -> None:
        """Start to publish on a thread of its own."""
        self._thread.start()

    def stop_work(self) -> bool:
        """Stop publishing."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(1.0)
        return not self._thread.is_alive()

    def _advertise(self, channel: Channel) -> None:
        try:
            package, _, name = channel.kind.split("/")
            kind = getattr(import_module(f"{package}.msg"), name)
        except (ImportError, AttributeError, ValueError):
            self.get_logger().warning(f"{channel.topic} is left out: {channel.kind} is not installed here")
            return
        qos = QoSProfile(depth=10)
        if channel.latched:
            qos.durability = DurabilityPolicy.TRANSIENT_LOCAL
        self._publishers_of_topics[channel.topic] = self.create_publisher(kind, channel.topic, qos)

    def _on_answer(self, message: PanopticFrame) -> None:
        if self.follow_pace is not None:
            self.follow_pace.answer(stamp_ns(message.header))

    def _run(self) -> None:
        status = 0
        try:
            self._wait_for_consumers()
            if self.follow_pace is not None:
                self._answered_topics = self._find_answered_topics()
            while not self._stopped.is_set():
                self._play_once()
                if not self._options.loop:
                    break
        except (SourceError, OSError) as error:
            self.get_logger().error(str(error))
            status = 1
        except Exception as error:  # the boundary of the thread; after a signal the context is gone in mid-publish
            if not self._stopped.is_set() and self.context.ok():
                self.get_logger().error(f"replay failed: {type(error).__name__}: {error}")
                status = 1
        if self.context.ok():
            self._sum_up()
        self.exit_status = status

    def _wait_for_consumers(self) -> None:
        """Wait until the images have their listeners: who plays to an empty room loses the first frames."""
        follows = self.follow_pace is not None
        wanted = max(self._options.listeners, 1) if follows else self._options.listeners
        images = [self._publishers_of_topics[topic] for topic in self._image_topics()]
        if not wanted or not images:
            return
        deadline_s = time.monotonic() + self._options.wait
        while not self._stopped.is_set():
            found = sum(publisher.get_subscription_count() for publisher in images)
            if found >= wanted and (not follows or self.count_publishers(self._options.follow)):
                self._stopped.wait(SETTLE_S)
                return
            if time.monotonic() > deadline_s:
                answers = f" and nothing publishes {self._options.follow}" if follows and found >= wanted else ""
                raise SourceError(
                    f"after {self._options.wait:g} s the images have {found} of {wanted} listeners{answers}; "
                    "start the consumers first, or give a longer --wait"
                )
            self._stopped.wait(0.02)

    def _image_topics(self) -> list[str]:
        played = self._publishers_of_topics
        return [
            channel.topic
            for channel in self._source.channels
            if channel.kind in IMAGE_KINDS and channel.topic in played
        ]

    def _find_answered_topics(self) -> frozenset[str]:
        """Return the images that the answering node hears; where a relay lies between, all that somebody hears."""
        answering = {
            (end.node_namespace, end.node_name) for end in self.get_publishers_info_by_topic(self._options.follow)
        }
        hearing = {
            topic: {(end.node_namespace, end.node_name) for end in self.get_subscriptions_info_by_topic(topic)}
            for topic in self._image_topics()
        }
        heard_directly = frozenset(topic for topic, nodes in hearing.items() if nodes & answering)
        return heard_directly or frozenset(topic for topic, nodes in hearing.items() if nodes)

    def _play_once(self) -> None:
        self._clock_pace.restart()
        before = self.published.total()
        topics = frozenset(self._publishers_of_topics)
        first_ns: int | None = None
        for record in self._source.records(topics, round(self._options.start * 1e9)):
            first_ns = record.log_ns if first_ns is None else first_ns
            too_late = self._options.duration and record.log_ns - first_ns > self._options.duration * 1e9
            if self._stopped.is_set() or too_late:
                break
            if self.follow_pace is None:
                self._clock_pace.wait(record.log_ns, self._tick)
            self._send(record)
        if self.follow_pace is not None:
            self.follow_pace.finish()
        if self.published.total() == before and not self._stopped.is_set():
            raise SourceError(
                f"no message of {', '.join(sorted(topics))} lies {self._options.start:g} s or more after the beginning "
                f"of {self._options.source}; give a smaller --start or other --topics"
            )

    def _send(self, record: Record) -> None:
        if self.follow_pace is not None and record.topic in self._answered_topics:
            stamp = record.header_stamp_ns()
            if stamp is not None:
                self.follow_pace.wait_for_room()
                self.follow_pace.sent(stamp)
        if self._stopped.is_set():
            return
        self._tick(record.log_ns)
        self._publishers_of_topics[record.topic].publish(record.cdr)
        self.published[record.topic] += 1

    def _tick(self, now_ns: int) -> None:
        seconds, nanoseconds = divmod(now_ns, 1_000_000_000)
        self._clock.publish(Clock(clock=Time(sec=seconds, nanosec=nanoseconds)))

    def _sum_up(self) -> None:
        for publisher in self._publishers_of_topics.values():
            publisher.wait_for_all_acked(Duration(seconds=1))
        parts = [f"{topic} {count}" for topic, count in sorted(self.published.items())]
        if self.follow_pace is not None:
            parts.append(f"answered {self.follow_pace.answered}, unanswered {self.follow_pace.unanswered}")
        self.get_logger().info(f"replayed {', '.join(parts) if self.published else 'nothing'}")


def parse(arguments: list[str]) -> argparse.Namespace:
    """Read the command line (without its ROS part)."""
    parser = argparse.ArgumentParser(prog="replay_node", description=__doc__)
    parser.add_argument("source", type=Path, help="a bag (folder, .mcap, .db3) or a clip folder")
    parser.add_argument("--rate", type=float, default=1.0, help="times real time (default 1)")
    parser.add_argument("--follow", default="", metavar="TOPIC",
                        help="as fast as a consumer follows: wait for the PanopticFrame on TOPIC that answers "
                        "each image it is made of, e.g. /vps/panoptic/segments")  # fmt: skip
    parser.add_argument(
        "--window",
        type=int,
        default=1,
        help="images under way with --follow (default 1; at most the input_depth of the node)",
    )
    parser.add_argument("--timeout", type=float, default=5.0, help="seconds until an answer is given up (default 5)")
    parser.add_argument("--loop", action="store_true", help="begin again at the end; time jumps back")
    parser.add_argument("--start", type=float, default=0.0, help="skip the first seconds")
    parser.add_argument("--duration", type=float, default=0.0, help="play so many seconds (default: all)")
    parser.add_argument("--topics", nargs="+", default=[], help="only these topics (default: all)")
    parser.add_argument("--listeners", type=int, default=0, help="wait for so many listeners to the images")
    parser.add_argument("--wait", type=float, default=10.0, help="give up waiting after so many seconds (default 10)")
    parser.add_argument("--compressed", action="store_true", help="send a clip's image files as CompressedImage")
    options = parser.parse_args(arguments)
    least = {"rate": 1e-6, "window": 1, "timeout": 1e-3, "start": 0, "duration": 0, "listeners": 0, "wait": 0}
    require_at_least(parser, options, least)
    return options


def main(arguments: list[str] | None = None) -> int:
    """Replay until the end or a signal. Topics are renamed as everywhere: --ros-args -r /old:=/new."""
    given, plain = split_arguments("replay_node", arguments)
    options = parse(plain)
    return run_node(lambda: ReplayNode(options), given)


if __name__ == "__main__":
    sys.exit(main())
