"""What a graph of fixed shapes and eight bits costs and saves, on one core of this machine.

    python benchmarks/engine_speed.py [--runs N] [--keep FOLDER]

One network (the shipped one's shape, training/configs/shipped.yaml; weights drawn, heads made lively) runs as torch
eager in float32 with torchvision's own suppression and RoIAlign; as the exported float32 graph; as the same graph with
ONNX Runtime's own NonMaxSuppression and RoiAlign in place of ours; and as the exported int8 graph. They take turns on
the same frames; outputs are compared first. Times are processor times of one pinned thread, so that a busy machine's
other work is not counted.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import onnx
import onnxruntime
import torch
import yaml
from machine import machine
from torch import Tensor, nn
from torch.onnx.ops import symbolic

from videocups.export.graph import GraphError, check_graph, export_graph
from videocups.export.int8 import calibrate, quantize
from videocups.export.parity import compare_outputs
from videocups.export.views import open_views
from videocups.model import static_network
from videocups.model.classes import ClassTable
from videocups.model.config import ModelConfig
from videocups.model.network import PanopticNetwork
from videocups.model.pooling import POOLED, level_of
from videocups.model.static_network import OUTPUT_NAMES, StaticNetwork
from videocups.train.network_engine import NetworkEngine
from videocups_core.config import from_mapping
from videocups_core.engine.base import InputSpec, RawOutputs
from videocups_core.standin import standin_classes

CONFIG = Path(__file__).parents[1] / "training" / "configs" / "shipped.yaml"
SPEC = InputSpec(256, 512)
FRAMES = 8
SPEED_BAR, NATIVE_BAR = 2.5, 1.15


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--runs", type=int, default=20, help="timed runs of each (default 20)")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep the graphs here and take them from here")
    options = parser.parse_args()
    name = machine()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    torch.set_num_threads(1)
    torch.manual_seed(0)
    network = lively(PanopticNetwork(shipped_config(), ClassTable.of(standin_classes())))
    images = open_views(None, None, FRAMES).network_images(SPEC, FRAMES)
    with tempfile.TemporaryDirectory() as scratch:
        graphs = make_graphs(network, images, options.keep or Path(scratch))
        runs: dict[str, Callable[[np.ndarray], RawOutputs]] = {"torch eager fp32": NetworkEngine(network, SPEC).infer}
        runs |= {name: session_run(path) for name, path in graphs.items()}
        print(f"machine: {name}, pinned to one; torch {torch.__version__}, onnxruntime {onnxruntime.__version__}")
        compare(runs, images)
        report(measure(runs, images, options.runs), {name: path.stat().st_size for name, path in graphs.items()})


def shipped_config() -> ModelConfig:
    content = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    return from_mapping(ModelConfig, content["model"], source=str(CONFIG))


def lively(network: PanopticNetwork) -> PanopticNetwork:
    """Draw weights so that boxes, classes and masks differ from place to place, though nothing was learned."""
    network.eval()
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 1.5)
        network.rpn.head.objectness.weight.normal_(0, 0.3)
        network.rpn.head.deltas.weight.normal_(0, 0.05)
        for stage in network.cascade.stages:
            stage.classify.weight.normal_(0, 0.3)
            stage.classify.bias.zero_()
            stage.regress.weight.normal_(0, 0.05)
        network.mask_head.predict.weight.normal_(0, 0.1)
        network.semantic_head.predict.weight.normal_(0, 0.3)
    return network


def make_graphs(network: PanopticNetwork, images: list[np.ndarray], folder: Path) -> dict[str, Path]:
    """Export what is not in ``folder`` yet."""
    paths = {name: folder / f"{name.replace(' ', '_')}.onnx" for name in ("static fp32", "native fp32", "static int8")}
    folder.mkdir(parents=True, exist_ok=True)
    if not paths["static fp32"].exists():
        onnx.save(export_graph(StaticNetwork(network, SPEC.height, SPEC.width)), paths["static fp32"])
    if not paths["native fp32"].exists():
        onnx.save(native_graph(network), paths["native fp32"])
    if not paths["static int8"].exists():
        static = onnx.load(paths["static fp32"])
        onnx.save(quantize(static, calibrate(static, images)), paths["static int8"])
    return paths


# The same network with ONNX's own operators: the functions that the static face calls are exchanged.


def native_keep(boxes: Tensor, threshold: float) -> Tensor:
    """``keep_best`` as NonMaxSuppression, whose list of survivors is scattered into a mask."""
    groups, count = boxes.shape[:2]
    scores = torch.linspace(1, 0.5, count).expand(groups, 1, count).contiguous()  # best first
    wanted = (boxes, scores, torch.tensor([count]), torch.tensor([threshold]))
    survivors = op("NonMaxSuppression", wanted, (groups * count, 3), torch.int64)
    rows = op("Gather", (survivors, torch.tensor(2)), (groups * count,), torch.int64, axis=1)
    group = op("Gather", (survivors, torch.tensor(0)), (groups * count,), torch.int64, axis=1)
    place = group * count + rows
    ones = op("Cast", (op("Equal", (place, place), place.shape, torch.bool),), place.shape, torch.float32, to=1)
    kept = op("ScatterElements", (torch.zeros(groups * count), place, ones), (groups * count,), torch.float32)
    return kept.reshape(groups, count)


class NativeTable:
    """``FeatureTable`` as one RoiAlign on a canvas that all levels lie on: no RoI is pooled more than once.

    At the border of a level it reads its neighbour on the canvas instead of the border: a small difference in values,
    none in time.
    """

    def __init__(self, features: Mapping[str, Tensor]) -> None:
        first, *others = (features[name] for name in POOLED)
        width = others[0].shape[3]
        column = [nn.functional.pad(level, (0, width - level.shape[3])) for level in others]
        used = sum(level.shape[2] for level in others)
        column.append(first.new_zeros(1, first.shape[1], first.shape[2] - used, width))
        self.canvas = torch.cat([first, torch.cat(column, dim=2)], dim=3)
        top, corners = 0, [(0.0, 0.0)]
        for level in others:
            corners.append((float(first.shape[3]), float(top)))
            top += level.shape[2]
        self.corners = torch.tensor(corners)

    def pool(self, boxes: Tensor, size: int, samples: int, canonical_px: int) -> Tensor:
        """Pool ``boxes`` (K, 4)."""
        level = level_of(boxes, canonical_px)
        scale = torch.tensor([1 / 4, 1 / 8, 1 / 16, 1 / 32])[level][:, None]
        placed = boxes * scale + self.corners[level].repeat(1, 2)
        images = torch.zeros(len(boxes), dtype=torch.int64)
        shape = (len(boxes), self.canvas.shape[1], size, size)
        return op(
            "RoiAlign", (self.canvas, placed, images), shape, torch.float32,
            output_height=size, output_width=size, sampling_ratio=samples, spatial_scale=1.0,
            coordinate_transformation_mode="half_pixel",
        )  # fmt: skip


def op(
    name: str, inputs: tuple[Tensor, ...], shape: tuple[int, ...], dtype: torch.dtype, **attributes: object
) -> Tensor:
    found: Tensor = symbolic(name, inputs, attributes, dtype=dtype, shape=tuple(shape), version=18)
    return found


def native_graph(network: PanopticNetwork) -> onnx.ModelProto:
    """Export with ONNX's own operators, which the product's own check refuses by name."""
    ours = static_network.keep_best, static_network.FeatureTable
    static_network.keep_best, static_network.FeatureTable = native_keep, NativeTable  # type: ignore[assignment,misc]
    image = torch.zeros(SPEC.shape, dtype=torch.uint8)
    try:
        with torch.no_grad():
            program = torch.onnx.export(
                StaticNetwork(network, SPEC.height, SPEC.width).eval(), (image,), dynamo=True, opset_version=18,
                input_names=["image"], output_names=list(OUTPUT_NAMES), verbose=False,
            )  # fmt: skip
    finally:
        static_network.keep_best, static_network.FeatureTable = ours  # type: ignore[misc]
    assert program is not None
    model: onnx.ModelProto = program.model_proto
    try:
        check_graph(model)
    except GraphError:
        del model.graph.value_info[:]  # the shapes that were promised for lists of survivors do not hold
        return model
    raise AssertionError("the check let NonMaxSuppression and RoiAlign pass")


def session_run(path: Path) -> Callable[[np.ndarray], RawOutputs]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    def run(image: np.ndarray) -> RawOutputs:
        return RawOutputs.from_mapping(dict(zip(names, session.run(names, {"image": image}), strict=True)))

    return run


def compare(runs: Mapping[str, Callable[[np.ndarray], RawOutputs]], images: list[np.ndarray]) -> None:
    """Stop unless the float graphs say what torch says."""
    reference = [runs["torch eager fp32"](image) for image in images]
    for name in runs:
        parts = [compare_outputs(first, runs[name](image)) for first, image in zip(reference, images, strict=True)]
        unmatched, total = sum(part.unmatched for part in parts), sum(part.detections for part in parts)
        semantic = float(np.mean([part.semantic for part in parts]))
        print(f"{name:<18} {unmatched:>4} of {total} detections differ, {100 * semantic:.2f} % of the class map")
        if name == "static fp32":
            assert not [text for part in parts for text in part.complaints]
        if name == "native fp32":
            assert unmatched <= 0.1 * total, "the graph with native operators is not the same network"


def measure(
    runs: Mapping[str, Callable[[np.ndarray], RawOutputs]], images: list[np.ndarray], count: int
) -> dict[str, tuple[float, float]]:
    """Return the median and the least processor milliseconds of each; the first turn allocates and is left out."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for index in range(count + 1):
        for name, run in runs.items():
            begin = time.process_time()
            run(images[index % len(images)])
            times[name].append((time.process_time() - begin) * 1e3)
    return {name: (float(np.median(values[1:])), min(values[1:])) for name, values in times.items()}


def report(milliseconds: Mapping[str, tuple[float, float]], sizes: Mapping[str, int]) -> None:
    torch_median, torch_least = milliseconds["torch eager fp32"]
    print(f"\n{'':<18} {'median ms':>10} {'of torch':>9} {'least ms':>10} {'of torch':>9} {'MB':>7}")
    for name, (median, least) in milliseconds.items():
        size = f"{sizes[name] / 1e6:>7.1f}" if name in sizes else ""
        shares = f"{median:>10.1f} {torch_median / median:>8.2f}x {least:>10.1f} {torch_least / least:>8.2f}x"
        print(f"{name:<18} {shares} {size}".rstrip())
    faster = torch_median / milliseconds["static int8"][0]
    native = milliseconds["static fp32"][0] / milliseconds["native fp32"][0]
    print(f"int8 against torch eager: {faster:.2f}x (bar {SPEED_BAR}): {'ok' if faster >= SPEED_BAR else 'TOO SLOW'}")
    print(
        f"static against native operators: {native:.2f}x the time (bar {NATIVE_BAR}): "
        f"{'ok' if native <= NATIVE_BAR else 'TOO SLOW'}"
    )


if __name__ == "__main__":
    main()
