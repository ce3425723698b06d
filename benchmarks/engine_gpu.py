"""What runs a network fastest on this machine's GPU, at batch 1: torch, ONNX Runtime, TensorRT, CUDA graphs or not.

    python benchmarks/engine_gpu.py [--size HxW] [--runs N] [--write FILE]

One network (ResNet-50 at 640×1280, weights drawn; --small takes the shipped one's shape) on the same frames, in turn.
Each frame goes from an array to arrays, copies included. Answers are compared first. What is not installed is left out
and named. `--device cpu` tries the script where no GPU is.
"""

from __future__ import annotations

import argparse
import datetime
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import torch
from engine_speed import lively, shipped_config
from machine import machine

from videocups.export.fp16 import to_half
from videocups.export.graph import export_graph
from videocups.export.parity import compare_outputs
from videocups.export.torch_engine import TorchEngine
from videocups.export.views import open_views
from videocups.model.classes import ClassTable
from videocups.model.config import ModelConfig
from videocups.model.network import PanopticNetwork
from videocups.model.static_network import StaticNetwork
from videocups.standin.commands import parse_size
from videocups.train.network_engine import NetworkEngine
from videocups_core.bundle import ModelBundle, write_bundle
from videocups_core.engine import EngineConfig, create_engine
from videocups_core.engine.base import Engine, InputSpec
from videocups_core.engine.cuda import used_memory_mb
from videocups_core.standin import standin_classes

FRAMES = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="640x1280", metavar="HxW")
    parser.add_argument("--small", action="store_true", help="the shipped network instead of ResNet-50")
    parser.add_argument("--runs", type=int, default=100, help="timed frames of each (default 100)")
    parser.add_argument("--device", default="cuda", help="cuda, cuda:N or cpu")
    parser.add_argument("--write", type=Path, metavar="FILE")
    options = parser.parse_args()
    spec = InputSpec(*parse_size(options.size))
    torch.manual_seed(0)
    config = shipped_config() if options.small else ModelConfig()
    network = lively(PanopticNetwork(config, ClassTable.of(standin_classes())))
    with tempfile.TemporaryDirectory() as scratch:
        bundles = make_bundles(network, spec, Path(scratch))
        lines = [heading(options.device, spec, config.backbone.kind)]
        engines: dict[str, Engine] = {}
        for name, make in wanted(network.to(options.device), spec, bundles, options.device, Path(scratch)):
            before = used_memory_mb(options.device)
            try:
                engine = make()
                engine.load()
                engine.warm_up(5)
            except ValueError as error:
                lines.append(f"left out: {name}: {error}")
                continue
            engines[name] = engine
            lines += [f"note: {name}: {note}" for note in engine.describe().notes]
            lines += memory_line(name, before, used_memory_mb(options.device))
        images = open_views(None, None, FRAMES).network_images(spec, FRAMES)
        lines += table(engines, images, options.runs)
    text = "\n".join(lines) + "\n"
    print(text, end="")
    if options.write:
        options.write.write_text(text)


def heading(device: str, spec: InputSpec, kind: str) -> str:
    gpu = torch.cuda.get_device_name(device) if device.startswith("cuda") else "no GPU"
    what = f"{kind} at {spec.height}×{spec.width}, batch 1"
    return f"{datetime.date.today().isoformat()}, {gpu}, {machine()}; torch {torch.__version__}. {what}."


def make_bundles(network: PanopticNetwork, spec: InputSpec, folder: Path) -> dict[str, ModelBundle]:
    model = export_graph(StaticNetwork(network, spec.height, spec.width))
    graphs: dict[str, onnx.ModelProto] = {"fp32": model, "fp16": to_half(model)}
    return {
        name: write_bundle(
            folder / name, graph.SerializeToString(), model_id=name, classes=network.classes.bundle_classes, input=spec
        )
        for name, graph in graphs.items()
    }


def wanted(
    network: PanopticNetwork, spec: InputSpec, bundles: dict[str, ModelBundle], device: str, scratch: Path
) -> Iterator[tuple[str, Callable[[], Engine]]]:
    yield "torch fp32, torchvision's operators", partial(NetworkEngine, network, spec)
    yield "torch fp32, inference face", partial(TorchEngine, network, spec)
    graphs = (False, True) if device.startswith("cuda") else (False,)
    for backend in ("onnxruntime", "tensorrt"):
        for precision, bundle in bundles.items():
            for cuda_graph in graphs:
                name = f"{backend} {precision}{', CUDA graph' if cuda_graph else ''}"
                config = EngineConfig(
                    backend, device, precision=precision, cache_folder=scratch / "engines", cuda_graph=cuda_graph
                )
                yield name, partial(create_engine, bundle, config)


def memory_line(name: str, before: float | None, after: float | None) -> list[str]:
    return [] if before is None or after is None else [f"memory: {name}: {after - before:.0f} MB on the GPU"]


def table(engines: dict[str, Engine], images: list[np.ndarray], runs: int) -> list[str]:
    """Compare with the first engine, then time all in turn."""
    names = list(engines)
    reference = [engines[names[0]].infer(image) for image in images]
    lines = ["", f"{'ms':<38} {'p50':>8} {'p95':>8} {'of torch':>9} {'detections that differ':>24}"]
    differing = {}
    for name in names:
        parts = [compare_outputs(one, engines[name].infer(image)) for one, image in zip(reference, images, strict=True)]
        differing[name] = f"{sum(part.unmatched for part in parts)} of {sum(part.detections for part in parts)}"
    times: dict[str, list[float]] = {name: [] for name in names}
    for index in range(runs):
        for name in names:
            begin = time.perf_counter()
            engines[name].infer(images[index % len(images)])
            times[name].append((time.perf_counter() - begin) * 1e3)
    first = float(np.median(times[names[0]]))
    for name in names:
        p50, p95 = np.percentile(times[name], [50, 95])
        lines.append(f"{name:<38} {p50:>8.2f} {p95:>8.2f} {first / p50:>8.2f}x {differing[name]:>24}")
    return lines


if __name__ == "__main__":
    main()
