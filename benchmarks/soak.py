"""Frame after frame through the node process: memory, threads, descriptors, tables and latency must stay what they are.

Run inside a ROS environment: python benchmarks/soak.py --frames 100000
"""

from __future__ import annotations

import argparse
import time
from statistics import median

import numpy as np
from machine import machine
from ros_bench import Listener, NodeProcess, serialized, stamped, world_images


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=100_000)
    parser.add_argument("--size", type=int, nargs=2, default=(256, 512), metavar=("HEIGHT", "WIDTH"))
    options = parser.parse_args()
    print(f"machine: {machine()}; {options.frames} frames of {options.size[1]}x{options.size[0]}")
    listener = Listener(keep=False)
    node = NodeProcess(input_reliability="reliable")
    listener.wait_until_active()
    try:
        rows, latencies_s = run(listener, node, options.frames, options.size)
    finally:
        status = node.stop()
    warm = len(rows) // 5  # the first fifth warms up
    frames = np.array([row["frame"] for row in rows[warm:]])
    rss_mb = np.array([row["rss_mb"] for row in rows[warm:]])
    slope_mb = float(np.polyfit(frames, rss_mb, 1)[0]) * 10_000
    fifth = len(latencies_s) // 5
    early_ms, late_ms = (median(part) * 1e3 for part in (latencies_s[fifth : 2 * fifth], latencies_s[-fifth:]))
    for name in ("rss_mb", "threads", "fds", "tracks"):
        values = [row[name] for row in rows[warm:]]
        print(f"{name}: first {values[0]:g}, least {min(values):g}, most {max(values):g}, last {values[-1]:g}")
    print(f"latency median: {early_ms:.2f} ms in the second fifth, {late_ms:.2f} ms in the last; ended with {status}")
    cpu_ms = np.diff([row["cpu_s"] for row in rows]) * 1e3 / (rows[1]["frame"] - rows[0]["frame"])
    part = max(len(cpu_ms) // 5, 1)
    early_cpu_ms, late_cpu_ms = float(np.median(cpu_ms[part : 2 * part])), float(np.median(cpu_ms[-part:]))
    print(f"processor time a frame: {early_cpu_ms:.2f} ms in the second fifth, {late_cpu_ms:.2f} ms in the last")
    print(
        f"memory slope {slope_mb:.3f} MB per 10,000 frames over {options.frames} frames, "
        f"late/early: latency {late_ms / early_ms:.3f}, processor time {late_cpu_ms / early_cpu_ms:.3f}"
    )


def run(listener: Listener, node: NodeProcess, frames: int, size: tuple[int, int]) -> tuple[list[dict], list[float]]:
    """Send each image when the answer to the last one is there; sample the process now and then."""
    messages = serialized(world_images(*size, 240))
    rows, latencies_s = [], []
    every = max(frames // 200, 1)
    begin_s = time.monotonic()
    for index in range(frames):
        stamp_ns, start_s = time.time_ns(), time.monotonic()
        with listener.answered:
            listener.images.publish(stamped(messages[index % len(messages)], stamp_ns))
            if not listener.answered.wait_for(lambda stamp_ns=stamp_ns: listener.last_stamp_ns == stamp_ns, timeout=5):
                raise SystemExit(f"no answer to frame {index}")
        latencies_s.append(time.monotonic() - start_s)
        if index % every == every - 1:
            tracks = float(listener.values("inference").get("tracks", "nan"))
            rows.append({"frame": index, "tracks": tracks, "cpu_s": node.cpu_s(), **node.resources()})
            listener.forget()
        if index % (every * 20) == every * 20 - 1:
            rate = (index + 1) / (time.monotonic() - begin_s)
            print(f"{index + 1} frames, {rate:.0f}/s, {rows[-1]['rss_mb']:.1f} MB", flush=True)
    return rows, latencies_s


if __name__ == "__main__":
    main()
