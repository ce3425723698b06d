"""A worker in two halves: the second half of an item runs beside the first half of the next.

Plain Python; nothing here knows ROS.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Queue
from typing import Any

from videocups_perception.scheduling import FrameWorker, Item, attempt

Half = Callable[[], None]


class OverlappingWorker(FrameWorker[Item]):
    """Begin items on one thread and finish them on another, in the same order.

    ``process`` does the first half and returns the second, which always runs. Two items are in hand at the most: one
    that is through with its first half waits for the item before it, so that the next to begin is the newest there is.
    What either half raises counts as ``FrameWorker`` counts it, and in order.
    """

    def __init__(self, process: Callable[[Item], Half], *arguments: Any, **options: Any) -> None:
        super().__init__(process, *arguments, **options)
        self._begin = process

    def _run(self) -> None:
        handed: Queue[Half | Exception | None] = Queue(maxsize=1)
        finisher = threading.Thread(target=self._finish, args=(handed,), name="frame-finisher", daemon=True)
        finisher.start()
        while (item := self._next()) is not None:
            begun = attempt(self._begin, item)
            del item
            handed.join()  # until the item before is settled
            handed.put(begun)
            del begun
        handed.put(None)
        finisher.join()  # so that this thread lives until everything is at rest

    def _finish(self, handed: Queue[Half | Exception | None]) -> None:
        while (begun := handed.get()) is not None:
            self._settle(begun if isinstance(begun, Exception) else attempt(begun))
            del begun
            handed.task_done()
