"""``videocups engine``: what an engine is, in words, and building one for this GPU or ahead for others."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from videocups_core.bundle import ModelBundle
from videocups_core.engine.ahead import AheadEngine, build_ahead
from videocups_core.engine.base import EngineInfo
from videocups_core.engine.tensorrt import TensorRtConfig, TensorRtEngine, import_tensorrt


def build_for_others(
    bundle: ModelBundle, compute_capabilities: Sequence[str], precision: str, cache_folder: Path | None
) -> list[str]:
    """Build ahead, one engine for each compute capability; returns a line about each."""
    trt = import_tensorrt()
    lines = []
    for capability in compute_capabilities:
        begin = time.perf_counter()
        engine = build_ahead(trt, bundle, capability, precision, cache_folder)
        lines.append(_ahead_line(engine, time.perf_counter() - begin))
    return lines


def build_for_this_machine(
    bundle: ModelBundle, device: str, precision: str, cache_folder: Path | None, *, build_only: bool
) -> list[str]:
    """Build for this machine's GPU, or find the engine in the cache; without ``build_only`` run it once as well."""
    engine = TensorRtEngine(bundle, TensorRtConfig(device, precision, cache_folder))
    begin = time.perf_counter()
    engine.load()
    took_s = time.perf_counter() - begin
    if not build_only:
        engine.warm_up()
    info = engine.describe()
    return [f"{info.device}: {info.provider} in {took_s:.1f} s, computes in {info.precision}", *_note_lines(info)]


def _ahead_line(engine: AheadEngine, took_s: float) -> str:
    line = (
        f"compute capability {engine.compute_capability}: {engine.outcome} in {took_s:.1f} s, "
        f"{engine.size_bytes / 1e6:.1f} MB, from a graph in {engine.precision}: {engine.path}"
    )
    return f"{line}\n  note: {engine.note}" if engine.note else line


def _note_lines(info: EngineInfo) -> list[str]:
    return [f"  note: {note}" for note in info.notes]
