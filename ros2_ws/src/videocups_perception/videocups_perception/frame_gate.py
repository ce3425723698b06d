"""Which frames are taken, by stamp and frame_id alone: order, jumps in time, other cameras, and the throttle.

Plain Python; nothing here knows ROS.
"""

from __future__ import annotations

from dataclasses import dataclass

from videocups_perception.scheduling import DropCause


@dataclass(frozen=True)
class GateLimits:
    """What the gate lets through; all times in seconds."""

    max_rate_hz: float = 0.0  # 0 = every frame
    time_jump_s: float = 1.0  # a step back of at least this is a new beginning, less is disorder
    max_future_s: float = 5.0
    source_timeout_s: float = 1.0  # how long a silent camera keeps its frame_id reserved
    disorder_frames: int = 3  # so many older frames in a row, in order among themselves, are a new beginning too


@dataclass(frozen=True)
class Verdict:
    """What to do with a frame: drop it for ``cause`` or take it; ``restarted``: time began anew with it."""

    cause: DropCause | None = None
    restarted: bool = False
    sentence: str = ""


class FrameGate:
    """Judge frames by stamp and frame_id alone, before any pixel is read."""

    def __init__(self, limits: GateLimits | None = None) -> None:
        self.limits = limits or GateLimits()
        self.forget()

    def forget(self) -> None:
        """Start as if no frame had ever been seen."""
        self._newest_ns: int | None = None
        self._due_ns: int | None = None
        self._older: list[int] = []
        self._source = ""
        self._source_heard_s = float("-inf")

    def judge(self, stamp_ns: int, frame_id: str, now_ns: int, heard_s: float) -> Verdict:
        """Judge one frame; ``now_ns``: the ROS clock (0 = not running), ``heard_s``: a steady clock."""
        ahead_s = (stamp_ns - now_ns) * 1e-9
        if now_ns > 0 and ahead_s > self.limits.max_future_s:
            return Verdict(DropCause.FUTURE_STAMP, sentence=f"the stamp is {ahead_s:.1f} s ahead of the clock")
        first = self._newest_ns is None
        if not first and frame_id != self._source:
            if heard_s - self._source_heard_s <= self.limits.source_timeout_s:
                return Verdict(
                    DropCause.FOREIGN_FRAME,
                    sentence=f"frame_id is {frame_id!r} while {self._source!r} is being followed; one node, one camera",
                )
            return self._begin(stamp_ns, frame_id, heard_s, restarted=True)
        if first:
            return self._begin(stamp_ns, frame_id, heard_s, restarted=False)
        self._source_heard_s = heard_s
        return self._judge_order(stamp_ns, frame_id, heard_s)

    def _judge_order(self, stamp_ns: int, frame_id: str, heard_s: float) -> Verdict:
        assert self._newest_ns is not None
        if stamp_ns == self._newest_ns:
            return Verdict(DropCause.REPEATED, sentence=f"stamp {stamp_ns} ns came twice")
        if stamp_ns < self._newest_ns:
            back_s = (self._newest_ns - stamp_ns) * 1e-9
            if back_s >= self.limits.time_jump_s or self._is_new_order(stamp_ns):
                return self._begin(stamp_ns, frame_id, heard_s, restarted=True)
            return Verdict(DropCause.OUT_OF_ORDER, sentence=f"the stamp is {back_s * 1e3:.0f} ms older than the newest")
        self._older.clear()
        self._newest_ns = stamp_ns
        if not self._is_due(stamp_ns):
            return Verdict(DropCause.THROTTLED)
        return Verdict()

    def _begin(self, stamp_ns: int, frame_id: str, heard_s: float, *, restarted: bool) -> Verdict:
        self._newest_ns, self._due_ns = stamp_ns, None
        self._older.clear()
        self._source, self._source_heard_s = frame_id, heard_s
        self._is_due(stamp_ns)
        return Verdict(restarted=restarted)

    def _is_new_order(self, stamp_ns: int) -> bool:
        """Say whether the older frames go on among themselves: a sender that started again a little earlier."""
        if self._older and stamp_ns <= self._older[-1]:
            self._older.clear()
        self._older.append(stamp_ns)
        return len(self._older) >= self.limits.disorder_frames

    def _is_due(self, stamp_ns: int) -> bool:
        if self.limits.max_rate_hz <= 0:
            return True
        period_ns = round(1e9 / self.limits.max_rate_hz)
        wait_ns = 0 if self._due_ns is None else self._due_ns - stamp_ns
        if period_ns // 10 < wait_ns <= 2 * period_ns:  # a camera's stamps jitter, and a longer wait is a lower rate's
            return False
        # The next due time follows the schedule, not the frame, so that jitter does not lower the rate.
        due_ns = self._due_ns
        if due_ns is None or abs(wait_ns) >= period_ns:  # the first frame, or one after a pause or at a new rate
            due_ns = stamp_ns
        self._due_ns = due_ns + period_ns
        return True
