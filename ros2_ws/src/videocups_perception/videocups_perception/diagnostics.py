"""How the node is doing: one status for each input and one for the inference, published when something changes.

Plain Python up to ``diagnostic_array``; times are seconds of a steady clock unless the name says otherwise.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from videocups_perception.scheduling import DELIBERATE, Counts, DropCause

HOLD_S = 0.5  # a warning stays at least this long, so that a person and a 2 Hz monitor see it
RATE_WINDOW_S = 2.0
LATENCY_WINDOW = 300  # frames
STUCK_S = 2.0  # a frame this long in hand, and five times as long as usual, is stuck
PERIODS_KEPT = 9
PUBLISHERS_KEPT = 16
COMPARABLE_AGE_S = 60.0  # what is older was recorded, or stamped by a clock that is wrong; no load explains it
OTHER_CLOCK_S = 3600.0  # such an age is none: a bag without use_sim_time, or use_sim_time without a /clock

NOT_CONFIGURED = "not configured: no model is loaded"
INACTIVE = "inactive: no image is processed"


class Level(IntEnum):
    """The levels of diagnostic_msgs/DiagnosticStatus."""

    OK = 0
    WARN = 1
    ERROR = 2


@dataclass(frozen=True)
class Status:
    """One line of the diagnostics."""

    name: str
    level: Level
    message: str
    values: Mapping[str, str] = field(default_factory=dict)


class InputHealth:
    """Watch one topic: whether it is alive, and what was wrong with its last messages."""

    def __init__(self, topic: str, silence_s: float, *, since_s: float, expects_first: bool) -> None:
        """``expects_first``: silence counts from ``since_s``; otherwise only once the topic proved to be periodic."""
        self.topic = topic
        self._silence_s = silence_s
        self._expects_first = expects_first
        self._lock = threading.Lock()
        self._heard: deque[float] = deque(maxlen=PERIODS_KEPT)
        self._usable_s = since_s
        self._last_number: dict[bytes, int] = {}
        self._publishers = 0
        self._lost = 0
        self._last_drop_s: dict[DropCause, float] = {}
        self._sentence: dict[DropCause, str] = {}
        self.note = ""  # what the middleware said, e.g. incompatible QoS
        self.type_name = ""  # of the messages that are read
        self.other_types = ""  # what the topic carries instead

    def heard(self, now_s: float, info: Mapping[str, Any] | None = None) -> None:
        """Note that a message came, whatever it holds; ``info`` is the middleware's MessageInfo."""
        with self._lock:
            self._heard.append(now_s)
            if info is not None:
                self._count_lost(info)

    def _count_lost(self, info: Mapping[str, Any]) -> None:
        """Count the gaps in a publisher's numbers: what the middleware dropped or overwrote before the node saw it."""
        number = info.get("publication_sequence_number")
        if number is None:
            return
        publisher = bytes((info.get("publisher_gid") or {}).get("data", b""))
        if not publisher and self._publishers > 1:  # Jazzy does not say whose number it is
            self._last_number.clear()
            return
        last = self._last_number.get(publisher)
        if last is not None and number > last + 1:
            self._lost += number - last - 1
        if last is None and len(self._last_number) >= PUBLISHERS_KEPT:
            self._last_number.pop(next(iter(self._last_number)))
        self._last_number[publisher] = number

    def usable(self, now_s: float) -> None:
        """Note that the message can be worked with."""
        with self._lock:
            self._usable_s = now_s
            self.note = ""

    def dropped(self, cause: DropCause, sentence: str, now_s: float) -> None:
        """Note a message that has no output."""
        with self._lock:
            self._last_drop_s[cause] = now_s
            self._sentence[cause] = sentence

    def patience_s(self) -> float:
        """Return how long the topic may be silent: ``silence_s``, or 2.5 of its own periods if it is slower."""
        if len(self._heard) < 3:
            return self._silence_s
        return max(self._silence_s, min(2.5 * float(np.median(np.diff(self._heard))), 10.0))

    def status(self, name: str, counts: Counts, publishers: int, now_s: float) -> Status:
        """Judge the topic now."""
        with self._lock:
            self._publishers = publishers
            silent_s = now_s - max(self._usable_s, self._heard[-1] if self._heard else self._usable_s)
            unusable_s = now_s - self._usable_s
            fresh = [
                cause for cause, at_s in self._last_drop_s.items() if now_s - at_s < HOLD_S and cause not in DELIBERATE
            ]
            level, message = self._judge(silent_s, unusable_s, fresh, publishers)
            values = {
                "topic": self.topic,
                "publishers": str(publishers),
                "rate_hz": f"{self._rate_hz(now_s):.1f}",
                "silent_s": f"{silent_s:.2f}",
                "received": str(counts.received),
                "processed": str(counts.processed),
                "in_flight": str(counts.in_flight),
                "lost_before_node": str(self._lost),
            }
            values |= {f"dropped_{cause.value}": str(count) for cause, count in sorted(counts.dropped.items()) if count}
        return Status(name, level, message, values)

    def _judge(self, silent_s: float, unusable_s: float, fresh: list[DropCause], publishers: int) -> tuple[Level, str]:
        patience_s = self.patience_s()
        watched = self._expects_first or len(self._heard) >= 3
        if watched and silent_s > patience_s:
            return Level.ERROR, self._silence_message(silent_s, publishers)
        reason = "; ".join(f"{cause.value}: {self._sentence[cause]}".rstrip(": ") for cause in fresh)
        # With a slow model whole frames wait in vain for longer than that; what is overrun had nothing wrong with it.
        is_input_bad = any(cause is not DropCause.OVERRUN for cause in fresh)
        if watched and unusable_s > patience_s and is_input_bad:
            return Level.ERROR, f"no usable message for {unusable_s:.1f} s; {reason}"
        if reason:
            return Level.WARN, f"dropped, {reason}"
        if self.note:
            return Level.WARN, self.note
        if not self._heard and silent_s > patience_s:  # no error: it may be sent once, to those who were there
            return Level.WARN, self._silence_message(silent_s, publishers)
        if publishers > 1:
            return Level.WARN, f"{publishers} publishers on {self.topic}; stop all but one camera"
        return Level.OK, "receiving" if self._heard else "waiting"

    def _silence_message(self, silent_s: float, publishers: int) -> str:
        if self.note:
            return self.note
        if self.other_types:
            return (
                f"silent for {silent_s:.1f} s: {self.topic} carries {self.other_types} and {self.type_name} is read; "
                "check image_transport and the topic name"
            )
        if publishers == 0:
            return f"silent for {silent_s:.1f} s: nobody publishes {self.topic}; check the topic name and the driver"
        return f"silent for {silent_s:.1f} s: {self.topic} has a publisher, but no message comes"

    def _rate_hz(self, now_s: float) -> float:
        if len(self._heard) < 2 or now_s - self._heard[-1] > RATE_WINDOW_S:
            return 0.0
        return (len(self._heard) - 1) / max(self._heard[-1] - self._heard[0], 1e-9)


class InferenceHealth:
    """Watch the worker: rate, latency, age of what it publishes, and its failures."""

    def __init__(self, age_warn_s: float) -> None:
        self._age_warn_s = age_warn_s
        self._lock = threading.Lock()
        self._done_s: deque[float] = deque(maxlen=LATENCY_WINDOW)
        self._latency_s: deque[float] = deque(maxlen=LATENCY_WINDOW)
        self._age_s: deque[float] = deque(maxlen=LATENCY_WINDOW)
        self._failure = ""
        self._failed_s = float("-inf")
        self._in_hand_s: list[float] = []  # since when each frame has been in hand
        self.standing = NOT_CONFIGURED  # why no frame can come; "" while the node is active
        self.activity = ""  # what takes long right now, e.g. building an engine; "" in normal operation
        self.activity_since_s = 0.0

    def took(self, now_s: float) -> None:
        """Note that the worker took a frame in hand."""
        with self._lock:
            self._in_hand_s.append(now_s)

    def laid_down(self, since_s: float) -> None:
        """Note that the worker is through with the frame it took at ``since_s``, however it ended."""
        with self._lock:
            self._in_hand_s.remove(since_s)

    def done(self, now_s: float, latency_s: float, age_s: float) -> None:
        """Note a published frame: ``latency_s`` since it was received, ``age_s`` since its stamp (ROS clock)."""
        with self._lock:
            self._done_s.append(now_s)
            self._latency_s.append(latency_s)
            if abs(age_s) < OTHER_CLOCK_S:
                self._age_s.append(age_s)
            else:
                self._age_s.clear()

    def failed(self, error: BaseException | str, now_s: float) -> None:
        """Note a frame whose processing raised, or a model that did not load."""
        text = error if isinstance(error, str) else f"{type(error).__name__}: {error}"
        with self._lock:
            self._failure, self._failed_s = text, now_s

    def begin(self, activity: str, now_s: float) -> None:
        """Note something long, told with its seconds; an empty text ends it."""
        with self._lock:
            self.activity, self.activity_since_s = activity, now_s
            if activity:
                self._failure, self._failed_s = "", float("-inf")

    def status(self, name: str, facts: Mapping[str, str], now_s: float) -> Status:
        """Judge the inference now; ``facts`` are added to the values (engine, precision, model, tracker)."""
        with self._lock:
            level, message = self._judge(now_s)
            values = dict(facts)
            recent = sum(1 for at_s in self._done_s if now_s - at_s <= RATE_WINDOW_S)
            span_s = min(RATE_WINDOW_S, now_s - self._done_s[0]) if self._done_s else RATE_WINDOW_S
            values["output_rate_hz"] = f"{recent / max(span_s, 0.1):.1f}"
            for label, series in (("latency", self._latency_s), ("age", self._age_s)):
                if series:
                    values[f"{label}_ms"] = f"{series[-1] * 1e3:.1f}"
                    low, high = np.percentile(np.fromiter(series, float), [50, 95])
                    values[f"{label}_p50_ms"] = f"{low * 1e3:.1f}"
                    values[f"{label}_p95_ms"] = f"{high * 1e3:.1f}"
        return Status(name, level, message, values)

    def _judge(self, now_s: float) -> tuple[Level, str]:
        if self.activity:
            return Level.WARN, f"{self.activity}, {now_s - self.activity_since_s:.0f} s so far"
        in_hand_s = now_s - min(self._in_hand_s, default=now_s)
        if in_hand_s > STUCK_S and in_hand_s > 5 * float(np.median(self._latency_s or [0.0])):
            return Level.ERROR, f"one frame has been in inference for {in_hand_s:.0f} s; the model or its device hangs"
        last_done_s = self._done_s[-1] if self._done_s else float("-inf")
        if self._failure and (last_done_s < self._failed_s or now_s - self._failed_s < HOLD_S):
            return Level.ERROR, self._failure
        running = now_s - last_done_s < RATE_WINDOW_S
        if running and self._age_s and self._age_warn_s < self._age_s[-1] < COMPARABLE_AGE_S:
            return Level.WARN, f"output is {self._age_s[-1] * 1e3:.0f} ms old; lower the load or raise age_warn_s"
        return Level.OK, self.standing or ("running" if running else "waiting for images")


class Bulletin:
    """Decide when to publish: every period, at once when a level changes, and soon when something new was dropped."""

    def __init__(self, period_s: float = 1.0, gap_s: float = 0.1) -> None:
        self._period_s = period_s
        self._gap_s = gap_s  # between two bulletins about drops: a flood of faults is no flood of diagnostics
        self._last_s = float("-inf")
        self._last_levels: tuple[tuple[str, Level], ...] = ()
        self._last_drops = 0

    def is_due(self, statuses: list[Status], total_drops: int, now_s: float) -> bool:
        """Say whether to publish now, and remember that it was done."""
        levels = tuple((status.name, status.level) for status in statuses)
        since_s = now_s - self._last_s
        # No gap before a new level: it would add to the time until silence is told.
        dropped_more = total_drops != self._last_drops and since_s >= self._gap_s
        if since_s < self._period_s and levels == self._last_levels and not dropped_more:
            return False
        self._last_s, self._last_levels, self._last_drops = now_s, levels, total_drops
        return True


def diagnostic_array(statuses: list[Status], stamp: Time, hardware_id: str) -> DiagnosticArray:
    """Return the statuses as a message."""
    message = DiagnosticArray()
    message.header.stamp = stamp
    for status in statuses:
        row = DiagnosticStatus(
            level=bytes([status.level]), name=status.name, message=status.message, hardware_id=hardware_id
        )
        row.values = [KeyValue(key=key, value=value) for key, value in status.values.items()]
        message.status.append(row)
    return message
