"""What workers, the cluster and reuse are worth when clips are labelled.

    python benchmarks/pipeline.py [--clips 4] [--frames 12] [--size 512x256] [--parts reuse,workers,ray,kills]

Reuse: the same stages in one process, frame by frame without stored artefacts, against the pipeline, in CPU seconds,
which others on the machine disturb little; clusters are there before, in both. "flow again": every consumer estimates
the flow it reads. "all again": every stage makes anew what it reads of single frames and pairs. These compute in full
precision, the pipeline stores fields in half; so labels are compared as well.
Workers: all stages with 2 processes against 1, and Ray with 2 workers against 2 processes: wall clock, rounds
interleaved, medians. Where fewer than 1.9 cores were free before the runs the ratios say nothing: the script says so
and ends with status 2.
Kills: 50 times kill -9 of a pool of 2 at a random moment, then a comparison with a calm run.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from time import perf_counter, process_time, sleep
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from machine import machine
from recomputed import Recomputed, label_iou, stored_labels

from videocups.pipeline import cue_formats
from videocups.pipeline.label_config import LabelConfig
from videocups.pipeline.run import RunConfig, run_stages
from videocups.pipeline.workspace import Workspace, link_clips
from videocups.synthetic import World, WorldConfig
from videocups.synthetic.storage import write_clip
from videocups_core.panoptic.storage import PanopticClip

WORKERS_BAR, RAY_BAR, REUSE_BAR, IOU_BAR = 1.8, 0.9, 5.0, 0.99
FREE_CORES = 1.9
"""with fewer, two workers have nothing to win, and a wall clock measures the neighbours."""
NOT_MEASURED = 2
"""exit status where equal bytes were seen but no clock could be trusted."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=4)
    parser.add_argument("--frames", type=int, default=12, help="frames of a clip")
    parser.add_argument("--size", default="512x256")
    parser.add_argument("--rounds", type=int, default=3, help="repetitions of the wall-clock parts; medians are taken")
    parser.add_argument("--parts", default="reuse,workers,ray,kills")
    parser.add_argument("--machine", default="", help="what to call this machine in the table")
    options = parser.parse_args()
    parts = options.parts.split(",")
    name = options.machine or machine()
    print(f"machine: {name}; {options.clips} rendered clips of {options.frames} frames, {options.size}")
    with tempfile.TemporaryDirectory(prefix="pipeline-") as name:
        folder = Path(name)
        render(folder / "clips", options.clips, options.frames, options.size)
        warm_up(folder)
        passed: list[bool | None] = [measure_reuse(folder)] if "reuse" in parts else []
        if "workers" in parts or "ray" in parts:
            passed.append(measure_workers(folder, options.rounds, with_ray="ray" in parts))
        if "kills" in parts:
            passed.append(measure_kills(folder))
    if False in passed:
        return 1
    return NOT_MEASURED if None in passed else 0


def measure_reuse(folder: Path) -> bool:
    """Compare one clip's labels made by the pipeline with those made frame by frame; print ratios of CPU time."""
    root = folder / "reuse"
    link_clips(folder / "clips" / "clip_0", root)
    stages, workspace = LabelConfig().stages(), Workspace.open(root)
    run_stages(stages.up_to(["clusters"]), workspace, RunConfig(executor="inline"))
    begin = process_time()
    run_stages(stages, workspace, RunConfig(executor="inline"))
    seconds = {"pipeline": process_time() - begin}
    labels = {}
    cue_formats.STORED = np.float32
    for name, again in (("flow again", frozenset({"flow"})), ("all again", None)):
        begin = process_time()
        labels[name] = Recomputed(stages, workspace, again).panoptic()
        seconds[name] = process_time() - begin
    cue_formats.STORED = np.float16
    frames = len(PanopticClip(workspace.clips[0]))
    print(f"reuse, one process, {frames} frames, quality preset, until panoptic; CPU time")
    print(f"  {'':<12}{'s/frame':>9}{'times':>8}{'class IoU':>11}{'track IoU':>11}")
    found = stored_labels(workspace.clips[0])
    agree = True
    for name, value in seconds.items():
        classes, tracks = (1.0, 1.0) if name == "pipeline" else label_iou(found, labels[name])
        agree &= min(classes, tracks) >= IOU_BAR
        print(f"  {name:<12}{value / frames:>9.3f}{value / seconds['pipeline']:>8.2f}{classes:>11.4f}{tracks:>11.4f}")
    ratios = [seconds[name] / seconds["pipeline"] for name in ("flow again", "all again")]
    fast = ratios[1] >= REUSE_BAR
    print(
        f"reuse makes labels {ratios[1]:.2f}x faster than frame by frame "
        f"(bar {REUSE_BAR}x): {'ok' if fast else 'MISSED'}; "
        f"{ratios[0]:.2f}x where only flow is made again; IoU at least {IOU_BAR}: {'ok' if agree else 'MISSED'}"
    )
    return fast and agree


def measure_workers(folder: Path, rounds: int, *, with_ray: bool) -> bool | None:
    """Compare wall clocks of all stages on all clips, after equal bytes; None on a busy machine."""
    set_ups = {"1 process": ("processes", 1), "2 processes": ("processes", 2)}
    if with_ray:
        start_ray()
        set_ups["ray, 2 workers"] = ("ray", 2)
    times: dict[str, list[float]] = {name: [] for name in set_ups}
    free: dict[str, list[float]] = {name: [] for name in set_ups}
    cpu: dict[str, list[float]] = {name: [] for name in set_ups}
    expected: dict[str, bytes] | None = None
    for _ in range(rounds):
        for name, (executor, workers) in set_ups.items():
            root = folder / "workers"
            link_clips(folder / "clips", root)
            idle, cpu_before = free_cores(), cpu_seconds()
            begin = perf_counter()
            stages = LabelConfig().stages()
            run_stages(stages, Workspace.open(root), RunConfig(executor=executor), workers=workers)
            times[name].append(perf_counter() - begin)
            free[name].append(idle)
            cpu[name].append(cpu_seconds() - cpu_before)
            labels = {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("panoptic/*"))}
            expected = expected or labels
            if labels != expected:
                raise SystemExit(f"{name} made other labels: nothing to compare")
            shutil.rmtree(root)
    frames = sum(1 for name in expected or {} if name.endswith(".png"))
    print(f"workers, {frames} frames, quality preset, until panoptic, start included; {rounds} rounds, equal bytes")
    for name, seconds in times.items():
        cores, own = statistics.median(free[name]), statistics.median(cpu[name])
        text = (
            "not measured" if name.startswith("ray") else f"{own:.1f} s"
        )  # its workers are no children of this process
        speed = frames / statistics.median(seconds)
        print(f"  {name:<16}{speed:6.2f} frames/s, CPU time {text}, {cores:.1f} cores free before the run")
    ratio = statistics.median(a / b for a, b in zip(times["1 process"], times["2 processes"], strict=True))
    idle = min(statistics.median(values) for values in free.values())
    if idle < FREE_CORES:
        print(f"only {idle:.1f} cores were free before the runs, {FREE_CORES} are needed: equal bytes, NOT MEASURED")
        return None
    fast = ratio >= WORKERS_BAR
    print(f"2 processes are {ratio:.2f}x as fast as 1 (bar {WORKERS_BAR}x): {'ok' if fast else 'MISSED'}")
    if with_ray:
        share = statistics.median(a / b for a, b in zip(times["2 processes"], times["ray, 2 workers"], strict=True))
        fast &= share >= RAY_BAR
        print(f"ray runs at {share:.2f} of 2 processes (bar {RAY_BAR}): {'ok' if share >= RAY_BAR else 'MISSED'}")
    return fast


def start_ray() -> None:
    import ray

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=40)


def measure_kills(folder: Path) -> bool:
    """Kill a pool of two at 50 random moments; labels must be those of a calm run."""
    calm, root = folder / "calm", folder / "killed"
    for target in (calm, root):
        link_clips(folder / "clips" / "clip_0", target)
    run_stages(LabelConfig().stages(), Workspace.open(calm), RunConfig(executor="inline"))
    command = [str(Path(sys.executable).with_name("videocups")), "label", str(root), "--workers", "2"]
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    rng, hits = random.Random(0), 0
    for _ in range(50):
        process = subprocess.Popen(
            command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        sleep(rng.uniform(1, 8))
        if process.poll() is None:
            hits += 1
            os.killpg(process.pid, 9)
        process.wait()
    subprocess.run(command, check=True, **quiet)
    equal = all_artefacts(calm) == all_artefacts(root)
    print(f"kills: {hits} of 50 hit a running pool; all artefacts as after a calm run: {'ok' if equal else 'MISSED'}")
    return equal


def all_artefacts(root: Path) -> dict[str, bytes]:
    files = (path for path in root.rglob("*") if path.is_file() and ".label" not in path.parts)
    return {str(path.relative_to(root)): path.read_bytes() for path in files if "frames" not in path.parts}


def warm_up(folder: Path) -> None:
    """Compile what numba compiles, once for all."""
    root = folder / "warm"
    render(root / "clips", 1, 4, "128x64")
    config = LabelConfig()
    config = replace(config, semantics=replace(config.semantics, kmeans=replace(config.semantics.kmeans, steps=5)))
    run_stages(config.stages(), Workspace.open(root / "clips"), RunConfig(executor="inline"))


def render(folder: Path, clips: int, frames: int, size: str) -> None:
    width, height = map(int, size.split("x"))
    for number in range(clips):
        world = World(WorldConfig(seed=11 + number, num_frames=frames, height=height, width=width, scenario="drive"))
        write_clip(world, folder / f"clip_{number}")


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
    sys.exit(main())
