"""A node as a process: start, spin, and end within two seconds of SIGINT or SIGTERM with a true exit status."""

from __future__ import annotations

import argparse
import ctypes
import math
import os
import re
import signal
import sys
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Protocol

import rclpy
from rclpy.exceptions import ParameterException
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.impl.rcutils_logger import RcutilsLogger
from rclpy.utilities import remove_ros_args


class ProcessNode(Protocol):
    """What a node must have to be run by ``run_node``."""

    exit_status: int | None  # set by the node when it has done its work; None = go on

    def begin(self) -> None:
        """Start working; called once before the node spins."""

    def stop_work(self) -> bool:
        """Stop all threads; False where one could not be stopped in time."""

    def destroy_node(self) -> None:
        """Free the node."""

    def get_logger(self) -> RcutilsLogger:
        """Return the node's logger."""


def keep_large_buffers() -> None:
    """Let the C library reuse freed image buffers instead of giving their pages back after every frame.

    By default each 6 MB image is mapped anew and its pages faulted in one by one: half a frame's time at 1080p.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:  # not glibc
        return
    trim_threshold, top_pad, mmap_threshold = -1, -2, -3  # malloc.h
    mallopt(mmap_threshold, 32 << 20)  # the largest value that all versions take; a raw 4K image is 25 MB
    mallopt(trim_threshold, 512 << 20)
    mallopt(top_pad, 16 << 20)


def require_at_least(
    parser: argparse.ArgumentParser, options: argparse.Namespace, least_of: Mapping[str, float]
) -> None:
    """End with a sentence where an option is below its least value, infinite or not a number."""
    for name, least in least_of.items():
        value = getattr(options, name)
        if not (value >= least and math.isfinite(value)):
            parser.error(f"--{name.replace('_', '-')} must be a number of at least {least:g}, got {value:g}")


def split_arguments(program: str, arguments: list[str] | None) -> tuple[list[str], list[str]]:
    """Return the command line with the program's name, and what of it is not ROS's.

    A ROS part that cannot be understood ends the process with a sentence and status 1.
    """
    given = sys.argv if arguments is None else [program, *arguments]
    try:
        return given, remove_ros_args(given)[1:]
    except RuntimeError as error:
        reason = re.sub(r", at \S+:\d+", "", str(error))  # lines of the middleware's own source
        sys.exit(f"error: the ROS part of the command line is wrong: {reason}; correct what follows --ros-args")


class FirstSignal:
    """Turns the first SIGINT or SIGTERM into a KeyboardInterrupt and lets no later one disturb the end.

    Ctrl-C in a terminal reaches a launched node twice: from the terminal and from the launch system.
    """

    def __init__(self) -> None:
        self._came = False
        self._signs = (signal.SIGINT, signal.SIGTERM)
        for sign in self._signs:
            signal.signal(sign, self._interrupt)  # the middleware's own handlers, set later, call these

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        if not self._came:
            self._came = True
            raise KeyboardInterrupt

    def expect_no_more(self) -> None:
        """Interrupt nothing from now on."""
        self._came = True

    def ignore(self) -> None:
        """Stay alive until the interpreter has ended too; only once the middleware's handlers are gone."""
        for sign in self._signs:
            signal.signal(sign, signal.SIG_IGN)


def run_node(make: Callable[[], ProcessNode], arguments: list[str] | None) -> int:
    """Run until the node sets ``exit_status`` or a signal comes; 0 after a signal, 1 where the node cannot start."""
    node: ProcessNode | None = None
    status: int | None = None
    first_signal = FirstSignal()
    started = False
    try:
        keep_large_buffers()
        rclpy.init(args=arguments)
        started = True
        node = make()
        status = _spin(node)
    except (KeyboardInterrupt, ExternalShutdownException):
        status = 0
    except RuntimeError:
        if rclpy.ok() or not started:
            raise
        status = 0  # the signal came between two calls, and the second one met a context that was gone
    except (
        ValueError,
        OSError,
        ParameterException,
    ) as error:  # a bad parameter or a missing file; the sentence is all a user needs
        sys.stderr.write(f"error: {_sentence(error)}\n")
        status = 1
    finally:
        first_signal.expect_no_more()
        if node is not None:
            _end(node, 0 if status is None else status)
        rclpy.try_shutdown()
        first_signal.ignore()
    return status or 0


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}; give another path, or mend this one"
    return str(error)


def _spin(node: ProcessNode) -> int:
    # One thread for the middleware; the work has its own. MultiThreadedExecutor adds latency, EventsExecutor
    # does not fire timers in every release.
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    try:
        node.begin()
        while node.exit_status is None and rclpy.ok():
            executor.spin_once(timeout_sec=0.2)
    finally:
        executor.remove_node(node)
        executor.shutdown(timeout_sec=0.2)
    return node.exit_status or 0


def _end(node: ProcessNode, status: int) -> None:
    if node.stop_work():
        node.destroy_node()
        return
    # The thread is inside native code that cannot be interrupted; waiting for it could take for ever and tearing
    # the interpreter down under it could crash.
    node.get_logger().warning("leaving while a frame is still in inference, or a model being loaded")
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
