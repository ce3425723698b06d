from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from videocups.cli import main
from videocups.export.bench import PARTS, measure, speed_table
from videocups_core.bundle import read_bundle
from videocups_core.engine import EngineConfig
from videocups_core.engine.onnx import OnnxEngine
from videocups_core.standin import StandInWorld

STANDIN = Path(__file__).parents[2] / "data" / "standin"


def test_the_parts_are_the_whole() -> None:
    world = StandInWorld()
    images = [world.image_rgb(index) for index in range(3)]
    (speed,) = measure(read_bundle(STANDIN), EngineConfig(device="cpu", threads=1), images, frames=7)
    assert speed.frames == 7
    assert set(speed.p50) == set(PARTS)
    assert all(0 < speed.p50[part] <= speed.p95[part] for part in PARTS)
    assert speed.p50["all"] >= max(speed.p50[part] for part in PARTS if part != "all")
    assert speed.frames_per_s == pytest.approx(1e3 / speed.p50["all"], rel=0.9)
    assert speed.engine.provider == "CPUExecutionProvider"


def test_what_a_gpu_holds_is_a_column(monkeypatch: pytest.MonkeyPatch) -> None:
    """No GPU is here: what CUDA would answer before and after loading, and an engine that says it ran there."""
    answers = iter([1000.0, 1740.0])
    monkeypatch.setattr("videocups.export.bench.used_memory_mb", lambda device: next(answers))
    described = OnnxEngine.describe
    monkeypatch.setattr(OnnxEngine, "describe", lambda self: replace(described(self), device="cuda:0", cuda_graph=True))
    config = EngineConfig(device="auto", threads=1)
    speeds = measure(read_bundle(STANDIN), config, [StandInWorld().image_rgb(0)], frames=2)
    assert speeds[0].gpu_memory_mb == 740
    table = speed_table(speeds, ["standin"])
    assert re.search(r"standin: onnxruntime on cuda:0 .*, fp32, one CUDA graph", table)
    assert table.splitlines()[-1].endswith("740 MB")


def test_a_measurement_needs_frames() -> None:
    with pytest.raises(ValueError, match="got 0 images and frames = 5"):
        measure(read_bundle(STANDIN), EngineConfig(device="cpu"), [], frames=5)


def test_the_command_compares_and_keeps_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / "other.onnx"
    other.write_bytes((STANDIN / "model.onnx").read_bytes())
    figures = tmp_path / "figures.json"
    arguments = ["--against", other, "--frames", 4, "--threads", 1, "--device", "cpu", "--json", figures]
    assert main(["bench", str(STANDIN), *map(str, arguments)]) == 0
    table = capsys.readouterr().out
    assert "fp32, 1 thread\n" in table
    assert re.search(r"standin-256x512 takes \d+\.\d\d times the net of other", table)
    kept = json.loads(figures.read_text())
    assert set(kept) == {"standin-256x512", "other"}
    assert kept["other"]["p50"].keys() == set(PARTS)
    assert kept["other"]["engine"]["precision"] == "fp32"


def test_a_graph_with_another_contract_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / "other.onnx"
    other.write_bytes(b"no graph")
    assert main(["bench", str(STANDIN), "--against", str(other), "--frames", "2"]) == 1
    assert "videocups bench: other: the file" in capsys.readouterr().err
