"""What of the TensorRT engine can be tested without a GPU: refusals, the layer report, and building ahead of time."""

from __future__ import annotations

import json
import sys
from enum import Enum
from pathlib import Path
from typing import Any

import pytest

from videocups_core.bundle import ModelBundle
from videocups_core.engine import EngineConfig, EngineError, create_engine, cuda, tensorrt
from videocups_core.engine.cuda import Cuda
from videocups_core.engine.tensorrt import TensorRtConfig
from videocups_core.engine.tensorrt_build import build_engine, inspected_precision


def test_tensorrt_that_is_absent_is_named(standin_bundle: ModelBundle, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("tensorrt", "tensorrt_rtx"):
        monkeypatch.setitem(sys.modules, name, None)  # as where it is not installed
    with pytest.raises(EngineError, match=r"module tensorrt .*pip install tensorrt"):
        create_engine(standin_bundle, EngineConfig(backend="tensorrt"))


def test_cuda_without_a_driver_is_a_sentence() -> None:
    runtime = pytest.importorskip("cuda.bindings.runtime", reason="the CUDA bindings are not installed here")
    if runtime.cudaGetDeviceCount()[0] == runtime.cudaError_t.cudaSuccess:
        pytest.skip("there is a GPU here")
    with pytest.raises(
        EngineError, match=r"no GPU can be used here \(cudaError.*: there is none, or its driver is older"
    ):
        Cuda(runtime, 0)


class RuntimeWithoutGpu:
    """CUDA's runtime on a laptop, as far as an engine gets."""

    cudaError_t = Enum("cudaError_t", {"cudaSuccess": 0, "cudaErrorInsufficientDriver": 35})  # noqa: N815

    def cudaSetDevice(self, index: int) -> tuple[Enum]:  # noqa: N802
        return (self.cudaError_t["cudaErrorInsufficientDriver"],)


def test_without_a_gpu_the_ways_out_are_named(standin_bundle: ModelBundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda, "import_runtime", RuntimeWithoutGpu)
    monkeypatch.setattr(tensorrt, "import_tensorrt", lambda: None)
    with pytest.raises(EngineError) as caught:
        create_engine(standin_bundle, EngineConfig(backend="tensorrt"))
    sentence = str(caught.value)
    assert sentence.startswith("TensorRT builds and runs engines on a GPU, and no GPU can be used here")
    for words in ("cudaErrorInsufficientDriver", "on the vehicle", "--compute-capability", "backend onnxruntime"):
        assert words in sentence


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [("device", "cpu", "auto, cuda or cuda:N"), ("device", "cuda:x", "cuda:N"), ("precision", "int8", "fp32' or")],
)
def test_wishes_are_checked(field: str, value: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TensorRtConfig(**{field: value})


def layer(kind: str, *datatypes: str) -> dict[str, Any]:
    """One layer of TensorRT's report, as its inspector writes it."""
    return {"Name": "l", "LayerType": kind, "Inputs": [{"Name": "x", "Format/Datatype": text} for text in datatypes]}


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ([layer("CaskConvolution", "Channel major FP16 format where channel % 8 == 0")], "fp16"),
        ([layer("Convolution", "Half"), layer("gemm", "Half"), layer("Reformat", "Float")], "fp16"),
        ([layer("CaskConvolution", "Row major linear FP32")], "fp32"),
        ([layer("CaskConvolution", "BFloat16")], "bf16"),
        ([layer("CaskConvolution", "Int8 (32-wide)", "Half")], "int8"),
        ([layer("Conv", "Half"), layer("Conv", "Half"), layer("MatrixMultiply", "Float")],
         "mixed (fp16 in 2 layers, fp32 in 1 layers)"),
        (["only", "names"], "unknown"),
        ([layer("Reformat", "Half")], "unknown"),
        ([], "unknown"),
    ],
)  # fmt: skip
def test_precision_is_read_from_the_layer_report(layers: list[Any], expected: str) -> None:
    assert inspected_precision(json.dumps({"Layers": layers, "Bindings": []})) == expected


@pytest.fixture(scope="module")
def rtx() -> Any:
    return pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX, which builds without a GPU, is not installed here")


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_the_stand_in_builds_without_a_plugin(rtx: Any, standin_bundle: ModelBundle, precision: str) -> None:
    data = build_engine(rtx, standin_bundle.onnx_bytes(), precision, rtx.Logger(rtx.Logger.ERROR))
    assert len(data) > len(standin_bundle.onnx_bytes())


def test_a_graph_that_is_none_is_refused_before_native_code_reads_it(rtx: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no ONNX"):
        build_engine(rtx, b"hello", "fp32", rtx.Logger(rtx.Logger.ERROR))
