"""What a rendered frame costs at 256x512 on one core, with all its truth.

Processor time, so that a busy neighbour counts as little as it can; medians over frames, several streets.
"""

from __future__ import annotations

import argparse
import time
from statistics import median

from machine import machine

from videocups.synthetic import World, WorldConfig

STREETS = (("city", 0), ("city", 2), ("city", 6), ("suburb", 2), ("suburb", 4), ("suburb", 7))
TRUTH = ("rgb", "class_map", "track_map", "depth_m", "flow_fw_px", "flow_bw_px", "occluded_fw", "occluded_bw")
WARM_UP_FRAMES = 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=20)
    options = parser.parse_args()
    print(f"machine: {machine()}; 256x512, {options.frames} frames a street, one process")
    print("setting  seed  median ms  least ms  most ms")
    medians = []
    for setting, seed in STREETS:
        costs_ms = frame_costs_ms(setting, seed, options.frames)
        medians.append(median(costs_ms))
        print(f"{setting:7}  {seed:4}  {medians[-1]:9.1f}  {min(costs_ms):8.1f}  {max(costs_ms):7.1f}")
    print(f"a frame: {median(medians):.1f} ms of processor time, worst street {max(medians):.1f} (bar: <= 80)")


def frame_costs_ms(setting: str, seed: int, frames: int) -> list[float]:
    """Return the processor time of each frame of one drive, after a short warm-up."""
    world = World(WorldConfig(seed=seed, setting=setting, num_frames=frames + WARM_UP_FRAMES, height=256, width=512))
    costs_ms = []
    for index in range(frames + WARM_UP_FRAMES):
        begin = time.process_time()
        frame = world.frame(index)
        for name in TRUTH:  # made when it is first asked for
            getattr(frame, name)
        costs_ms.append((time.process_time() - begin) * 1e3)
    return costs_ms[WARM_UP_FRAMES:]


if __name__ == "__main__":
    main()
