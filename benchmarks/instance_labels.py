"""How fast the classical instance branch is from frames to tracks, and whether time and memory stay in proportion.

    python benchmarks/instance_labels.py [--frames N] [--out FILE]

A rendered street at 640×1280; survey, flow both ways, cues, growing, completion and tracking on one pinned core, on
frames in memory. Times are processor times. Quality: recall / precision at IoU 0.5 of moving objects above 600 px
at this size, every frame, of the same run. Memory: the process's peak after a clip and after one three times as long,
frames left out.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import cv2
from labelled_clips import WorldClip, heading

from videocups.instances.quality import MaskQuality
from videocups.label.config import PRESETS
from videocups.label.instance_labels import label_instances
from videocups.synthetic import WorldConfig

WANTED = {"fast": "2.0", "quality": "0.7", "thorough": "-"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--frames", type=int, default=8, help="frames of the short clip (default 8)")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    clip = WorldClip(WorldConfig(seed=1001, num_frames=options.frames, height=640, width=1280, scenario="turn"))
    for index in range(options.frames):
        clip.rgb(index)  # rendered before the children are forked
    lines = [
        heading("Instance labels at 640×1280 on one core"),
        "| preset | frames | s/frame | frames/s | wanted | R / P > 600 px | peak memory |",
        "|---|---|---|---|---|---|---|",
    ]
    for preset in PRESETS:
        for repeat in (1, 3):
            seconds, quality, peak_mb = in_child(clip, preset, repeat)
            count = options.frames * repeat
            lines.append(
                f"| {preset} | {count} | {seconds / count:.2f} | {count / seconds:.2f} | {WANTED[preset]} | "
                f"{quality.recall(600):.2f} / {quality.precision(600):.2f} | {peak_mb:.0f} MB |"
            )
    print("\n".join(lines))
    if options.out:
        options.out.write_text("\n".join(lines) + "\n")


def in_child(clip: WorldClip, preset: str, repeat: int) -> tuple[float, MaskQuality, float]:
    """Measure in a process of its own: peak memory never falls."""
    context = multiprocessing.get_context("fork")
    receiving, sending = context.Pipe(duplex=False)
    child = context.Process(target=lambda: sending.send(measure(clip, preset, repeat)))
    child.start()
    answer = receiving.recv()
    child.join()
    return answer


def measure(clip: WorldClip, preset: str, repeat: int) -> tuple[float, MaskQuality, float]:
    """Label the clip ``repeat`` times back and forth, as one long clip."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    cv2.setNumThreads(1)
    once = len(clip)
    forth_and_back = [*range(once), *range(once - 2, 0, -1)]
    order = [forth_and_back[index % len(forth_and_back)] for index in range(once * repeat)]
    list(label_instances(clip.rgb, 3, clip.camera, PRESETS[preset]))  # compile first
    quality, seconds, start = MaskQuality(), 0.0, time.process_time()
    for labels in label_instances(lambda index: clip.rgb(order[index]), len(order), clip.camera, PRESETS[preset]):
        seconds += time.process_time() - start
        quality.add(labels.tracks, clip.truth(order[labels.cues.index]).objects)
        start = time.process_time()
    return seconds, quality, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
