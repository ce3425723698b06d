"""How fast a bundle is on this machine: each part of a frame, throughput and memory, alone or against another graph."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from videocups_core.bundle import ModelBundle, write_bundle
from videocups_core.engine import EngineConfig, create_engine
from videocups_core.engine.base import Engine, EngineInfo
from videocups_core.panoptic.merge import Merged
from videocups_core.stream import Stream
from videocups_core.tracking import AbsentTrack, Tracked, Tracker

PARTS = ("pre", "net", "post", "track", "all")
_STATUS = Path("/proc/self/status")


@dataclass(frozen=True)
class Speed:
    """Milliseconds of a frame's parts: ``p50[part]`` and ``p95[part]``; ``net`` alone is the engine's part.

    ``memory_mb``: what loading and warming the engine added to the process; None where the system does not tell.
    """

    engine: EngineInfo
    frames: int
    p50: Mapping[str, float]
    p95: Mapping[str, float]
    frames_per_s: float
    memory_mb: float | None


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
    subjects = [_load(subject, config) for subject in (bundle, against) if subject is not None]
    for index in range(frames):
        for subject in subjects:
            subject.step(images_rgb[index % len(images_rgb)], index * 100_000_000)
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
    width = max(8, *map(len, names))
    lines = []
    for name, speed in zip(names, speeds, strict=True):
        info = speed.engine
        threads = f", {info.threads or 'all'} threads" if info.device == "cpu" else ""
        lines.append(f"{name}: {info.backend} on {info.device} ({info.provider}), {info.precision}{threads}")
    head = " ".join(f"{part:>15}" for part in PARTS)
    lines += ["", f"{'ms (p50 / p95)':<{width}} {head} {'frames/s':>9} {'MB':>7}"]
    for name, speed in zip(names, speeds, strict=True):
        cells = " ".join(f"{speed.p50[part]:>7.2f} /{speed.p95[part]:>6.2f}" for part in PARTS)
        memory = "?" if speed.memory_mb is None else f"{speed.memory_mb:.0f}"
        lines.append(f"{name:<{max(width, 14)}} {cells} {speed.frames_per_s:>9.1f} {memory:>7}")
    if len(speeds) == 2:
        lines.append(f"{names[0]} takes {speeds[0].p50['net'] / speeds[1].p50['net']:.2f} times the net of {names[1]}")
    return "\n".join(lines)


def _load(bundle: ModelBundle, config: EngineConfig) -> _Subject:
    before = _resident_mb()
    engine: Engine = create_engine(bundle, config)
    engine.load()
    engine.warm_up(3)
    after = _resident_mb()
    stream = Stream(bundle, engine)
    tracker = stream.tracker = _TimedTracker(bundle.tracker)
    return _Subject(stream, tracker, None if before is None or after is None else after - before, [])


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
    )


def _resident_mb() -> float | None:
    if not _STATUS.is_file():
        return None
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) / 1024
