"""Engines that TensorRT-RTX builds without a GPU: proof that the graph needs no plugin; figures it gives none."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import onnx
import pytest
from tests.training.export.micro import HEIGHT, WIDTH, micro_network

from videocups.cli import main
from videocups.export.fp16 import to_half
from videocups_core.bundle import ModelBundle, write_bundle
from videocups_core.engine import EngineError
from videocups_core.engine.ahead import build_ahead
from videocups_core.engine.base import InputSpec
from videocups_core.engine.tensorrt_build import build_engine

CAPABILITIES = ("8.0", "12.0")  # in float32; 8.6 and 8.9 in float16


@pytest.fixture(scope="module")
def rtx() -> Any:
    return pytest.importorskip(
        "tensorrt_rtx", reason="TensorRT-RTX, which builds without a GPU, is not installed here", exc_type=ImportError
    )


@pytest.fixture(scope="module")
def bundle(graph_path: Path, tmp_path_factory: pytest.TempPathFactory) -> ModelBundle:
    classes = micro_network().classes.bundle_classes
    folder = tmp_path_factory.mktemp("bundle")
    return write_bundle(
        folder, graph_path.read_bytes(), model_id="micro", classes=classes, input=InputSpec(HEIGHT, WIDTH)
    )


def test_the_command_builds_for_named_gpus_once(
    rtx: Any, bundle: ModelBundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["engine", str(bundle.folder), "--cache", str(tmp_path), "--build-only"]
    for capability in CAPABILITIES:
        arguments += ["--compute-capability", capability]
    assert main(arguments) == 0
    first = capsys.readouterr().out.splitlines()
    assert [line.split(" in ")[0] for line in first] == [f"compute capability {c}: built" for c in CAPABILITIES]
    assert len(list(tmp_path.glob("*.engine"))) == len(CAPABILITIES)
    assert main(arguments) == 0
    assert all(": hit in" in line for line in capsys.readouterr().out.splitlines())


@pytest.mark.parametrize("capability", ["8.6", "8.9"])
def test_the_half_precision_graph_builds(rtx: Any, graph: onnx.ModelProto, capability: str) -> None:
    half = build_engine(rtx, to_half(graph).SerializeToString(), "fp16", rtx.Logger(rtx.Logger.ERROR), capability)
    assert len(half) > 10_000


def test_a_jetson_is_sent_to_its_own_tensorrt(rtx: Any, bundle: ModelBundle, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"builds for compute capability 7\.5, 8\.0, .*not for 8\.7; .* on a Jetson"):
        build_ahead(rtx, bundle, "8.7", cache_folder=tmp_path)


def test_without_tensorrt_the_way_out_is_named(
    capsys: pytest.CaptureFixture[str], bundle: ModelBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("tensorrt", "tensorrt_rtx"):
        monkeypatch.setitem(sys.modules, name, None)  # as where it is not installed
    assert main(["engine", str(bundle.folder), "--compute-capability", "8.6"]) == 1
    assert "tensorrt-rtx" in capsys.readouterr().err


def test_a_laptop_is_told_where_to_build(
    rtx: Any, capsys: pytest.CaptureFixture[str], bundle: ModelBundle, tmp_path: Path
) -> None:
    runtime = pytest.importorskip("cuda.bindings.runtime", reason="the CUDA bindings are not installed here")
    if runtime.cudaGetDeviceCount()[0] == runtime.cudaError_t.cudaSuccess:
        pytest.skip("there is a GPU here")
    assert main(["engine", str(bundle.folder), "--cache", str(tmp_path)]) == 1
    assert "build this one on the vehicle" in capsys.readouterr().err


@pytest.mark.slow
def test_the_published_size_builds_for_all_in_both_precisions(rtx: Any) -> None:
    """ResNet-50 at 640×1280 with 1000 proposals, as benchmarks/engine_build.py times it."""
    from videocups.export.graph import export_graph
    from videocups.model.classes import ClassTable
    from videocups.model.config import ModelConfig
    from videocups.model.network import PanopticNetwork
    from videocups.model.static_network import StaticNetwork
    from videocups_core.standin import standin_classes

    network = PanopticNetwork(ModelConfig(), ClassTable.of(standin_classes()))
    graph = export_graph(StaticNetwork(network, 640, 1280))
    floats, halves = graph.SerializeToString(), to_half(graph).SerializeToString()
    logger = rtx.Logger(rtx.Logger.ERROR)
    for capability in ("8.0", "8.6", "8.9", "12.0"):
        full = build_engine(rtx, floats, "fp32", logger, capability)
        half = build_engine(rtx, halves, "fp16", logger, capability)
        assert len(half) < 0.75 * len(full), capability
