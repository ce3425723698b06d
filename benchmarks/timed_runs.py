"""Wall clock and CPU time of labelling runs, each in a Python of its own.

    python benchmarks/timed_runs.py CLIPS EXECUTOR WORKERS

labels the clips once and prints the seconds.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from time import perf_counter, sleep

os.environ.setdefault("OMP_NUM_THREADS", "1")

from videocups.pipeline.label_config import LabelConfig
from videocups.pipeline.run import RunConfig, run_stages
from videocups.pipeline.workspace import Workspace, link_clips

PR_SET_CHILD_SUBREAPER = 36


@dataclass(frozen=True)
class Clock:
    """Runs of one set-up: seconds and CPU seconds each, and the cores that were free before."""

    seconds: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    free: list[float] = field(default_factory=list)


def ratio(slow: Clock, fast: Clock) -> float:
    """Return how many times as fast ``fast`` is, round by round."""
    return median(a / b for a, b in zip(slow.seconds, fast.seconds, strict=True))


def timed(folder: Path, runs: list[tuple[Path, str, int]], clock: Clock) -> dict[str, bytes]:
    """Label copies of clips by runs at the same time, each (clips, executor, workers) in a Python of its own."""
    roots = [folder / f"timed_{number}" for number in range(len(runs))]
    for root, (clips, *_) in zip(roots, runs, strict=True):
        link_clips(clips, root)
    clock.free.append(free_cores())
    before = cpu_seconds()
    commands = [
        [sys.executable, __file__, str(root), executor, str(workers)]
        for root, (_, executor, workers) in zip(roots, runs, strict=True)
    ]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE) for command in commands]
    answers = [process.communicate()[0] for process in processes]
    if any(process.returncode for process in processes):
        raise SystemExit("a run failed; see above")
    reap()
    clock.seconds.append(max(json.loads(answer.splitlines()[-1]) for answer in answers))
    clock.cpu.append(cpu_seconds() - before)
    labels = {str(path.relative_to(root)): path.read_bytes() for root in roots for path in root.rglob("panoptic/*")}
    for root in roots:
        shutil.rmtree(root)
    return labels


def run_one(root: Path, executor: str, workers: int) -> None:
    """Label the clips below ``root`` and print the seconds, with the start of workers but not of Python."""
    stages, workspace = LabelConfig().stages(), Workspace.open(root)
    if executor == "ray":
        start_ray()
    begin = perf_counter()
    run_stages(stages, workspace, RunConfig(executor=executor), workers=workers)
    print(json.dumps(perf_counter() - begin))


def halves(folder: Path) -> list[Path]:
    """Return two folders with links to every other clip each."""
    found = []
    for number in (0, 1):
        half = folder / f"half_{number}"
        for clip in sorted((folder / "clips").iterdir())[number::2]:
            if not (half / clip.name).exists():
                link_clips(clip, half)
        found.append(half)
    return found


def adopt_orphans() -> None:
    """Make orphans children of this process, so that the CPU time of the server of workers is counted."""
    if ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise SystemExit("this system cannot count the CPU time of workers; run it on Linux")


def reap(limit_s: float = 10.0) -> None:
    """Wait for all children; daemons that outlive a run are not waited for long."""
    end = perf_counter() + limit_s
    while perf_counter() < end:
        try:
            if os.waitpid(-1, os.WNOHANG) == (0, 0):
                sleep(0.01)
        except ChildProcessError:
            return


def start_ray() -> None:
    import ray

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=40)


def cpu_seconds() -> float:
    """Return the CPU time of this process and of all children that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def free_cores(span_s: float = 1.0) -> float:
    """Return how many cores nobody uses just now."""
    before = cpu_times()
    sleep(span_s)
    after = cpu_times()
    total = sum(after) - sum(before)
    return (after[3] - before[3]) / max(total, 1) * (os.cpu_count() or 1)


def cpu_times() -> list[int]:
    return [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]


if __name__ == "__main__":
    run_one(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
