"""How fast recordings become clips, and what a time window of a long recording costs.

    python benchmarks/ingest.py [--frames 60] [--rounds 3] [--window-size 640x360]

Speed: a raw 1080p mcap is ingested (read, decode, encode, write and flush clips), side by side with plainly reading the
same images through rosbags and JPEG-encoding them in a loop, in one process. The frames must be the same bytes first.
Window: the same 10 s of pictures out of a recording of 12 s and out of one of 120 s, each in a process of its own.
The last line holds the figures; the exit status is 1 if a bar is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter

os.environ.setdefault("OMP_NUM_THREADS", "1")

import cv2
import numpy as np
from machine import machine
from numpy.typing import NDArray
from rosbags.rosbag2 import Reader

from videocups.bags.image_source import BagImages, BagOptions
from videocups.bags.messages import IMAGE, new, new_header, ros2_types
from videocups.bags.writer import new_bag
from videocups.clips.cutting import CutConfig
from videocups.clips.ingest import StoreConfig, ingest
from videocups.synthetic.config import WorldConfig
from videocups.synthetic.world import World
from videocups_core.clip import find_clips

SPEED_BAR, WINDOW_BAR, MEMORY_BAR = 0.6, 1.2, 1.05
TOPIC, QUALITY, RATE_HZ, SHORT_S, LONG_S, WINDOW_S = "/camera/image_raw", 95, 10, 12, 120, 10
T0 = 1_700_000_000_000_000_000


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=60, help="1080p frames of the speed test")
    parser.add_argument("--rounds", type=int, default=3, help="repetitions; medians are taken")
    parser.add_argument("--window-size", default="640x360", help="image size of the window test")
    parser.add_argument("--child", nargs=3, metavar=("BAG", "START", "OUT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        return child(*options.child)
    cv2.setNumThreads(1)
    print(f"machine: {machine()}; Python {platform.python_version()}, OpenCV {cv2.__version__}")
    with tempfile.TemporaryDirectory(prefix="ingest-") as folder:
        speed = measure_speed(Path(folder), options.frames, options.rounds)
        windows = {s: measure_window(Path(folder), s, options.window_size, options.rounds) for s in ("mcap", "db3")}
    time_ratio = max(ratio for ratio, _ in windows.values())
    memory_ratio = max(ratio for _, ratio in windows.values())
    passed = speed >= SPEED_BAR and time_ratio <= WINDOW_BAR and memory_ratio <= MEMORY_BAR
    print(
        f"ingest runs at {speed:.2f} of plain read + JPEG (at least {SPEED_BAR}); a window of a 10x longer bag costs "
        f"{time_ratio:.2f}x the time (at most {WINDOW_BAR}) and {memory_ratio:.3f}x the memory (at most {MEMORY_BAR}): "
        f"{'ok' if passed else 'MISSED'}"
    )
    return 0 if passed else 1


def measure_speed(folder: Path, frames: int, rounds: int) -> float:
    """Return ingest's frames per second as a share of the plain loop's."""
    bag = write_bag(folder / "speed", frames, 1080, 1920, "mcap")
    times: dict[str, list[float]] = {"plain": [], "ingest": [], "ingest, 1 thread": []}
    for number in range(rounds):
        begin = perf_counter()
        blobs = list(plain(bag))
        times["plain"].append(perf_counter() - begin)
        for name, threads in (("ingest", 0), ("ingest, 1 thread", 1)):
            out = folder / f"clips-{number}-{threads}"
            begin = perf_counter()
            run_ingest(bag, out, BagOptions(), threads)
            times[name].append(perf_counter() - begin)
            if number == 0 and stored(out) != blobs:
                raise SystemExit("the ingested frames are not those of the plain loop: nothing to compare")
            shutil.rmtree(out)
    shutil.rmtree(bag)
    print(f"raw 1080p rgb8 mcap, {frames} frames, JPEG quality {QUALITY}, {rounds} rounds, equal bytes")
    for name, seconds in times.items():
        print(f"  {name:<17} {frames / statistics.median(seconds):7.1f} frames/s")
    return statistics.median(p / i for p, i in zip(times["plain"], times["ingest"], strict=True))


def plain(bag: Path) -> Iterator[bytes]:
    """Read every image through rosbags and encode it: the least anybody would do."""
    types = ros2_types()
    with Reader(bag) as reader:
        for connection, _, data in reader.messages():
            image = types.deserialize_cdr(data, connection.msgtype)
            rgb = image.data.reshape(image.height, image.width, 3)
            bgr = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
            yield cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()


def measure_window(folder: Path, storage: str, size: str, rounds: int) -> tuple[float, float]:
    """Return the ratios of time and of peak memory, long recording over short."""
    width, height = map(int, size.split("x"))
    bags = {
        seconds: write_bag(folder / f"{seconds}s", seconds * RATE_HZ, height, width, storage)
        for seconds in (SHORT_S, LONG_S)
    }
    seconds_of: dict[int, list[float]] = {SHORT_S: [], LONG_S: []}
    memory_of: dict[int, list[float]] = {SHORT_S: [], LONG_S: []}
    for _ in range(rounds):
        frames = set()
        for length, bag in bags.items():
            # Pictures repeat after SHORT_S seconds, so the window holds the same ones in both.
            start = 1.0 if length == SHORT_S else 1.0 + 5 * SHORT_S
            result = in_a_process(bag, start, folder / "window")
            seconds_of[length].append(result["seconds"])
            memory_of[length].append(result["peak_mb"])
            frames.add((result["frames"], result["bytes"]))
        if frames != {(WINDOW_S * RATE_HZ, result["bytes"])}:
            raise SystemExit(f"the windows differ: {frames}")
    for bag in bags.values():
        shutil.rmtree(bag)
    print(f"{WINDOW_S} s window, {size} raw {storage}, {rounds} rounds")
    for length in bags:
        middle = statistics.median
        print(f"  of {length:>3} s: {middle(seconds_of[length]):6.2f} s, peak {middle(memory_of[length]):6.1f} MB")
    return tuple(statistics.median(of[LONG_S]) / statistics.median(of[SHORT_S]) for of in (seconds_of, memory_of))


def in_a_process(bag: Path, start: float, out: Path) -> dict[str, float]:
    command = [sys.executable, __file__, "--child", str(bag), str(start), str(out)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    shutil.rmtree(out)
    return json.loads(done.stdout.splitlines()[-1])


def child(bag: str, start: str, out: str) -> int:
    """Ingest one window and print what it cost; runs in a process of its own."""
    window = BagOptions(start_s=float(start), end_s=float(start) + WINDOW_S)
    begin = perf_counter()
    frames = run_ingest(Path(bag), Path(out), window, 1)
    seconds = perf_counter() - begin
    # Not getrusage: there a process starts with the peak of the one that started it.
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    peak_mb = int(status["VmHWM"].split()[0]) / 1024
    size = sum(map(len, stored(Path(out))))
    print(json.dumps({"seconds": seconds, "peak_mb": peak_mb, "frames": frames, "bytes": size}))
    return 0


def run_ingest(bag: Path, out: Path, options: BagOptions, threads: int) -> int:
    source = BagImages(bag, options)
    try:
        return ingest(source, out, CutConfig(), StoreConfig(jpeg_quality=QUALITY), threads=threads).frames
    finally:
        source.close()


def stored(out: Path) -> list[bytes]:
    return [path.read_bytes() for clip in find_clips(out) for path in sorted((clip / "frames").iterdir())]


def write_bag(path: Path, frames: int, height: int, width: int, storage: str) -> Path:
    """Write a street picture that moves sideways, with sensor noise, so that JPEG has its usual work."""
    street = World(WorldConfig(num_frames=1, height=256, width=512)).frame(0).rgb
    picture = cv2.resize(street, (width, height), interpolation=cv2.INTER_CUBIC).astype(np.int16)
    noise = np.random.default_rng(0).normal(0, 3, picture.shape).astype(np.int16)
    with new_bag(path, storage=storage) as writer:
        for index in range(frames):
            shift = 8 * (index % (SHORT_S * RATE_HZ))
            image = np.clip(np.roll(picture, shift, axis=1) + np.roll(noise, 3 * shift, axis=0), 0, 255)
            stamp = T0 + index * 1_000_000_000 // RATE_HZ
            writer.write(TOPIC, stamp, image_message(image.astype(np.uint8), stamp))
    return path


def image_message(rgb: NDArray[np.uint8], stamp: int) -> object:
    height, width = rgb.shape[:2]
    fields = {"height": height, "width": width, "encoding": "rgb8", "is_bigendian": 0, "step": 3 * width}
    return new(IMAGE, header=new_header(stamp, "camera"), data=rgb.reshape(-1), **fields)


if __name__ == "__main__":
    sys.exit(main())
