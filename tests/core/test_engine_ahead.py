from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from videocups_core.bundle import ModelBundle
from videocups_core.engine import EngineError
from videocups_core.engine.ahead import ahead_key, build_ahead
from videocups_core.engine.cache import CachedEngine, EngineCache
from videocups_core.engine.tensorrt_build import build_engine, known_compute_capabilities


class Rtx:
    """Stands in for TensorRT-RTX where it is not installed: what it is asked about before it builds."""

    ComputeCapability = SimpleNamespace(
        __members__={"NONE": 0, "CURRENT": 1, "SM86": 2, "SM120": 3},
    )
    __name__ = "tensorrt_rtx"
    __version__ = "1.7.1"

    class Logger:
        ERROR = 1

        def __init__(self, level: int) -> None:
            self.level = level


class Full:
    """Stands in for the full TensorRT, which builds for the GPU it runs on."""

    __name__, __version__ = "tensorrt", "10.3.0"


def test_known_gpus_are_numbers() -> None:
    assert known_compute_capabilities(Rtx()) == ("8.6", "12.0")
    assert known_compute_capabilities(Full()) == ()


def test_an_engine_built_ahead_is_for_one_kind_of_gpu_and_one_version(standin_bundle: ModelBundle) -> None:
    key = ahead_key(standin_bundle, "fp16", Rtx(), "8.6")
    others = [
        ahead_key(standin_bundle, "fp16", Rtx(), "12.0"),
        ahead_key(standin_bundle, "fp32", Rtx(), "8.6"),
        ahead_key(standin_bundle, "fp16", Full(), "8.6"),
        ahead_key(dataclasses.replace(standin_bundle, onnx_sha256="b" * 64), "fp16", Rtx(), "8.6"),
    ]
    assert len({key.digest(), *(other.digest() for other in others)}) == 5
    assert key.gpu_name == "compute capability 8.6"


def test_finding_builds_nothing(standin_bundle: ModelBundle, tmp_path: Path) -> None:
    key = ahead_key(standin_bundle, "fp16", Rtx(), "8.6")
    cache = EngineCache(tmp_path / "engines")
    assert cache.find(key) is None
    assert not (tmp_path / "engines").exists()
    cache.load_or_build(key, lambda: b"engine")
    assert cache.find(key) == CachedEngine(b"engine", "hit")
    cache.engine_path(key).write_bytes(b"engin")
    assert cache.find(key) is None


def test_what_lies_in_the_cache_is_not_built_again(
    standin_bundle: ModelBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[Any, ...]] = []

    def build(trt: Any, onnx: bytes, precision: str, logger: Any, compute_capability: str) -> bytes:
        asked.append((precision, compute_capability))
        return b"e" * 99

    monkeypatch.setattr("videocups_core.engine.ahead.build_engine", build)
    first = build_ahead(Rtx(), standin_bundle, "8.6", "fp32", tmp_path)
    again = build_ahead(Rtx(), standin_bundle, "8.6", "fp32", tmp_path)
    assert (first.outcome, again.outcome) == ("built", "hit")
    assert asked == [("fp32", "8.6")]
    assert first.path == again.path
    assert first.size_bytes == 99
    assert first.precision == "fp32"  # the graph's


def test_the_wrong_gpu_or_tensorrt_is_a_sentence(standin_bundle: ModelBundle) -> None:
    from videocups_core.engine.tensorrt_build import _known

    with pytest.raises(
        EngineError,
        match=r"tensorrt_rtx 1\.7\.1 builds for compute capability 8\.6, 12\.0, not for 8\.7; build on the .* Jetson",
    ):
        _known(Rtx(), "8.7")
    with pytest.raises(EngineError, match=r"tensorrt 10\.3\.0 builds for the GPU it runs on alone"):
        _known(Full(), "8.6")


def test_a_graph_quantised_for_cpus_is_refused_before_it_is_parsed() -> None:
    onnx = pytest.importorskip("onnx", reason="the test graph needs the onnx package")
    helper, kinds = onnx.helper, onnx.TensorProto
    graph = helper.make_graph(
        [
            helper.make_node("DequantizeLinear", ["weight", "scale"], ["w"]),
            helper.make_node("Conv", ["x", "w"], ["y"]),
        ],
        "quantised",
        [helper.make_tensor_value_info("x", kinds.FLOAT, [1, 1, 4, 4])],
        [helper.make_tensor_value_info("y", kinds.FLOAT, [1, 1, 4, 4])],
        [
            helper.make_tensor("weight", kinds.INT8, [1, 1, 1, 1], [3]),
            helper.make_tensor("scale", kinds.FLOAT, [], [0.1]),
        ],
    )
    data = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]).SerializeToString()
    with pytest.raises(EngineError, match="quantised for CPUs; export the bundle with --precision fp16"):
        build_engine(Rtx(), data, "fp16", logger=None)
