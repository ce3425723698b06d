"""Time STQ and PQ on street-sized videos against straightforward NumPy and against merely comparing the two maps.

    python benchmarks/stq_speed.py [--frames 200] [--pq-frames 50]

Every frame is scored by both implementations and compared, all in one process on one thread, in changing order.
"Comparing once" is ``np.count_nonzero((pred_class == true_class) & (pred_id == true_id))`` on the same arrays.
The last lines are the figures; the exit status is 1 if a bar is missed.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import tracemalloc
from collections import defaultdict
from collections.abc import Callable, Iterator
from math import isclose, sqrt
from time import perf_counter

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from machine import machine
from numpy.typing import NDArray

from videocups.evaluate import PqAccumulator, StqAccumulator

HEIGHT, WIDTH, TUBES, NUM_CLASSES, VOID = 1024, 2048, 60, 19, 255
THINGS = tuple(range(11, 19))
STQ_BAR, PQ_BAR, COMPARE_BAR = 20.0, 8.0, 5.0
Maps = tuple[NDArray[np.uint8], NDArray[np.integer], NDArray[np.uint8], NDArray[np.integer]]
Sizes = dict[int, int]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=200, help="frames of the STQ video")
    parser.add_argument("--pq-frames", type=int, default=50, help="images of the PQ set")
    options = parser.parse_args()
    print(f"machine: {machine()}; Python {platform.python_version()}, NumPy {np.__version__}, one thread")
    print(f"frames {HEIGHT}x{WIDTH}, {TUBES} true and {TUBES} predicted tubes, {NUM_CLASSES} classes, void and crowd")
    passed, figures = True, []
    for dtype in (np.uint16, np.int32):
        lines, good = measure_stq(options.frames, np.dtype(dtype))
        figures, passed = figures + lines, passed and good
    lines, good = measure_pq(options.pq_frames)
    print("\n".join([*figures, *lines, memory_line()]))
    return 0 if passed and good else 1


def measure_stq(count: int, id_dtype: np.dtype[np.integer]) -> tuple[list[str], bool]:
    """Time three readings of the same video; the scores must agree first."""
    naive, ours = NaiveStq(), StqAccumulator(THINGS, NUM_CLASSES, VOID)
    ours.update("warm-up", next(video(1, id_dtype)))  # compiles, or loads the compiled code
    ours = StqAccumulator(THINGS, NUM_CLASSES, VOID)
    times = timed_side_by_side(
        video(count, id_dtype), {"naive": naive.update, "ours": lambda f: ours.update("v", f), "compare": compare_once}
    )
    start = perf_counter()
    expected = naive.result()
    naive_end = perf_counter() - start
    start = perf_counter()
    result = ours.result()
    ours_end = perf_counter() - start
    for name, got, want in zip(("STQ", "AQ", "SQ"), (result.stq, result.aq, result.sq), expected, strict=True):
        if not isclose(got, want, abs_tol=1e-9):
            raise SystemExit(f"{name} differs: {got!r}, straightforward NumPy says {want!r}")
    total = {"naive": sum(times["naive"]) + naive_end, "ours": sum(times["ours"]) + ours_end}
    speed_up, compare = total["naive"] / total["ours"], total["ours"] / sum(times["compare"])
    label = f"STQ, {id_dtype} ids, {count} frames"
    print(f"{label}: same result, STQ {result.stq:.6f} AQ {result.aq:.6f} SQ {result.sq:.6f}")
    return [
        medians(label, times),
        f"{label}: {speed_up:.1f}x straightforward NumPy (bar {STQ_BAR:.0f}x); "
        f"{compare:.2f}x the time of comparing the maps once (bar {COMPARE_BAR:.0f}x)",
    ], speed_up >= STQ_BAR and compare <= COMPARE_BAR


def measure_pq(count: int) -> tuple[list[str], bool]:
    """Time PQ over separate images; the match counts must agree first."""
    naive, ours = NaivePq(), PqAccumulator(THINGS, NUM_CLASSES, VOID)
    times = timed_side_by_side(
        video(count, np.dtype(np.int32)), {"naive": naive.update, "ours": lambda f: ours.update("images", f)}
    )
    result = ours.result()
    for class_id, scores in enumerate(result.per_class):
        counts = scores.counts
        if [counts.tp, counts.fp, counts.fn] != naive.counts[class_id] or not isclose(
            counts.iou_sum, naive.iou_sum[class_id], abs_tol=1e-9
        ):
            raise SystemExit(f"PQ counts of class {class_id} differ: {counts}, expected {naive.counts[class_id]}")
    ratio = sum(times["naive"]) / sum(times["ours"])
    print(f"PQ, int32 ids, {count} images: same counts, PQ {result.pq:.6f}")
    line = f"PQ, int32 ids, {count} images: {ratio:.1f}x straightforward NumPy (bar {PQ_BAR:.0f}x)"
    return [medians(f"PQ, int32 ids, {count} images", times), line], ratio >= PQ_BAR


def timed_side_by_side(frames: Iterator[Maps], jobs: dict[str, Callable[[Maps], object]]) -> dict[str, list[float]]:
    """Run every job on every frame in rotating order; return seconds per frame."""
    times: dict[str, list[float]] = {name: [] for name in jobs}
    names = list(jobs)
    for index, frame in enumerate(frames):
        shift = index % len(names)
        for name in names[shift:] + names[:shift]:
            start = perf_counter()
            jobs[name](frame)
            times[name].append(perf_counter() - start)
        if sys.stderr.isatty():
            print(f"\rframe {index + 1}", end="", file=sys.stderr)
    return times


def video(count: int, id_dtype: np.dtype[np.integer]) -> Iterator[Maps]:
    """Yield frames from a small pool of scenes; everything drifts sideways, at different speeds in the two maps."""
    rng = np.random.default_rng(7)
    truth_pool = [scene(rng, id_dtype, crowd=True) for _ in range(2)]
    pred_pool = [spoiled(rng, *truth) for truth in truth_pool]
    for index in range(count):
        maps = (*pred_pool[index // 20 % 2], *truth_pool[index // 20 % 2])
        yield tuple(np.roll(m, 5 * index + index // 9 * (k < 2), axis=1) for k, m in enumerate(maps))  # type: ignore[misc]


def scene(
    rng: np.random.Generator, id_dtype: np.dtype[np.integer], crowd: bool
) -> tuple[NDArray[np.uint8], NDArray[np.integer]]:
    """Bands of stuff with wavy borders, and 60 elliptic things on them."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    height = rows + 20 * np.sin(columns / 35) + 6 * np.sin(columns / 7)
    classes = np.clip(height / (HEIGHT / 11), 0, 10).astype(np.uint8)
    classes[height > HEIGHT - 60] = VOID
    ids = np.zeros((HEIGHT, WIDTH), dtype=id_dtype)
    for tube in range(TUBES):
        y, x = rng.uniform(300, 900), rng.uniform(0, WIDTH)
        inside = ((rows - y) / rng.uniform(15, 120)) ** 2 + ((columns - x) / rng.uniform(15, 90)) ** 2 < 1
        classes[inside] = THINGS[tube % len(THINGS)]
        ids[inside] = 0 if crowd and tube % 15 == 0 else 1000 + tube
    return classes, ids


def spoiled(
    rng: np.random.Generator, classes: NDArray[np.uint8], ids: NDArray[np.integer]
) -> tuple[NDArray[np.uint8], NDArray[np.integer]]:
    """Return a prediction: shifted by a few pixels, void filled, some things of another class, some blocks void."""
    classes, ids = np.roll(classes, 6, axis=(0, 1)), np.roll(ids, 6, axis=(0, 1))
    classes[classes == VOID] = 0
    for tube in range(0, TUBES, 7):
        classes[ids == 1000 + tube] = THINGS[(tube + 1) % len(THINGS)]
    for _ in range(6):
        y, x = rng.integers(0, HEIGHT - 60), rng.integers(0, WIDTH - 60)
        classes[y : y + 60, x : x + 60] = VOID
        ids[y : y + 60, x : x + 60] = 0
    return classes, ids


def compare_once(frame: Maps) -> int:
    pred_class, pred_id, true_class, true_id = frame
    return int(np.count_nonzero((pred_class == true_class) & (pred_id == true_id)))


class NaiveStq:
    """STQ as one would write it in an afternoon: np.unique of (class, id) labels packed into integers."""

    def __init__(self) -> None:
        self.confusion = np.zeros((VOID + 1, VOID + 1), dtype=np.int64)
        self.truth: Sizes = defaultdict(int)
        self.prediction: Sizes = defaultdict(int)
        self.overlap: dict[tuple[int, int], int] = defaultdict(int)

    def update(self, frame: Maps) -> None:
        """Add a frame; 16 bits an id are enough for this video, and packing them is the fast way to stack them."""
        pred_class, pred_id, true_class, true_id = (m.ravel().astype(np.int64) for m in frame)
        codes, counts = np.unique(true_class * (VOID + 1) + pred_class, return_counts=True)
        self.confusion[codes // (VOID + 1), codes % (VOID + 1)] += counts
        true_thing, pred_thing = np.isin(true_class, THINGS), np.isin(pred_class, THINGS)
        crowd = true_thing & (true_id == 0)
        truth, prediction = true_class << 16 | true_id, pred_class << 16 | pred_id
        for sizes, labels in (
            (self.truth, truth[true_thing & ~crowd]),
            (self.prediction, prediction[pred_thing & ~crowd]),
        ):
            for label, count in zip(*np.unique(labels, return_counts=True), strict=True):
                sizes[int(label)] += int(count)
        both = true_thing & pred_thing & ~crowd
        pairs, counts = np.unique(truth[both] << 32 | prediction[both], return_counts=True)
        for pair, count in zip(pairs.tolist(), counts.tolist(), strict=True):
            self.overlap[pair >> 32, pair & 0xFFFFFFFF] += count

    def result(self) -> tuple[float, float, float]:
        """Return STQ, AQ and SQ, by a loop over all pairs of tubes."""
        total = 0.0
        for true_label, true_size in self.truth.items():
            inner = 0.0
            for pred_label, pred_size in self.prediction.items():
                overlap = self.overlap.get((true_label, pred_label), 0)
                inner += overlap * overlap / (true_size + pred_size - overlap)
            total += inner / true_size
        aq = total / len(self.truth)
        labelled = self.confusion.copy()
        labelled[VOID] = 0
        union = labelled.sum(0) + labelled.sum(1) - labelled.diagonal()
        sq = float((labelled.diagonal()[union > 0] / union[union > 0]).mean())
        return sqrt(aq * sq), aq, sq


class NaivePq:
    """PQ the same way: np.unique over stacked labels of one image, then a loop over the pairs."""

    def __init__(self) -> None:
        self.counts: dict[int, list[int]] = defaultdict(lambda: [0, 0, 0])
        self.iou_sum: dict[int, float] = defaultdict(float)

    def update(self, frame: Maps) -> None:
        """Match the segments of one image."""
        pred_class, pred_id, true_class, true_id = (m.ravel().astype(np.int64) for m in frame)
        truth, prediction = true_class << 16 | true_id, pred_class << 16 | pred_id
        pairs, counts = (a.tolist() for a in np.unique(truth << 32 | prediction, return_counts=True))
        overlap = {(pair >> 32, pair & 0xFFFFFFFF): n for pair, n in zip(pairs, counts, strict=True)}
        true_size = dict(zip(*(a.tolist() for a in np.unique(truth, return_counts=True)), strict=True))
        pred_size = dict(zip(*(a.tolist() for a in np.unique(prediction, return_counts=True)), strict=True))
        void, matched = VOID << 16, set()
        for (t, p), n in overlap.items():
            crowd = t >> 16 in THINGS and t & 0xFFFF == 0
            iou = n / (true_size[t] + pred_size[p] - n - overlap.get((void, p), 0))
            if t >> 16 == p >> 16 and t != void and not crowd and iou > 0.5:
                self.counts[t >> 16][0] += 1
                self.iou_sum[t >> 16] += iou
                matched |= {("t", t), ("p", p)}
        for p, size in pred_size.items():
            own_crowd = p >> 16 << 16
            ignored = overlap.get((void, p), 0) + (overlap.get((own_crowd, p), 0) if p >> 16 in THINGS else 0)
            if p != void and ("p", p) not in matched and ignored / size <= 0.5:
                self.counts[p >> 16][1] += 1
        for t in true_size:
            if t != void and ("t", t) not in matched and not (t >> 16 in THINGS and t & 0xFFFF == 0):
                self.counts[t >> 16][2] += 1


def memory_line() -> str:
    """Peak of Python and NumPy memory while scoring a short and a ten times longer video of the same tubes."""
    peaks = []
    for count in (8, 80):
        accumulator = StqAccumulator(THINGS, NUM_CLASSES, VOID)
        frame = next(video(1, np.dtype(np.uint16)))
        tracemalloc.start()
        for index in range(count):
            accumulator.update("v", tuple(np.roll(m, index % 8, axis=1) for m in frame))  # type: ignore[arg-type]
        peaks.append(tracemalloc.get_traced_memory()[1] / 2**20)
        tracemalloc.stop()
    return f"memory, STQ: peak {peaks[0]:.1f} MiB over 8 frames, {peaks[1]:.1f} MiB over 80"


def medians(label: str, times: dict[str, list[float]]) -> str:
    parts = (f"{name} {1e3 * statistics.median(values):.2f} ms" for name, values in times.items())
    return f"{label}: median per frame: {', '.join(parts)}"


if __name__ == "__main__":
    sys.exit(main())
