"""What a stream costs around its network: preprocess, merge, track and encode, on one core.

    python benchmarks/stream_overhead.py [--frames N]

The network's outputs are made beforehand: 512×1024 px, 19 stuff classes in wavy regions, 30 moving ellipses among 100
padded detections, embeddings of 128 values. Encode means what a node hands out: segment ids and classes as bytes.
Times are processor times of one pinned thread, so that a busy machine's other work is not counted.
The last line is the figure: the median of the whole at 512×1024, to be at most 10 ms.
"""

from __future__ import annotations

import argparse
import array
import os
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from machine import machine

from videocups_core.bundle import ModelBundle
from videocups_core.engine.base import InputSpec, RawOutputs
from videocups_core.panoptic.merge import MergeTable, merge_panoptic
from videocups_core.stream import Stream
from videocups_core.tracking import Tracker
from videocups_core.types import ClassInfo, PanopticFrame

HEIGHT, WIDTH, OBJECTS, DETECTIONS, STUFF, DIMENSIONS = 512, 1024, 30, 100, 19, 128
FILM = 16  # frames made beforehand and shown again and again


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--frames", type=int, default=200, help="frames to measure (default 200)")
    frames = parser.parse_args().frames
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    cv2.setNumThreads(1)
    rng = np.random.default_rng(0)
    film = [make_outputs(index, *make_world()) for index in range(FILM)]
    images = {
        (HEIGHT, WIDTH): rng.integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8),
        (1080, 1920): rng.integers(0, 256, (1080, 1920, 3)).astype(np.uint8),
    }
    check(film)
    print(f"machine: {machine()}, pinned to one, {frames} frames, {OBJECTS} objects")
    print(f"{'camera':<11} {'preprocess':>10} {'merge':>7} {'track':>7} {'frame':>7} {'encode':>7} {'all':>7}   ms")
    totals = {}
    for size, image in images.items():
        parts = measure(film, image, frames)
        totals[size] = sum(parts.values())
        row = " ".join(f"{parts[name]:>{width}.2f}" for name, width in zip(parts, (10, 7, 7, 7, 7), strict=True))
        print(f"{size[1]:>4}×{size[0]:<6} {row} {totals[size]:>7.2f}")
    total = totals[HEIGHT, WIDTH]
    print(f"overhead at {HEIGHT}×{WIDTH}: {total:.2f} ms a frame (limit 10): {'ok' if total <= 10 else 'TOO SLOW'}")


def make_bundle() -> ModelBundle:
    """Return the description of a network of this size; there is no graph behind it."""
    stuff = [ClassInfo(index, f"stuff_{index}", False, (index, 0, 0)) for index in range(STUFF)]
    things = [ClassInfo(STUFF + index, f"thing_{index}", True, (0, index, 0)) for index in range(8)]
    return ModelBundle(Path(), "overhead", tuple(stuff + things), InputSpec(HEIGHT, WIDTH), "")


def make_world() -> tuple[np.ndarray, np.ndarray]:
    """Return the objects' (x, y, width, height, speed) and embeddings."""
    rng = np.random.default_rng(1)
    sizes = rng.uniform([24, 24], [260, 180], (OBJECTS, 2))
    places = rng.uniform([0, 150], [WIDTH, 420], (OBJECTS, 2))
    speeds = rng.uniform(-4, 4, (OBJECTS, 1))
    looks = rng.normal(0, 1, (OBJECTS, DIMENSIONS)).astype(np.float32)
    return np.hstack([places, sizes, speeds]), looks


def make_outputs(index: int, objects: np.ndarray, looks: np.ndarray) -> RawOutputs:
    """Return frame ``index`` of the film as the network would give it."""
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    waves = np.sin(x / 37 + index / 9) + np.sin(y / 23) + np.sin((x + 2 * y) / 61) + 0.15 * np.sin(x * 1.7) * np.sin(y)
    semantic = np.clip((waves + 3) / 6 * STUFF, 0, STUFF - 1).astype(np.uint8)
    left = (objects[:, 0] + objects[:, 4] * index) % WIDTH
    corners = np.stack([left, objects[:, 1], left + objects[:, 2], objects[:, 1] + objects[:, 3]], axis=1)
    boxes = np.zeros((DETECTIONS, 4), np.float32)
    boxes[:OBJECTS] = np.clip(corners, 0, [WIDTH, HEIGHT, WIDTH, HEIGHT])
    grid = np.linspace(-1, 1, 28)
    ellipse = np.clip((1.1 - np.hypot(*np.meshgrid(grid, grid))) * 400, 0, 255).astype(np.uint8)
    scores = np.zeros(DETECTIONS, np.float32)
    scores[:OBJECTS] = np.linspace(0.95, 0.55, OBJECTS)
    embeddings = np.zeros((DETECTIONS, DIMENSIONS), np.float32)
    embeddings[:OBJECTS] = looks
    return RawOutputs(
        semantic=semantic,
        masks=np.broadcast_to(ellipse, (DETECTIONS, 28, 28)).copy(),
        boxes=boxes,
        scores=scores,
        classes=STUFF + np.arange(DETECTIONS) % 8,
        embeddings=embeddings,
    )


def check(film: list[RawOutputs]) -> None:
    """Stop unless the work that is timed is done: every pixel owned, most objects seen, no id doubled."""
    bundle = make_bundle()
    stream = Stream(bundle, engine=None)  # type: ignore[arg-type]
    placement = stream.prepare(np.zeros((HEIGHT, WIDTH, 3), np.uint8)).placement
    for raw in film:
        frame = stream.finish(raw, placement, 0)
        visible = [row.track_id for row in frame.segments if row.is_thing and row.area_px]
        assert frame.segment_ids.min() > 0
        assert len(visible) == len(set(visible))
        assert len(visible) >= 0.6 * OBJECTS, f"only {len(visible)} objects are visible"


def measure(film: list[RawOutputs], image: np.ndarray, frames: int) -> dict[str, float]:
    """Return the median processor milliseconds of each part; ``frame`` is the table, the areas and the resolution."""
    bundle = make_bundle()
    stream, tracker, table = Stream(bundle, engine=None), Tracker(), MergeTable.from_classes(bundle.classes)  # type: ignore[arg-type]
    times: dict[str, list[float]] = {"preprocess": [], "merge": [], "track": [], "frame": [], "encode": []}

    def timed(name: str, work: Callable[[], object]) -> object:
        start = time.process_time()
        result = work()
        times[name].append((time.process_time() - start) * 1e3)
        return result

    for index in range(frames + 10):
        raw = film[index % len(film)]
        prepared = stream.prepare(image)
        timed("preprocess", lambda: stream.prepare(image))
        place = prepared.placement
        merged = timed(
            "merge",
            lambda raw=raw, place=place: merge_panoptic(raw, table, bundle.merge, place.network_hw, place.content_hw),
        )
        timed("track", lambda merged=merged: tracker.update(merged))  # type: ignore[arg-type]
        frame = timed("frame", lambda raw=raw, place=place: stream.finish(raw, place, 0))
        # finish() merges and tracks as well; what is left is its own share.
        times["frame"][-1] -= times["merge"][-1] + times["track"][-1]
        timed("encode", lambda frame=frame: encode(frame))  # type: ignore[arg-type]
    return {name: float(np.median(values[10:])) for name, values in times.items()}


def encode(frame: PanopticFrame) -> list[array.array[int]]:
    """Return segment ids and classes as message data: one copy each."""
    messages = []
    for image in (frame.segment_ids, frame.class_map()):
        data = array.array("B")
        data.frombytes(memoryview(image).cast("B"))
        messages.append(data)
    return messages


if __name__ == "__main__":
    main()
