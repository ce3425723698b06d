"""How long TensorRT-RTX takes to build engines ahead of time, without a GPU, on one core of this machine.

    python benchmarks/engine_build.py [--small] [--compute-capability X.Y …] [--keep FOLDER] [--write FILE]

The graph of the published network (ResNet-50 at 640×1280, weights drawn; --small takes the shipped one's shape at
256×512) is built in float32 and float16 for each kind of GPU. Processor times, so that other work is not counted. What
an engine computes and how fast only its GPU can tell. An operator that cannot be built would end this with its name.
"""

from __future__ import annotations

import argparse
import datetime
import os
import time
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import onnx
import torch
from engine_speed import lively, shipped_config
from machine import machine

from videocups.export.fp16 import to_half
from videocups.export.graph import export_graph
from videocups.model.classes import ClassTable
from videocups.model.config import ModelConfig
from videocups.model.network import PanopticNetwork
from videocups.model.static_network import StaticNetwork
from videocups_core.engine.tensorrt import import_tensorrt
from videocups_core.engine.tensorrt_build import build_engine
from videocups_core.standin import standin_classes

CAPABILITIES = ("8.0", "8.6", "8.9", "12.0")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="the shipped network instead of ResNet-50")
    parser.add_argument("--compute-capability", action="append", default=[], metavar="X.Y")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep the graph here and take it from here")
    parser.add_argument("--write", type=Path, metavar="FILE")
    options = parser.parse_args()
    name, trt = machine(), import_tensorrt()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    torch.set_num_threads(1)
    begin = time.process_time()
    model = make_graph(options.small, options.keep)
    what = "the shipped network's shape at 256×512" if options.small else "ResNet-50 at 640×1280"
    lines = [
        f"{datetime.date.today().isoformat()}, {name}, pinned to one; {trt.__name__} {trt.__version__}. {what}, "
        f"{len(model.graph.node)} operators; graph made or read in {time.process_time() - begin:.0f} s.",
        "",
        f"{'precision':<10} {'compute capability':>18} {'s':>7} {'MB':>7}",
    ]
    print("\n".join(lines), flush=True)
    logger = trt.Logger(trt.Logger.ERROR)
    for precision, graph in (("fp32", model), ("fp16", to_half(model))):
        data = graph.SerializeToString()
        for capability in options.compute_capability or CAPABILITIES:
            begin = time.process_time()
            engine = build_engine(trt, data, precision, logger, capability)
            took_s = time.process_time() - begin
            lines.append(f"{precision:<10} {capability:>18} {took_s:>7.1f} {len(engine) / 1e6:>7.1f}")
            print(lines[-1], flush=True)
    if options.write:
        options.write.write_text("\n".join(lines) + "\n")


def make_graph(small: bool, folder: Path | None) -> onnx.ModelProto:
    path = None if folder is None else folder / f"{'small' if small else 'published'}.onnx"
    if path is not None and path.exists():
        return onnx.load(path)
    torch.manual_seed(0)
    config, size = (shipped_config(), (256, 512)) if small else (ModelConfig(), (640, 1280))
    network = lively(PanopticNetwork(config, ClassTable.of(standin_classes())))
    model = export_graph(StaticNetwork(network, *size))
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        onnx.save(model, path)
    return model


if __name__ == "__main__":
    main()
