"""How fast a bundle is on this machine: each part of a frame, throughput and memory, alone or against another graph."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from videocups_core.bundle import ModelBundle, write_bundle
from videocups_core.engine import EngineConfig, create_engine
from videocups_core.engine.base import Engine, EngineInfo
from videocups_core.engine.cuda import used_memory_mb
from videocups_core.panoptic.merge import Merged
from videocups_core.stream import Stream
from videocups_core.tracking import AbsentTrack, Tracked, Tracker

PARTS = ("pre", "net", "post", "track", "all")
_STATUS = Path("/proc/self/status")


@dataclass(frozen=True)
class Speed:
    """Milliseconds of a frame's parts: ``p50[part]`` and ``p95[part]``; ``net`` alone is the engine's part.

    ``memory_mb``: what loading and warming the engine added to the process, ``gpu_memory_mb`` what it added to the GPU
    (by all processes, so have it for yourself); None where the system does not tell or no GPU is used.
    """

    engine: EngineInfo
    frames: int
    p50: Mapping[str, float]
    p95: Mapping[str, float]
    frames_per_s: float
    memory_mb: float | None
    gpu_memory_mb: float | None = None


class _TimedTracker(Tracker):
    """The tracker with a clock."""

    last_ms = 0.0

    def update(self, merged: Merged) -> tuple[list[Tracked], list[AbsentTrack]]:
        """Time one update."""
        begin = time.perf_counter()
        result = super().update(merged)
        self.last_ms = (time.perf_counter() - begin) * 1e3
        return result


@dataclass
class _Subject:
    stream: Stream
    tracker: _TimedTracker
    memory_mb: float | None
    gpu_memory_mb: float | None
    rows: list[tuple[float, ...]]

    def step(self, image_rgb: NDArray[np.uint8], stamp_ns: int) -> None:
        self.stream.step(image_rgb, stamp_ns)
        timings, track = self.stream.timings, self.tracker.last_ms
        self.rows.append((timings.pre_ms, timings.infer_ms, timings.post_ms - track, track, timings.total_ms))


def measure(
    bundle: ModelBundle,
    config: EngineConfig,
    images_rgb: Sequence[NDArray[np.uint8]],
    frames: int,
    *,
    against: ModelBundle | None = None,
) -> list[Speed]:
    """Time ``frames`` frames of the bundle and, in turn with them, of ``against``: the machine is equal to both."""
    if not images_rgb or frames < 1:
        raise ValueError(f"a measurement needs frames, got {len(images_rgb)} images and frames = {frames}")
    subjects = []
    for subject in (bundle, against):
        if subject is not None:
            with _named(subject):
                subjects.append(_load(subject, config))
    for index in range(frames):
        for running in subjects:
            with _named(running.stream.bundle):
                running.step(images_rgb[index % len(images_rgb)], index * 100_000_000)
    return [_speed(subject, frames) for subject in subjects]


def other_graph(bundle: ModelBundle, onnx_path: Path, scratch: Path) -> ModelBundle:
    """Return ``bundle`` with another graph of the same contract, written into ``scratch``."""
    changed = replace(bundle, model_id=onnx_path.stem)
    fields: dict[str, Any] = {
        name: getattr(changed, name) for name in ("model_id", "classes", "input", "merge", "tracker", "color_seed")
    }
    return write_bundle(scratch, onnx_path.read_bytes(), **fields)


def speed_table(speeds: Sequence[Speed], names: Sequence[str]) -> str:
    """Return the figures for people."""
    width = max(14, *map(len, names))
    lines = [_engine_line(name, speed.engine) for name, speed in zip(names, speeds, strict=True)]
    head = " ".join(f"{part:>15}" for part in PARTS)
    lines += ["", f"{'ms (p50 / p95)':<{width}} {head} {'frames/s':>9} {'memory':>9} {'on GPU':>9}"]
    for name, speed in zip(names, speeds, strict=True):
        cells = " ".join(f"{speed.p50[part]:>7.2f} /{speed.p95[part]:>6.2f}" for part in PARTS)
        memory = " ".join(f"{_megabytes(value):>9}" for value in (speed.memory_mb, speed.gpu_memory_mb))
        lines.append(f"{name:<{width}} {cells} {speed.frames_per_s:>9.1f} {memory}")
    if len(speeds) == 2:
        lines.append(f"{names[0]} takes {speeds[0].p50['net'] / speeds[1].p50['net']:.2f} times the net of {names[1]}")
    return "\n".join(lines)


@contextmanager
def _named(bundle: ModelBundle) -> Iterator[None]:
    """Say of which of two graphs an error speaks."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{bundle.model_id}: {error}") from error


def _engine_line(name: str, info: EngineInfo) -> str:
    how = [f"{name}: {info.backend} on {info.device} ({info.provider})", info.precision]
    if info.device == "cpu":
        how.append({0: "all cores", 1: "1 thread"}.get(info.threads, f"{info.threads} threads"))
    if info.cuda_graph:
        how.append("one CUDA graph")
    return "\n".join([", ".join(how), *(f"  note: {note}" for note in info.notes)])


def _megabytes(value: float | None) -> str:
    return "–" if value is None else f"{value:.0f} MB"


def _load(bundle: ModelBundle, config: EngineConfig) -> _Subject:
    before, before_on_gpu = _resident_mb(), _on_gpu_mb(config)
    engine: Engine = create_engine(bundle, config)
    engine.load()
    engine.warm_up(3)
    memory = _added(before, _resident_mb())
    uses_gpu = engine.describe().device != "cpu"
    on_gpu = _added(before_on_gpu, _on_gpu_mb(config)) if uses_gpu else None
    stream = Stream(bundle, engine)
    tracker = stream.tracker = _TimedTracker(bundle.tracker)
    return _Subject(stream, tracker, memory, on_gpu, [])


def _speed(subject: _Subject, frames: int) -> Speed:
    table = np.array(subject.rows)
    p50, p95 = np.percentile(table, [50, 95], axis=0)
    return Speed(
        engine=subject.stream.engine.describe(),
        frames=frames,
        p50=dict(zip(PARTS, p50.tolist(), strict=True)),
        p95=dict(zip(PARTS, p95.tolist(), strict=True)),
        frames_per_s=1e3 * frames / float(table[:, -1].sum()),
        memory_mb=subject.memory_mb,
        gpu_memory_mb=subject.gpu_memory_mb,
    )


def _on_gpu_mb(config: EngineConfig) -> float | None:
    return None if config.device == "cpu" else used_memory_mb(config.device)


def _added(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None else after - before


def _resident_mb() -> float | None:
    if not _STATUS.is_file():
        return None
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) / 1024
