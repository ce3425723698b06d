"""Images at 30 Hz from another process through the node, against the bare stream loop on the same images.

Also at three times that rate: newest wins, so the age of the output must stay bounded and every frame be accounted for.
Run inside a ROS environment: python benchmarks/node_throughput.py; the stand-in model on 1080p by default, or
--bundle ros2_ws/src/videocups_perception/models/street_small --size 256x512 --threads 2 for the shipped one.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
from machine import machine
from ros_bench import BUNDLE, Listener, NodeProcess, camera, world_images

from videocups_core.bundle import read_bundle
from videocups_core.engine import EngineConfig, create_engine
from videocups_core.stream import Stream
from videocups_core.types import PanopticFrame
from videocups_perception.conversions import stamp_ns
from videocups_perception.node_process import keep_large_buffers


@dataclass(frozen=True)
class Model:
    """What both sides run."""

    folder: Path
    threads: int

    def stream(self) -> Stream:
        """Return the bare loop."""
        bundle = read_bundle(self.folder)
        engine = create_engine(bundle, EngineConfig(device="cpu", threads=self.threads))
        engine.load()
        engine.warm_up()
        return Stream(bundle, engine)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rate", type=float, default=30.0)
    parser.add_argument("--seconds", type=float, default=6.0, help="of every round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--bundle", type=Path, default=BUNDLE)
    parser.add_argument("--size", default="1080x1920", metavar="HxW", help="of the images (default %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="of the network")
    options = parser.parse_args()
    model = Model(options.bundle.resolve(), options.threads)
    height, width = map(int, options.size.split("x"))
    keep_large_buffers()  # the bare loop gets what the node has
    print(f"machine: {machine()}; {model.folder.name} on {height}x{width}, {model.threads} inference threads")
    images = world_images(height, width, 8)
    frames = round(options.rate * options.seconds)
    listener = Listener()
    node = NodeProcess(bundle=model.folder, threads=model.threads)
    listener.wait_until_active()
    bare, steady = [], []
    try:
        for number in range(options.rounds):  # in turn, so that the machine's other work hits both alike
            bare.append(bare_fps(model, images, 60))
            print(f"round {number}: bare stream.step loop {bare[-1]:.1f} frames/s")
            before_s = node.cpu_s()
            steady.append(measure(listener, images, options.rate, frames))
            steady[-1]["cpu_ms"] = (node.cpu_s() - before_s) * 1e3 / max(steady[-1]["processed"], 1)
            print(f"round {number}: the node used {steady[-1]['cpu_ms']:.1f} ms of processor time a frame")
            report(f"round {number}: {options.rate:g} Hz", steady[-1])
            if number == 0 and steady[0]["lost"] == steady[0]["dropped"] == 0:
                check_equal(model, images, steady[0]["segments"])
        overload = measure(listener, images, 3 * options.rate, 3 * frames)
        report(f"{3 * options.rate:g} Hz", overload)
    finally:
        status = node.stop()
    reachable = min(options.rate, median(bare))
    missing = sum(row["lost"] + row["dropped"] for row in steady)
    print(f"node ended with status {status}")
    fps, age_ms = (median(row[name] for row in steady) for name in ("fps", "age_p95_ms"))
    print(
        f"throughput {fps / reachable:.3f} of the bare loop's {reachable:.1f} frames/s "
        f"at {options.rate:g} Hz (medians of {options.rounds}), {missing} of {frames * options.rounds} not processed, "
        f"age p95 {age_ms:.1f} ms; at 3x: age p95 {overload['age_p95_ms']:.1f} ms, "
        f"{overload['unaccounted']} frames unaccounted for"
    )


def bare_fps(model: Model, images: list[np.ndarray], frames: int) -> float:
    """Frames per second of the stream alone, from the median of its steps."""
    stream = model.stream()
    took_s = []
    for index in range(frames):
        start_s = time.perf_counter()
        stream.step(images[index % len(images)], index)
        took_s.append(time.perf_counter() - start_s)
    return 1.0 / median(took_s[frames // 4 :])


def measure(listener: Listener, images: list[np.ndarray], rate_hz: float, frames: int) -> dict:
    """Send ``frames`` images and do the books."""
    before = totals(listener)
    listener.forget()
    stamps, took_s = camera(images, rate_hz, frames)
    deadline_s = time.monotonic() + 3.0
    while listener.last_stamp_ns < stamps[-1] and time.monotonic() < deadline_s:
        time.sleep(0.05)
    time.sleep(1.2)  # one more bulletin of the diagnostics
    after = totals(listener)
    changed = {name: after.get(name, 0) - before.get(name, 0) for name in after}
    arrival_s, age_s = listener.arrival_s[1:], listener.age_s[1:]  # without the one that goes ahead
    span_s = arrival_s[-1] - arrival_s[0]
    dropped = sum(count for name, count in changed.items() if name.startswith("dropped_"))
    return {
        "sent": len(stamps),
        "sent_hz": frames / took_s,
        "fps": (len(arrival_s) - 1) / span_s,
        "processed": changed["processed"],
        "dropped": dropped,
        "lost": changed["lost_before_node"],
        "unaccounted": len(stamps) - changed["processed"] - dropped - changed["lost_before_node"],
        "published": len(age_s),
        "age_p50_ms": float(np.percentile(age_s, 50)) * 1e3,
        "age_p95_ms": float(np.percentile(age_s, 95)) * 1e3,
        "age_max_ms": max(age_s) * 1e3,
        "segments": listener.segments[1:],
    }


def totals(listener: Listener) -> dict[str, int]:
    names = ("received", "processed", "lost_before_node")
    values = listener.values("image")
    return {name: int(text) for name, text in values.items() if name in names or name.startswith("dropped_")}


def report(title: str, row: dict) -> None:
    print(
        f"{title}: sent {row['sent']} at {row['sent_hz']:.1f} Hz, processed {row['processed']}, dropped by the node "
        f"{row['dropped']}, lost before it {row['lost']}, unaccounted {row['unaccounted']}; {row['fps']:.1f} frames/s; "
        f"age p50 {row['age_p50_ms']:.1f}, p95 {row['age_p95_ms']:.1f}, max {row['age_max_ms']:.1f} ms"
    )


def check_equal(model: Model, images: list[np.ndarray], segments: list) -> None:
    """Compare the node's tables with the bare loop's, row by row."""
    stream = model.stream()
    stream.step(images[-1], 0)  # the one that goes ahead
    for index, message in enumerate(segments):
        frame: PanopticFrame = stream.step(images[index % len(images)], stamp_ns(message.header))
        expected = [(row.segment_id, row.track_id, row.class_id, row.area_px) for row in frame.segments]
        if expected != [(row.segment_id, row.track_id, row.class_id, row.area_px) for row in message.segments]:
            raise SystemExit(f"frame {index}: the node's table differs from the bare loop's")
    print(f"equal output: {len(segments)} tables are the bare loop's")


if __name__ == "__main__":
    main()
