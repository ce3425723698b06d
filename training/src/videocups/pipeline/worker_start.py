"""Where worker processes come from: a server that loads once what all of them need, and forks.

Loading torch and the rest takes seconds of CPU time and hundreds of megabytes, so it is not done once a worker. The
server does nothing but load: it has no threads whose locks a fork would copy, and no GPU is opened in it.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import wait
from multiprocessing.context import ForkServerContext

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def start_server(modules: Sequence[str] = ()) -> ForkServerContext:
    """Have ``modules`` loaded by the server, if it does not run yet, and return the context that forks from it.

    Does not wait: the first worker does.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(modules))
    resource_tracker.ensure_running()  # it would start with the server and allow interrupts again
    with _one_thread_each(), no_interrupts():
        forkserver.ensure_running()
    return context


def begin_worker(environment: Mapping[str, str]) -> None:
    """Take the parent's environment, and end at once when it is killed: nobody would collect what is done after that.

    The server may be older than a change of the environment.
    """
    os.environ.update(environment)
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))
    threading.Thread(target=_end_with_parent, daemon=True).start()


@contextmanager
def no_interrupts() -> Iterator[None]:
    """Block interrupts: processes that start meanwhile inherit that, so that Ctrl-C is the parent's alone."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Keep the server, and so all workers, to one core: NumPy and torch read these variables once, when they load."""
    before = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
