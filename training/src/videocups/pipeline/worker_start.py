"""The first thing a worker process runs, before NumPy and torch are loaded there: they read these variables once."""

from __future__ import annotations

import multiprocessing
import os
import threading
from multiprocessing.connection import wait

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def begin_worker() -> None:
    """Keep to one core, and end at once when the parent is killed: nobody would collect what is done after that."""
    for variable in THREAD_VARIABLES:
        os.environ[variable] = "1"
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
