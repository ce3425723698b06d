"""Exact region growing, compiled, against the whole edge graph in NumPy and SciPy: same partition, how much faster.

    python benchmarks/region_growing.py [--repeat N] [--out FILE]

640×1280, 20 % of the pixels move, Chebyshev radius 8, τ_d .02, τ_f .04. Two cue fields: "street": forty moving things
with smooth flow and depth and a little noise, as cues are; "noise": flow so rough that hardly a pair joins, the worst
case. Times are processor times of one pinned core; medians.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import cv2
import numpy as np
from labelled_clips import heading
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from videocups.instances.region_growing import RegionGrowingConfig, grow_regions

HEIGHT, WIDTH, SHARE = 640, 1280, 0.2
LIMIT_MS, LIMIT_RATIO = 150, 90
CONFIG = RegionGrowingConfig()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--repeat", type=int, default=1, help="runs of the slow version; the fast one takes 9 times")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    cv2.setNumThreads(1)
    lines = [
        heading("Exact region growing at 640×1280, radius 8"),
        "| cues | moving | regions | compiled | NumPy + SciPy | ratio |",
        "|---|---|---|---|---|---|",
    ]
    for name, cues in (("street", street()), ("noise", noise())):
        fast, slow = grow_regions(*cues, CONFIG), edge_graph(*cues)
        if not same_partition(fast, slow):
            raise SystemExit(f"the partitions of {name!r} differ")
        fast_ms = 1e3 * median(lambda c=cues: grow_regions(*c, CONFIG), 9 * options.repeat)
        slow_ms = 1e3 * median(lambda c=cues: edge_graph(*c), options.repeat)
        moving = (cues[0] > CONFIG.motion_threshold).mean()
        times = f"{fast_ms:.0f} ms | {slow_ms / 1e3:.1f} s | {slow_ms / fast_ms:.0f}×"
        lines.append(f"| {name} | {moving:.1%} | {fast.max()} | {times} |")
    lines += ["", f"Limits for street: {LIMIT_MS} ms, {LIMIT_RATIO}×. The partitions are identical."]
    print("\n".join(lines))
    if options.out:
        options.out.write_text("\n".join(lines) + "\n")


def street() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return motion, depth and flow of forty things that together cover a fifth of the image."""
    rng = np.random.default_rng(0)
    motion = np.zeros((HEIGHT, WIDTH), np.float32)
    depth = np.full((HEIGHT, WIDTH), 30, np.float32)
    flow = np.zeros((HEIGHT, WIDTH, 2), np.float32)
    row, column = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    while (motion > 0).mean() < SHARE:
        center, radius = rng.uniform((100, 0), (560, WIDTH)), rng.uniform((20, 30), (60, 110))
        inside = ((row - center[0]) / radius[0]) ** 2 + ((column - center[1]) / radius[1]) ** 2 < 1
        motion[inside] = 0.9
        depth[inside] = rng.uniform(5, 40)
        flow[inside] = rng.uniform(-12, 12, 2)
        expansion = rng.uniform(-0.02, 0.02)
        flow[inside] += expansion * np.stack([column - center[1], row - center[0]], axis=2)[inside]
    flow += cv2.GaussianBlur(rng.normal(0, 1, flow.shape).astype(np.float32), (0, 0), 3)
    depth *= 1 + 0.02 * cv2.GaussianBlur(rng.normal(0, 1, depth.shape).astype(np.float32), (0, 0), 3)
    return motion, depth, flow


def noise() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return cues so rough that labels hardly ever settle."""
    rng = np.random.default_rng(1)
    blob = cv2.GaussianBlur(rng.normal(0, 1, (HEIGHT, WIDTH)).astype(np.float32), (0, 0), 12)
    motion = (blob > np.quantile(blob, 1 - SHARE)).astype(np.float32)
    depth = (10 * (1 + 0.02 * rng.normal(0, 1, (HEIGHT, WIDTH)))).astype(np.float32)
    flow = (5 + rng.normal(0, 0.3, (HEIGHT, WIDTH, 2))).astype(np.float32)
    return motion, depth, flow


def edge_graph(motion: np.ndarray, depth: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """Write down every joined pair and let SciPy find the components: the plain reading of Eq. 1."""
    active = motion > CONFIG.motion_threshold
    length = np.maximum(np.linalg.norm(flow, axis=2), CONFIG.flow_floor_px)
    index = np.arange(active.size).reshape(active.shape)
    firsts, seconds = [], []
    r = CONFIG.radius_px
    for down in range(r + 1):
        for right in range(-r, r + 1):
            if down == 0 and right <= 0:
                continue
            here = slice(0, HEIGHT - down), slice(max(0, -right), WIDTH - max(0, right))
            there = slice(down, HEIGHT), slice(max(0, right), WIDTH - max(0, -right))
            gap = np.linalg.norm(flow[here] - flow[there], axis=2)
            apart = np.abs(depth[here] - depth[there])
            joined = np.zeros(gap.shape, bool)
            for end in (here, there):
                near = gap < CONFIG.flow_tolerance * length[end]
                joined |= near & (apart < CONFIG.depth_tolerance * np.abs(depth[end]))
            joined &= active[here] & active[there]
            firsts.append(index[here][joined])
            seconds.append(index[there][joined])
    first, second = np.concatenate(firsts), np.concatenate(seconds)
    graph = coo_matrix((np.ones(len(first), bool), (first, second)), shape=(active.size, active.size))
    labels = connected_components(graph, directed=False)[1].reshape(active.shape)
    return np.where(active, labels + 1, 0)


def same_partition(first: np.ndarray, second: np.ndarray) -> bool:
    """Return whether two maps part the pixels alike, whatever the numbers."""
    pairs = np.unique(first.ravel().astype(np.int64) << 32 | second.ravel())
    return len(np.unique(pairs >> 32)) == len(np.unique(pairs & 0xFFFFFFFF)) == len(pairs)


def median(call: Callable[[], object], times: int) -> float:
    """Return the median processor time of a call in seconds."""
    taken = []
    for _ in range(times):
        start = time.process_time()
        call()
        taken.append(time.process_time() - start)
    return float(np.median(taken))


if __name__ == "__main__":
    main()
