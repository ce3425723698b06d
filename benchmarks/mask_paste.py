"""What pasting masks inside the graph would cost, against core's paste outside of it, on one core of this machine.

    python benchmarks/mask_paste.py [--runs N] [--write FILE]

The graph enlarges each of K masks to the whole image (GridSample, which TensorRT builds) at stride 1 and 4, whatever
its score; core enlarges a mask to its own box, and only if its detection passes the threshold. Both paste the same
drawn detections and are compared first. Processor times of one pinned thread, so that other work is not counted.
"""

from __future__ import annotations

import argparse
import datetime
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import cv2
import numpy as np
import onnx
import onnxruntime
from machine import machine
from onnx import TensorProto, helper, numpy_helper

from videocups_core.engine.base import RawOutputs
from videocups_core.panoptic.merge import MergeConfig, MergeTable, merge_panoptic
from videocups_core.types import ClassInfo

CELLS = 28
SIGHTED = 12  # detections above the threshold
SIZES = {"shipped": (256, 512, 50), "published": (640, 1280, 100)}
CLASSES = (ClassInfo(0, "road", False, (0, 0, 0)), ClassInfo(1, "car", True, (255, 0, 0)))
TABLE = MergeTable.from_classes(CLASSES)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10, help="timed runs of each (default 10)")
    parser.add_argument("--write", type=Path, metavar="FILE")
    options = parser.parse_args()
    name = machine()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    cv2.setNumThreads(1)
    lines = [
        f"{datetime.date.today().isoformat()}, {name}, pinned to one; onnxruntime {onnxruntime.__version__}. "
        f"Medians of {options.runs}; {SIGHTED} detections above the threshold.",
        "",
        f"{'input':<10} {'K':>4}  {'where':<18} {'ms':>8} {'MB out':>8} {'least IoU':>10}",
    ]
    for size, (height, width, count) in SIZES.items():
        raw = detections(height, width, count)
        for stride in (1, 4):
            paste = graph_paste(height, width, count, stride)
            overlap = least_overlap(paste(raw), raw, stride)
            assert stride > 1 or overlap > 0.9, f"the graph pastes other objects: IoU {overlap:.3f}"
            took_ms = milliseconds(partial(paste, raw), options.runs)
            size_bytes = count * height * width // stride**2
            lines.append(row(size, count, f"graph, stride {stride}", took_ms, size_bytes, overlap))
        took_ms = milliseconds(partial(core_paste, raw), options.runs)
        took_ms -= milliseconds(partial(core_paste, without(raw)), options.runs)
        lines.append(row(size, count, "core, its share", took_ms, count * CELLS**2, 1))
    text = "\n".join(lines) + "\n"
    print(text, end="")
    if options.write:
        options.write.write_text(text)


def detections(height: int, width: int, count: int) -> RawOutputs:
    """Draw boxes of all sizes with ellipses in them; the best are above the threshold."""
    rng = np.random.default_rng(0)
    low = rng.uniform(0, 0.8, (count, 2)) * (width, height)
    boxes = np.hstack([low, low + rng.uniform(0.06, 0.2, (count, 2)) * (width, height)]).astype(np.float32)
    y, x = np.mgrid[:CELLS, :CELLS] / (CELLS - 1) * 2 - 1
    ellipse = np.clip(510 * (1.1 - np.hypot(x, y)), 0, 255).astype(np.uint8)
    scores = np.where(np.arange(count) < SIGHTED, 0.9, 0.1).astype(np.float32)
    return RawOutputs(
        semantic=np.zeros((height, width), np.uint8),
        masks=np.repeat(ellipse[None], count, 0),
        boxes=boxes,
        scores=scores,
        classes=np.ones(count, np.int64),
        embeddings=np.zeros((count, 8), np.float32),
    )


def without(raw: RawOutputs) -> RawOutputs:
    """Return the same image with nobody in it: what the merge costs anyway."""
    return RawOutputs(raw.semantic, raw.masks, raw.boxes, raw.scores * 0, raw.classes, raw.embeddings)


def core_paste(raw: RawOutputs) -> np.ndarray:
    height, width = raw.semantic.shape
    return merge_panoptic(raw, TABLE, MergeConfig(overlap_threshold=1.0), (height, width)).labels


def graph_paste(height: int, width: int, count: int, stride: int) -> Callable[[RawOutputs], np.ndarray]:
    """Return the paste as a graph: (K, H/s, W/s) uint8 of 0 and 1."""
    grid = np.stack(np.meshgrid(np.arange(0, width, stride), np.arange(0, height, stride)), -1) + stride / 2
    constants = {
        "centres": grid[None].astype(np.float32), "two": np.float32(2), "one": np.float32(1),
        "half": np.float32(127.5), "channel": np.array([1], np.int64), "places": np.array([1, 2], np.int64),
        "corners": np.array([2, 2], np.int64),
    }  # fmt: skip
    make = helper.make_node
    nodes = [
        make("Split", ["boxes", "corners"], ["low0", "high0"], axis=1),
        make("Unsqueeze", ["low0", "places"], ["low"]),
        make("Unsqueeze", ["high0", "places"], ["high"]),
        make("Sub", ["high", "low"], ["size"]),
        make("Sub", ["centres", "low"], ["inside"]),
        make("Div", ["inside", "size"], ["share"]),
        make("Mul", ["share", "two"], ["share2"]),
        make("Sub", ["share2", "one"], ["grid"]),
        make("Cast", ["masks"], ["masks1"], to=TensorProto.FLOAT),
        make("Unsqueeze", ["masks1", "channel"], ["masks2"]),
        make("GridSample", ["masks2", "grid"], ["found"], mode="bilinear", padding_mode="zeros", align_corners=0),
        make("Greater", ["found", "half"], ["over"]),
        make("Cast", ["over"], ["pasted0"], to=TensorProto.UINT8),
        make("Squeeze", ["pasted0", "channel"], ["pasted"]),
    ]
    info = helper.make_tensor_value_info
    inputs = [
        info("masks", TensorProto.UINT8, [count, CELLS, CELLS]),
        info("boxes", TensorProto.FLOAT, [count, 4]),
    ]
    shape = [count, height // stride, width // stride]
    stored = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "paste", inputs, [info("pasted", TensorProto.UINT8, shape)], stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda raw: np.asarray(session.run(None, {"masks": raw.masks, "boxes": raw.boxes})[0])


def least_overlap(pasted: np.ndarray, raw: RawOutputs, stride: int) -> float:
    """Return the IoU, at the image's size, of the detection that graph and core paste least alike."""
    fields = ("masks", "boxes", "scores", "classes", "embeddings")
    overlaps = []
    for index in range(SIGHTED):
        alone = RawOutputs(raw.semantic, *(getattr(raw, name)[index : index + 1] for name in fields))
        ours = core_paste(alone) > 1
        theirs = pasted[index].repeat(stride, 0).repeat(stride, 1) > 0
        overlaps.append((ours & theirs).sum() / (ours | theirs).sum())
    return float(min(overlaps))


def milliseconds(work: Callable[[], object], runs: int) -> float:
    times = []
    for _ in range(runs):
        begin = time.process_time()
        work()
        times.append((time.process_time() - begin) * 1e3)
    return float(np.median(times))


def row(size: str, count: int, where: str, took_ms: float, size_bytes: int, overlap: float) -> str:
    return f"{size:<10} {count:>4}  {where:<18} {took_ms:>8.2f} {size_bytes / 1e6:>8.2f} {overlap:>10.2f}"


if __name__ == "__main__":
    main()
