"""When to send the next message: by the clock of the recording, or when the consumers are done with the last one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class ClockPace:
    """Keep the recording's own timing, ``rate`` times as fast."""

    def __init__(self, rate: float, stopped: threading.Event) -> None:
        self._rate = rate
        self._stopped = stopped
        self._origin: tuple[int, float] | None = None  # recording time in ns, steady time in s

    def restart(self) -> None:
        """Forget the past; the next record is sent at once."""
        self._origin = None

    def wait(self, log_ns: int, tick: Callable[[int], None]) -> None:
        """Return when ``log_ns`` is due; call ``tick`` with the time of the recording every 10 ms until then."""
        if self._origin is None:
            self._origin = (log_ns, time.monotonic())
        begin_ns, begin_s = self._origin
        due_s = begin_s + (log_ns - begin_ns) * 1e-9 / self._rate
        while (left_s := due_s - time.monotonic()) > 0 and not self._stopped.is_set():
            self._stopped.wait(min(left_s, 0.01))
            now_ns = begin_ns + round((time.monotonic() - begin_s) * self._rate * 1e9)
            tick(min(now_ns, log_ns))


class FollowPace:
    """Let at most ``window`` images be unanswered; an answer is a message with the image's stamp."""

    def __init__(self, window: int, timeout_s: float, stopped: threading.Event) -> None:
        self._window = window
        self._timeout_s = timeout_s
        self._stopped = stopped
        self._changed = threading.Condition()
        self._open: list[int] = []
        self._newest_ns: int | None = None
        self.answered = 0
        self.unanswered = 0

    def answer(self, stamp_ns: int) -> None:
        """Take note of an answer; everything sent before it will get none any more."""
        with self._changed:
            if stamp_ns in self._open:
                position = self._open.index(stamp_ns)
                self.unanswered += position
                self.answered += 1
                del self._open[: position + 1]
                self._changed.notify_all()

    def sent(self, stamp_ns: int) -> None:
        """Take note of an image that is about to be sent; nobody answers one with the stamp of the image before."""
        with self._changed:
            if stamp_ns != self._newest_ns:
                self._open.append(stamp_ns)
            self._newest_ns = stamp_ns

    def wait_for_room(self, room: int = 1) -> None:
        """Return when ``room`` more images may be sent; give up on images that stay unanswered for too long."""
        deadline_s = time.monotonic() + self._timeout_s
        with self._changed:
            while len(self._open) > self._window - room and not self._stopped.is_set():
                left_s = deadline_s - time.monotonic()
                if left_s <= 0:
                    self.unanswered += len(self._open)
                    self._open.clear()
                    return
                self._changed.wait(min(left_s, 0.1))

    def finish(self) -> None:
        """Wait for the last answers."""
        self.wait_for_room(self._window)
