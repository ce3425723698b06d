"""Engines on a GPU: their memory, their copies and their graphs, on stand-ins here and on a GPU where there is one."""

from __future__ import annotations

import dataclasses
import gc
import re
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.core.stand_in_cuda import CudaSession, StandInCuda, StandInTensorRt

from videocups_core.bundle import ModelBundle, write_bundle
from videocups_core.engine import EngineConfig, EngineError, create_engine
from videocups_core.engine.base import RawOutputs
from videocups_core.engine.cuda import open_cuda, used_memory_mb
from videocups_core.engine.onnx import OnnxConfig, OnnxEngine
from videocups_core.engine.tensorrt import TensorRtConfig, TensorRtEngine
from videocups_core.standin import StandInWorld
from videocups_core.stream import Stream

onnxruntime = pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed here")

CPU_SESSION = onnxruntime.InferenceSession
WORLD = StandInWorld()
IMAGES = [WORLD.image_rgb(index)[None] for index in range(3)]


@pytest.fixture(scope="module")
def expected(standin_bundle: ModelBundle) -> list[RawOutputs]:
    engine = OnnxEngine(standin_bundle, OnnxConfig("cpu", 1))
    engine.load()
    return [engine.infer(image) for image in IMAGES]


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> StandInCuda:
    """CUDA's runtime."""
    runtime = StandInCuda()
    monkeypatch.setattr("videocups_core.engine.cuda.import_runtime", lambda: runtime)
    return runtime


@pytest.fixture
def onnx_cuda(cuda: StandInCuda, monkeypatch: pytest.MonkeyPatch) -> StandInCuda:
    """ONNX Runtime with CUDA."""

    def session(data: bytes, sess_options: Any, providers: list[Any]) -> CudaSession:
        (name, options), fallback = providers
        assert (name, fallback) == ("CUDAExecutionProvider", "CPUExecutionProvider")
        return CudaSession(CPU_SESSION(data, sess_options, ["CPUExecutionProvider"]), cuda, options)

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    return cuda


@pytest.fixture
def trt(cuda: StandInCuda, monkeypatch: pytest.MonkeyPatch) -> StandInTensorRt:
    """TensorRT, whose builder hands back the graph."""

    def session_of(data: bytes) -> Any:
        return onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])

    module = StandInTensorRt(cuda, session_of)
    monkeypatch.setattr("videocups_core.engine.tensorrt.import_tensorrt", lambda: module)
    monkeypatch.setattr("videocups_core.engine.tensorrt.build_engine", lambda trt, onnx, precision, logger: bytes(onnx))
    return module


def assert_same(found: RawOutputs, wanted: RawOutputs) -> None:
    for field in dataclasses.fields(RawOutputs):
        np.testing.assert_array_equal(getattr(found, field.name), getattr(wanted, field.name), err_msg=field.name)


@pytest.mark.parametrize("cuda_graph", [False, True])
def test_onnx_runtime_runs_at_fixed_addresses(
    onnx_cuda: StandInCuda, standin_bundle: ModelBundle, expected: list[RawOutputs], cuda_graph: bool
) -> None:
    engine = create_engine(standin_bundle, EngineConfig(device="cuda:1", cuda_graph=cuda_graph))
    engine.load()
    info = engine.describe()
    assert (info.device, info.provider, info.cuda_graph) == ("cuda:1", "CUDAExecutionProvider", cuda_graph)
    assert [note for note in info.notes if "TF32" not in note] == []
    memory = onnx_cuda.allocations
    assert memory == 2 * (1 + len(info.outputs))  # input and outputs, here and on the GPU
    found = [engine.infer(image) for image in IMAGES]
    assert onnx_cuda.allocations == memory  # nothing more for frames
    for one, other in zip(found, expected, strict=True):  # the first answers are still what they were
        assert_same(one, other)


def test_cuda_graphs_are_asked_of_onnx_runtime(onnx_cuda: StandInCuda, standin_bundle: ModelBundle) -> None:
    asked: list[dict[str, str]] = []
    create = onnxruntime.InferenceSession

    def session(data: bytes, sess_options: Any, providers: list[Any]) -> Any:
        asked.append(providers[0][1])
        return create(data, sess_options, providers)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(onnxruntime, "InferenceSession", session)
        for wish in (False, True):
            OnnxEngine(standin_bundle, OnnxConfig("cuda", cuda_graph=wish)).load()
    assert [options.get("enable_cuda_graph") for options in asked] == [None, "1"]
    assert all(int(options["user_compute_stream"]) > 1000 for options in asked)


def test_a_graph_that_onnx_runtime_cannot_capture_is_said(
    onnx_cuda: StandInCuda, standin_bundle: ModelBundle, expected: list[RawOutputs], monkeypatch: pytest.MonkeyPatch
) -> None:
    create = onnxruntime.InferenceSession

    def session(data: bytes, sess_options: Any, providers: list[Any]) -> Any:
        if "enable_cuda_graph" in providers[0][1]:
            raise RuntimeError("all compute graph nodes have not been partitioned to the CUDAExecutionProvider")
        return create(data, sess_options, providers)

    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    engine = OnnxEngine(standin_bundle, OnnxConfig("auto", cuda_graph=True))
    engine.load()
    assert not engine.describe().cuda_graph
    assert re.search(r"CUDA graph was asked for and could not be captured.*partitioned", engine.describe().notes[0])
    assert_same(engine.infer(IMAGES[0]), expected[0])


def test_a_capture_that_fails_in_the_first_frame_is_said(
    onnx_cuda: StandInCuda, standin_bundle: ModelBundle, expected: list[RawOutputs], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = CudaSession.run_with_iobinding

    def fail(self: CudaSession, binding: Any) -> None:
        if "enable_cuda_graph" in self._options:
            raise RuntimeError("operation not permitted when stream is capturing")
        run(self, binding)

    monkeypatch.setattr(CudaSession, "run_with_iobinding", fail)
    engine = OnnxEngine(standin_bundle, OnnxConfig("cuda", cuda_graph=True))
    engine.load()
    assert not engine.describe().cuda_graph
    assert "not permitted when stream is capturing" in engine.describe().notes[0]
    # the image of the frame that failed must not come up in the next one
    assert_same(engine.infer(IMAGES[0]), expected[0])


def test_without_cudas_bindings_frames_still_run_and_it_is_said(
    onnx_cuda: StandInCuda, standin_bundle: ModelBundle, expected: list[RawOutputs], monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> Any:
        raise EngineError("cuda.bindings.runtime is not importable; install it with 'pip install cuda-python'")

    class OwnMemory:
        """A session on CUDA to which no stream was given, and which copies by itself."""

        def __init__(self, session: Any) -> None:
            self._session = session

        def get_providers(self) -> list[str]:
            return ["CUDAExecutionProvider", "CPUExecutionProvider"]

        def get_provider_options(self) -> dict[str, dict[str, str]]:
            return {"CUDAExecutionProvider": {"device_id": "0"}}

        def __getattr__(self, name: str) -> Any:
            return getattr(self._session, name)

    def session(data: bytes, sess_options: Any, providers: list[Any]) -> OwnMemory:
        assert providers == [("CUDAExecutionProvider", {"device_id": "0"}), "CPUExecutionProvider"]
        return OwnMemory(CPU_SESSION(data, sess_options, ["CPUExecutionProvider"]))

    monkeypatch.setattr("videocups_core.engine.cuda.import_runtime", missing)
    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    engine = OnnxEngine(standin_bundle, OnnxConfig("cuda", cuda_graph=True))
    engine.load()
    (note,) = engine.describe().notes
    assert "pageable memory, and without the CUDA graph that was asked for" in note
    assert "pip install cuda-python" in note
    assert_same(engine.infer(IMAGES[0]), expected[0])


def test_a_graph_on_the_cpu_is_refused_or_said(standin_bundle: ModelBundle, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="cuda_graph needs a GPU and the device is cpu"):
        OnnxConfig("cpu", cuda_graph=True)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    engine = OnnxEngine(standin_bundle, OnnxConfig("auto", cuda_graph=True))
    engine.load()
    notes = engine.describe().notes
    assert notes == (
        "no CUDA in this ONNX Runtime, running on the CPU",
        "a CUDA graph was asked for, which the CPU does not have",
    )


@pytest.mark.parametrize("cuda_graph", [False, True])
def test_tensorrt_runs_at_fixed_addresses(
    trt: StandInTensorRt,
    standin_bundle: ModelBundle,
    expected: list[RawOutputs],
    tmp_path: Path,
    cuda_graph: bool,
) -> None:
    engine = TensorRtEngine(standin_bundle, TensorRtConfig("cuda:1", "fp16", tmp_path, cuda_graph))
    engine.load()
    info = engine.describe()
    assert (info.device, info.precision, info.cuda_graph, info.notes) == ("GPU 9000", "fp16", cuda_graph, ())
    memory, launches = trt.cuda.allocations, trt.cuda.launches
    found = [engine.infer(image) for image in IMAGES]
    assert trt.cuda.allocations == memory
    assert trt.cuda.launches - launches == (len(IMAGES) if cuda_graph else 0)
    for one, other in zip(found, expected, strict=True):
        assert_same(one, other)


def test_a_graph_that_tensorrt_cannot_capture_is_said(
    trt: StandInTensorRt, standin_bundle: ModelBundle, expected: list[RawOutputs], tmp_path: Path
) -> None:
    trt.captures = False
    engine = TensorRtEngine(standin_bundle, TensorRtConfig("cuda", "fp16", tmp_path, cuda_graph=True))
    engine.load()
    assert not engine.describe().cuda_graph
    assert "could not be captured, running without" in engine.describe().notes[0]
    assert trt.cuda.capturing is None
    assert_same(engine.infer(IMAGES[1]), expected[1])


def test_frames_may_come_on_another_thread(
    trt: StandInTensorRt, standin_bundle: ModelBundle, expected: list[RawOutputs], tmp_path: Path
) -> None:
    engine = TensorRtEngine(standin_bundle, TensorRtConfig("cuda:1", "fp16", tmp_path))
    engine.load()
    found: list[RawOutputs] = []
    worker = threading.Thread(target=lambda: found.append(engine.infer(IMAGES[2])))
    worker.start()
    worker.join()
    assert_same(found[0], expected[2])


def test_everything_is_given_back(trt: StandInTensorRt, standin_bundle: ModelBundle, tmp_path: Path) -> None:
    engine = TensorRtEngine(standin_bundle, TensorRtConfig("cuda", "fp16", tmp_path, cuda_graph=True))
    engine.load()
    assert trt.cuda.device
    assert trt.cuda.pinned
    del engine
    gc.collect()
    assert (trt.cuda.device, trt.cuda.pinned, trt.cuda.graphs, trt.cuda.streams) == ({}, {}, {}, {})


@pytest.mark.parametrize("cuda_graph", [False, True])
def test_a_session_ends_before_its_stream_and_its_memory(
    onnx_cuda: StandInCuda, standin_bundle: ModelBundle, cuda_graph: bool
) -> None:
    engine = OnnxEngine(standin_bundle, OnnxConfig("cuda", cuda_graph=cuda_graph))
    engine.load()
    engine.infer(IMAGES[0])
    del engine
    gc.collect()
    assert onnx_cuda.orphaned_sessions == 0
    assert (onnx_cuda.device, onnx_cuda.pinned, onnx_cuda.graphs, onnx_cuda.streams) == ({}, {}, {}, {})


@pytest.mark.parametrize(
    "change", ["onnx_sha256", "precision", "gpu_name", "tensorrt_version", "cuda_version", "driver_version"]
)
def test_whatever_changes_on_a_vehicle_builds_again(
    trt: StandInTensorRt, standin_bundle: ModelBundle, tmp_path: Path, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key takes its fields from the machine; the input's shape is a part of the graph and its hash."""
    built: list[str] = []
    monkeypatch.setattr(
        "videocups_core.engine.tensorrt.build_engine",
        lambda trt, onnx, precision, logger: built.append(precision) or bytes(onnx),
    )
    bundle, config = standin_bundle, TensorRtConfig("cuda", "fp16", tmp_path)
    TensorRtEngine(bundle, config).load()
    TensorRtEngine(bundle, config).load()
    assert len(built) == 1
    if change == "onnx_sha256":
        bundle = with_a_remark(bundle, tmp_path / "other")
    elif change == "precision":
        config = dataclasses.replace(config, precision="fp32")
    elif change == "gpu_name":
        trt.cuda.gpu_name = "GPU 9001"
    elif change == "tensorrt_version":
        trt.__version__ = "10.3.1"
    elif change == "cuda_version":
        trt.cuda.runtime += 10
    else:
        trt.cuda.driver += 10
    engine = TensorRtEngine(bundle, config)
    engine.load()
    assert len(built) == 2
    assert engine.describe().provider == "TensorRT (built)"


def with_a_remark(bundle: ModelBundle, folder: Path) -> ModelBundle:
    """The same graph with a doc_string, so that only its hash differs."""
    data = bundle.onnx_bytes() + b"\x32\x01r"  # field 6 of ModelProto, one byte long
    return write_bundle(folder, data, model_id=bundle.model_id, classes=bundle.classes, input=bundle.input)


def test_a_truncated_engine_is_built_again(trt: StandInTensorRt, standin_bundle: ModelBundle, tmp_path: Path) -> None:
    config = TensorRtConfig("cuda", "fp16", tmp_path)
    TensorRtEngine(standin_bundle, config).load()
    (stored,) = tmp_path.glob("*.engine")
    stored.write_bytes(stored.read_bytes()[:-100])
    engine = TensorRtEngine(standin_bundle, config)
    engine.load()
    assert engine.describe().provider == "TensorRT (rebuilt)"
    assert "was damaged and was built again" in engine.describe().notes[0]
    assert engine.infer(IMAGES[0]).semantic.shape == (256, 512)


def test_a_cache_that_cannot_be_written_still_runs(
    trt: StandInTensorRt, standin_bundle: ModelBundle, expected: list[RawOutputs], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    engine = TensorRtEngine(standin_bundle, TensorRtConfig("cuda", "fp16", tmp_path / "file" / "engines"))
    engine.load()
    assert engine.describe().provider == "TensorRT (built)"
    assert "cannot be written" in engine.describe().notes[0]
    assert_same(engine.infer(IMAGES[0]), expected[0])


def test_a_gpu_that_is_not_there_is_a_sentence(trt: StandInTensorRt, standin_bundle: ModelBundle) -> None:
    with pytest.raises(EngineError, match="CUDA call cudaSetDevice failed: cudaErrorInvalidDevice"):
        TensorRtEngine(standin_bundle, TensorRtConfig("cuda:2"))


def test_memory_in_use_is_asked_of_the_gpu(cuda: StandInCuda) -> None:
    assert used_memory_mb("cuda:1") == 2048
    assert used_memory_mb("cuda:2") is None


def test_the_stand_in_has_the_calls_of_the_real_runtime() -> None:
    """A stand-in with other names or other counts of arguments would prove nothing."""
    runtime = pytest.importorskip("cuda.bindings.runtime", reason="the CUDA bindings are not installed here")
    for name in (name for name in dir(StandInCuda) if re.match(r"cuda[A-Z]\w+$", name)):
        real, ours = getattr(runtime, name), getattr(StandInCuda, name)
        if not callable(ours) or isinstance(ours, type):
            continue
        signature = re.match(rf"{name}\((.*?)\)", real.__doc__.strip())
        assert signature, name
        arguments = [part for part in signature.group(1).split(",") if part.strip()]
        assert len(arguments) == ours.__code__.co_argcount - 1, name
    for kind, members in (("cudaError_t", ["cudaSuccess"]), ("cudaMemcpyKind", ["cudaMemcpyHostToDevice"])):
        assert all(hasattr(getattr(runtime, kind), member) for member in members)
    assert runtime.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal is not None
    assert runtime.cudaStreamNonBlocking == StandInCuda.cudaStreamNonBlocking


# Where there is a GPU.


@pytest.fixture(scope="module")
def gpu() -> None:
    try:
        open_cuda("cuda")
    except EngineError as error:
        pytest.skip(f"no GPU here: {error}")


@pytest.mark.gpu
@pytest.mark.usefixtures("gpu")
def test_memory_really_goes_there_and_back() -> None:
    cuda = open_cuda("cuda")
    buffer = cuda.buffer((3, 5), np.float32)
    buffer.host[...] = np.arange(15).reshape(3, 5)
    cuda.to_device(buffer)
    cuda.synchronize()
    graph = cuda.capture(lambda: cuda.to_host(buffer))
    buffer.host[...] = 0
    cuda.launch(graph)
    cuda.synchronize()
    np.testing.assert_array_equal(buffer.host, np.arange(15).reshape(3, 5))


@pytest.mark.gpu
@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("cuda_graph", [False, True])
def test_onnx_runtime_on_a_gpu_says_what_the_cpu_says(
    standin_bundle: ModelBundle, expected: list[RawOutputs], cuda_graph: bool
) -> None:
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        pytest.skip("onnxruntime-gpu is not installed here")
    engine = OnnxEngine(standin_bundle, OnnxConfig("cuda", cuda_graph=cuda_graph))
    engine.load()
    for image, other in zip(IMAGES, expected, strict=True):
        found = engine.infer(image)
        np.testing.assert_array_equal(found.boxes, other.boxes)
        assert (found.semantic != other.semantic).mean() < 1e-3


@pytest.mark.gpu
@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("cuda_graph", [False, True])
def test_tensorrt_on_a_gpu_says_what_the_cpu_says(
    standin_bundle: ModelBundle, expected: list[RawOutputs], tmp_path: Path, cuda_graph: bool
) -> None:
    try:
        engine = TensorRtEngine(standin_bundle, TensorRtConfig("cuda", "fp32", tmp_path, cuda_graph))
    except EngineError as error:
        pytest.skip(str(error))
    engine.load()
    for index, other in enumerate(expected):
        frame = Stream(standin_bundle, engine).step(WORLD.image_rgb(index), index)
        assert {segment.class_id for segment in frame.segments} >= set(np.unique(other.semantic).tolist())
