from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from videocups.cli import main
from videocups_core.bundle import read_bundle
from videocups_core.engine.onnx import OnnxConfig, OnnxEngine
from videocups_core.standin import StandInOracle, StandInWorld
from videocups_core.stream import Stream

pytest.importorskip("onnx", reason="the builder needs the onnx package")


def test_the_command_writes_a_bundle_that_answers_exactly(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["standin", "--out", str(tmp_path / "b"), "--size", "128x192"]) == 0
    assert "128×192" in capsys.readouterr().out
    bundle = read_bundle(tmp_path / "b")
    engine = OnnxEngine(bundle, OnnxConfig("cpu", 1))
    engine.load()
    world = StandInWorld(128, 192)
    stream, oracle = Stream(bundle, engine), StandInOracle(world)
    for index in range(30):
        frame, expected = stream.step(world.image_rgb(index), index), oracle.step(index, index)
        np.testing.assert_array_equal(frame.segment_ids, expected.segment_ids)
        assert set(frame.segments) == set(expected.segments)


def test_a_wrong_size_is_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["standin", "--out", str(tmp_path), "--size", "big"]) == 1
    assert "--size must be HxW" in capsys.readouterr().err
