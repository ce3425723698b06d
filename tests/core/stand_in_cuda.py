"""Stand-ins for a GPU where there is none: CUDA's runtime, ONNX Runtime's CUDA sessions and TensorRT.

They are stricter than the real ones. Work is queued and runs at ``cudaStreamSynchronize``, so that what is read or
overwritten too early is wrong; memory is poisoned, counted and known by its kind; the current GPU is a thread's own.
What the network computes is computed by ONNX Runtime on the CPU, in the memory that the stand-in calls the GPU's.
"""

# ruff: noqa: N802, N815 (the names are CUDA's and TensorRT's)
from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from enum import Enum
from types import SimpleNamespace
from typing import Any

import numpy as np

Work = Callable[[], None]


class Status(Enum):
    cudaSuccess = 0
    cudaErrorInvalidDevice = 101
    cudaErrorStreamCaptureInvalidated = 901


class CopyKind(Enum):
    cudaMemcpyHostToDevice = 1
    cudaMemcpyDeviceToHost = 2


class CaptureMode(Enum):
    cudaStreamCaptureModeThreadLocal = 1


class StandInCuda:
    """``cuda.bindings.runtime`` with two GPUs."""

    cudaError_t = Status
    cudaMemcpyKind = CopyKind
    cudaStreamCaptureMode = CaptureMode
    cudaStreamNonBlocking = 1

    def __init__(self, gpu_name: str = "GPU 9000", runtime: int = 12060, driver: int = 12080) -> None:
        self.gpu_name, self.runtime, self.driver = gpu_name, runtime, driver
        self.device: dict[int, np.ndarray] = {}
        self.pinned: dict[int, np.ndarray] = {}
        self.streams: dict[int, list[Work]] = {}
        self.graphs: dict[int, list[Work]] = {}
        self.capturing: list[Work] | None = None
        self.allocations = self.launches = self.orphaned_sessions = 0
        self._thread = threading.local()
        self._next = 1000
        self._stream_gpu: dict[int, int] = {}

    def queue(self, stream: int, work: Work) -> None:
        """Put work on a stream, or into the graph that is being captured."""
        assert self._thread.gpu == self._stream_gpu[stream], "the calling thread's current GPU is another one"
        (self.streams[stream] if self.capturing is None else self.capturing).append(work)

    def _handle(self) -> int:
        self._next += 1
        return self._next

    def cudaSetDevice(self, device: int) -> tuple[Status]:
        if device > 1:
            return (Status.cudaErrorInvalidDevice,)
        self._thread.gpu = device
        return (Status.cudaSuccess,)

    def cudaGetDeviceProperties(self, device: int) -> tuple[Status, Any]:
        return Status.cudaSuccess, SimpleNamespace(name=self.gpu_name.encode() + b"\0", major=8, minor=6)

    def cudaRuntimeGetVersion(self) -> tuple[Status, int]:
        return Status.cudaSuccess, self.runtime

    def cudaDriverGetVersion(self) -> tuple[Status, int]:
        return Status.cudaSuccess, self.driver

    def cudaMemGetInfo(self) -> tuple[Status, int, int]:
        return Status.cudaSuccess, 6 << 30, 8 << 30

    def cudaStreamCreateWithFlags(self, flags: int) -> tuple[Status, int]:
        assert flags == self.cudaStreamNonBlocking
        stream = self._handle()
        self.streams[stream], self._stream_gpu[stream] = [], self._thread.gpu
        return Status.cudaSuccess, stream

    def cudaStreamDestroy(self, stream: int) -> tuple[Status]:
        assert not self.streams.pop(stream), "a stream was destroyed with work on it"
        return (Status.cudaSuccess,)

    def cudaStreamSynchronize(self, stream: int) -> tuple[Status]:
        assert self.capturing is None, "a stream that is captured cannot be waited for"
        queued, self.streams[stream] = self.streams[stream], []
        for work in queued:
            work()
        return (Status.cudaSuccess,)

    def cudaMalloc(self, size: int) -> tuple[Status, int]:
        return Status.cudaSuccess, self._allocate(self.device, size)

    def cudaHostAlloc(self, size: int, flags: int) -> tuple[Status, int]:
        return Status.cudaSuccess, self._allocate(self.pinned, size)

    def cudaFree(self, pointer: int) -> tuple[Status]:
        del self.device[pointer]
        return (Status.cudaSuccess,)

    def cudaFreeHost(self, pointer: int) -> tuple[Status]:
        del self.pinned[pointer]
        return (Status.cudaSuccess,)

    def cudaMemcpyAsync(self, target: int, source: int, size: int, kind: CopyKind, stream: int) -> tuple[Status]:
        up = kind is CopyKind.cudaMemcpyHostToDevice
        targets, sources = (self.device, self.pinned) if up else (self.pinned, self.device)
        assert len(targets[target]) >= size, "the copy is larger than its target"
        assert len(sources[source]) >= size, "the copy is larger than its source"
        self.queue(stream, lambda: ctypes.memmove(target, source, size) and None)
        return (Status.cudaSuccess,)

    def cudaStreamBeginCapture(self, stream: int, mode: CaptureMode) -> tuple[Status]:
        assert not self.streams[stream], "work from before the capture"
        self.capturing = []
        return (Status.cudaSuccess,)

    def cudaStreamEndCapture(self, stream: int) -> tuple[Status, int]:
        assert self.capturing is not None
        recorded, self.capturing = self.capturing, None
        handle = self._handle()
        self.graphs[handle] = recorded
        return Status.cudaSuccess, handle

    def cudaGraphInstantiateWithFlags(self, graph: int, flags: int) -> tuple[Status, int]:
        handle = self._handle()
        self.graphs[handle] = list(self.graphs[graph])
        return Status.cudaSuccess, handle

    def cudaGraphDestroy(self, graph: int) -> tuple[Status]:
        del self.graphs[graph]
        return (Status.cudaSuccess,)

    def cudaGraphExecDestroy(self, graph: int) -> tuple[Status]:
        del self.graphs[graph]
        return (Status.cudaSuccess,)

    def cudaGraphLaunch(self, graph: int, stream: int) -> tuple[Status]:
        self.launches += 1
        for work in self.graphs[graph]:
            self.queue(stream, work)
        return (Status.cudaSuccess,)

    def _allocate(self, memory: dict[int, np.ndarray], size: int) -> int:
        self.allocations += 1
        array = np.full(size, 0xCD, np.uint8)
        memory[array.ctypes.data] = array
        return int(array.ctypes.data)


class CudaSession:
    """An ONNX Runtime session whose CUDA came up, on a stream of the caller's."""

    def __init__(self, session: Any, cuda: StandInCuda, options: dict[str, str]) -> None:
        self._session, self._cuda, self._options = session, cuda, options
        self.stream = int(options["user_compute_stream"])

    def __del__(self) -> None:
        if self.stream not in self._cuda.streams:  # the real one still uses it when it ends
            self._cuda.orphaned_sessions += 1

    def get_providers(self) -> list[str]:
        return ["CUDAExecutionProvider", "CPUExecutionProvider"]

    def get_provider_options(self) -> dict[str, dict[str, str]]:
        return {"CUDAExecutionProvider": {"use_tf32": "1", **self._options}, "CPUExecutionProvider": {}}

    def get_inputs(self) -> Any:
        return self._session.get_inputs()

    def get_outputs(self) -> Any:
        return self._session.get_outputs()

    def io_binding(self) -> CudaBinding:
        return CudaBinding(self._session.io_binding(), self._cuda, int(self._options["device_id"]))

    def run_with_iobinding(self, binding: CudaBinding) -> None:
        self._cuda.queue(self.stream, lambda: self._session.run_with_iobinding(binding.real))


class CudaBinding:
    """Passes on what is bound to the GPU's memory; any other memory is refused."""

    def __init__(self, real: Any, cuda: StandInCuda, gpu: int) -> None:
        self.real, self._cuda, self._gpu = real, cuda, gpu

    def bind_input(self, name: str, device: str, gpu: int, kind: Any, shape: tuple[int, ...], pointer: int) -> None:
        self._check(device, gpu, kind, shape, pointer)
        self.real.bind_input(name, "cpu", 0, kind, shape, pointer)

    def bind_output(self, name: str, device: str, gpu: int, kind: Any, shape: tuple[int, ...], pointer: int) -> None:
        self._check(device, gpu, kind, shape, pointer)
        self.real.bind_output(name, "cpu", 0, kind, shape, pointer)

    def _check(self, device: str, gpu: int, kind: Any, shape: tuple[int, ...], pointer: int) -> None:
        assert (device, gpu) == ("cuda", self._gpu)
        assert len(self._cuda.device[pointer]) == np.prod(shape) * np.dtype(kind).itemsize


class StandInTensorRt:
    """The module ``tensorrt``; an "engine" is the graph's own bytes, and ``session_of`` runs them on the CPU."""

    __name__ = "tensorrt"

    class Logger:
        WARNING, ERROR = 1, 2

        def __init__(self, level: int) -> None:
            self.level = level

    TensorIOMode = SimpleNamespace(INPUT="in", OUTPUT="out")
    LayerInformationFormat = SimpleNamespace(JSON="json")
    BuilderFlag = SimpleNamespace(FP16=1)

    def __init__(self, cuda: StandInCuda, session_of: Callable[[bytes], Any], version: str = "10.3.0") -> None:
        self.cuda, self.session_of, self.__version__ = cuda, session_of, version
        self.captures = True

    def Runtime(self, logger: Any) -> Any:
        return SimpleNamespace(deserialize_cuda_engine=lambda data: TensorRtPlan(self, self.session_of(data)))

    @staticmethod
    def nptype(dtype: Any) -> Any:
        return dtype


class TensorRtPlan:
    """A deserialised engine, as ``ICudaEngine`` shows it."""

    def __init__(self, trt: StandInTensorRt, session: Any) -> None:
        self.trt, self.session = trt, session
        types = {"tensor(uint8)": np.uint8, "tensor(float)": np.float32, "tensor(int64)": np.int64}
        self.tensors = {
            arg.name: (mode, tuple(arg.shape), types[arg.type])
            for mode, args in (("in", session.get_inputs()), ("out", session.get_outputs()))
            for arg in args
        }

    @property
    def num_io_tensors(self) -> int:
        return len(self.tensors)

    def get_tensor_name(self, index: int) -> str:
        return list(self.tensors)[index]

    def get_tensor_mode(self, name: str) -> str:
        return self.tensors[name][0]

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return self.tensors[name][1]

    def get_tensor_dtype(self, name: str) -> Any:
        return self.tensors[name][2]

    def create_engine_inspector(self) -> Any:
        layers = '{"Layers": [{"LayerType": "Convolution", "Inputs": [{"Format/Datatype": "Half"}]}]}'
        return SimpleNamespace(get_engine_information=lambda form: layers)

    def create_execution_context(self) -> TensorRtContext:
        return TensorRtContext(self)


class TensorRtContext:
    """``IExecutionContext``: addresses first, then work on a stream."""

    def __init__(self, plan: TensorRtPlan) -> None:
        self._plan, self._addresses = plan, {}
        self._has_run = False

    def set_tensor_address(self, name: str, pointer: int) -> bool:
        assert pointer in self._plan.trt.cuda.device
        self._addresses[name] = pointer
        return True

    def execute_async_v3(self, stream: int) -> bool:
        trt = self._plan.trt
        if trt.cuda.capturing is not None:
            assert self._has_run, "what the first run sets up would be captured"
            if not trt.captures:
                return False
        assert set(self._addresses) == set(self._plan.tensors)
        trt.cuda.queue(stream, self._run)
        return True

    def _run(self) -> None:
        self._has_run = True
        binding = self._plan.session.io_binding()
        for name, (mode, shape, kind) in self._plan.tensors.items():
            bind = binding.bind_input if mode == "in" else binding.bind_output
            bind(name, "cpu", 0, kind, shape, self._addresses[name])
        self._plan.session.run_with_iobinding(binding)
