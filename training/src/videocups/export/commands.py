"""``videocups export``, ``engine`` and ``bench``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def export(arguments: list[str]) -> int:
    """Export a checkpoint as a model bundle."""
    parser = argparse.ArgumentParser(
        prog="videocups export",
        description="Write a checkpoint as a model bundle, after proving that the graph says what the network says.",
    )
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="a checkpoint, or a run: its newest one")
    parser.add_argument("--out", type=Path, required=True, metavar="BUNDLE", help="folder to write")
    parser.add_argument("--precision", default="fp32", choices=("fp32", "fp16", "int8"), help="default fp32")
    parser.add_argument("--size", metavar="HxW", help="network input in px; default: as it was trained")
    parser.add_argument(
        "--clips", type=Path, metavar="CLIPS", help="frames to compare on; default: those of --calibrate"
    )
    parser.add_argument("--calibrate", type=Path, metavar="CLIPS", help="frames that int8 measures ranges on")
    parser.add_argument(
        "--truth", metavar="DATASET", help="what lies beside the clips: clips, rendered, streets … or none"
    )
    parser.add_argument("--model-id", metavar="NAME", help="default: the name of the bundle's folder")
    parser.add_argument(
        "--labels",
        type=Path,
        metavar="FILE",
        help="the classes' names and colours, from 'videocups mapping --labels'",
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="YAML with settings of the export")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change one setting")
    options = parser.parse_args(arguments)
    from videocups.export.checkpoint import export_checkpoint
    from videocups.export.report import report_text

    exported = export_checkpoint(options, say=lambda text: print(text, file=sys.stderr, flush=True))
    print(report_text(exported.report), end="")
    print(f"written: {exported.bundle.folder}")
    return 0


def engine(arguments: list[str]) -> int:
    """Build a bundle's TensorRT engine."""
    parser = argparse.ArgumentParser(
        prog="videocups engine",
        description="Build a bundle's TensorRT engine for this machine's GPU, or ahead for GPUs that are elsewhere.",
    )
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="folder of a model bundle")
    parser.add_argument(
        "--compute-capability", action="append", default=[], metavar="X.Y",
        help="build for such GPUs without having one, such as 8.6; may be repeated; needs tensorrt-rtx",
    )  # fmt: skip
    parser.add_argument("--precision", default="fp16", choices=("fp32", "fp16"), help="default fp16")
    parser.add_argument("--device", default="auto", help="cuda, cuda:N or auto (the first GPU)")
    parser.add_argument("--cache", type=Path, metavar="DIR", help="default $XDG_CACHE_HOME/videocups/engines")
    parser.add_argument("--build-only", action="store_true", help="do not run the engine after building it")
    options = parser.parse_args(arguments)
    from videocups.export.engines import build_for_others, build_for_this_machine
    from videocups_core.bundle import read_bundle

    bundle = read_bundle(options.bundle)
    if options.compute_capability:
        lines = build_for_others(bundle, options.compute_capability, options.precision, options.cache)
    else:
        lines = build_for_this_machine(
            bundle, options.device, options.precision, options.cache, build_only=options.build_only
        )
    print("\n".join(lines))
    return 0


def bench(arguments: list[str]) -> int:
    """Time a bundle."""
    parser = argparse.ArgumentParser(
        prog="videocups bench",
        description="Time every part of a frame: preprocessing, network, merge and tracking.",
    )
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="folder of a model bundle")
    parser.add_argument("--against", type=Path, metavar="FILE.onnx", help="another graph, timed frame by frame in turn")
    parser.add_argument("--clips", type=Path, metavar="CLIPS", help="frames to show; default: the stand-in world")
    parser.add_argument("--frames", type=int, default=100, help="frames to time (default 100)")
    parser.add_argument("--backend", default="onnxruntime", choices=("onnxruntime", "tensorrt"), help="what runs it")
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:N or auto")
    parser.add_argument("--threads", type=int, default=0, help="threads on the CPU; 0: all cores")
    parser.add_argument("--precision", default="fp16", choices=("fp32", "fp16"), help="TensorRT only; default fp16")
    parser.add_argument("--cuda-graph", action="store_true", help="on a GPU: run a frame as one captured CUDA graph")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures as JSON too")
    options = parser.parse_args(arguments)
    from videocups.export.bench_command import run_bench

    print(run_bench(options))
    return 0
