"""The few calls of the CUDA runtime that engines take, each checked: memory at fixed addresses, copies, graphs."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from videocups_core.engine.base import EngineError

_NO_GPU = ("cudaErrorInsufficientDriver", "cudaErrorNoDevice")
_DRIVER_VERSION_FILE = Path("/sys/module/nvidia/version")


class NoGpuError(EngineError):
    """CUDA's bindings are here, but nothing that they could drive."""


@dataclass(frozen=True)
class Buffer:
    """A tensor twice, at addresses that never change: pinned memory here and memory of the GPU."""

    host: NDArray[Any]
    device_pointer: int


class Cuda:
    """One GPU, one stream on it, and the memory that was taken for it; freed with this object."""

    def __init__(self, runtime: Any, device_index: int) -> None:
        self._runtime = runtime
        self.index = device_index
        self._device_pointers: list[int] = []
        self._host_pointers: list[int] = []
        self._graphs: list[int] = []
        self._call("cudaSetDevice", device_index)
        # apart from the default stream, which others may use
        self.stream = int(self._call("cudaStreamCreateWithFlags", runtime.cudaStreamNonBlocking))

    def __del__(self) -> None:
        if not hasattr(self, "stream"):
            return
        for graph in self._graphs:
            self._runtime.cudaGraphExecDestroy(graph)
        for pointer in self._device_pointers:
            self._runtime.cudaFree(pointer)
        for pointer in self._host_pointers:
            self._runtime.cudaFreeHost(pointer)
        self._runtime.cudaStreamDestroy(self.stream)

    def use(self) -> None:
        """Make this GPU the calling thread's: the current GPU is a thread's own, and frames come on another thread."""
        self._call("cudaSetDevice", self.index)

    def gpu_name(self) -> str:
        """Return the GPU's name."""
        name = self._call("cudaGetDeviceProperties", self.index).name
        return (name.decode() if isinstance(name, bytes) else str(name)).rstrip("\0")

    def compute_capability(self) -> str:
        """Return the kind of GPU, such as 8.6."""
        facts = self._call("cudaGetDeviceProperties", self.index)
        return f"{facts.major}.{facts.minor}"

    def runtime_version(self) -> str:
        """Return CUDA's own version."""
        return str(self._call("cudaRuntimeGetVersion"))

    def driver_version(self) -> str:
        """Return the driver's CUDA version and, where Linux tells it, the driver's own."""
        own = _DRIVER_VERSION_FILE.read_text().strip() if _DRIVER_VERSION_FILE.is_file() else ""
        return f"{self._call('cudaDriverGetVersion')} {own}".strip()

    def buffer(self, shape: tuple[int, ...], dtype: DTypeLike) -> Buffer:
        """Allocate a tensor on both sides."""
        size_bytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
        # A copy from or to pageable memory goes through a buffer of the driver's and waits for it.
        host_pointer = int(self._call("cudaHostAlloc", size_bytes, 0))
        self._host_pointers.append(host_pointer)
        device_pointer = int(self._call("cudaMalloc", size_bytes))
        self._device_pointers.append(device_pointer)
        memory = (ctypes.c_uint8 * size_bytes).from_address(host_pointer)
        host = np.ctypeslib.as_array(memory).view(dtype).reshape(shape)
        host[...] = 0
        return Buffer(host, device_pointer)

    def to_device(self, buffer: Buffer) -> None:
        """Queue the copy to the GPU."""
        kind = self._runtime.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._copy(buffer.device_pointer, buffer.host.ctypes.data, buffer.host.nbytes, kind)

    def to_host(self, buffer: Buffer) -> None:
        """Queue the copy from the GPU; it is there after ``synchronize``."""
        kind = self._runtime.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._copy(buffer.host.ctypes.data, buffer.device_pointer, buffer.host.nbytes, kind)

    def synchronize(self) -> None:
        """Wait until the stream has done everything."""
        self._call("cudaStreamSynchronize", self.stream)

    def capture(self, work: Callable[[], None]) -> int:
        """Record what ``work`` queues on the stream, which does not run now; ``launch`` runs it as one call."""
        mode = self._runtime.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._call("cudaStreamBeginCapture", self.stream, mode)
        try:
            work()
        except Exception:
            self._runtime.cudaStreamEndCapture(self.stream)  # the stream must leave its capture; the graph is void
            raise
        recorded = self._call("cudaStreamEndCapture", self.stream)
        graph = int(self._call("cudaGraphInstantiateWithFlags", recorded, 0))  # the same in CUDA 11 and since
        self._graphs.append(graph)
        self._call("cudaGraphDestroy", recorded)
        return graph

    def launch(self, graph: int) -> None:
        """Queue a captured graph."""
        self._call("cudaGraphLaunch", graph, self.stream)

    def _copy(self, target: int, source: int, size_bytes: int, kind: Any) -> None:
        self._call("cudaMemcpyAsync", target, source, size_bytes, kind, self.stream)

    def _call(self, name: str, *arguments: Any) -> Any:
        return checked(self._runtime, name, *arguments)


def checked(runtime: Any, name: str, *arguments: Any) -> Any:
    """Call the CUDA runtime's ``name``; EngineError where it fails."""
    status, *values = getattr(runtime, name)(*arguments)
    if status.name in _NO_GPU:
        raise NoGpuError(
            f"no GPU can be used here ({status.name}: there is none, or its driver is older than this CUDA)"
        )
    if status != runtime.cudaError_t.cudaSuccess:
        raise EngineError(f"CUDA call {name} failed: {status.name}; check GPU and driver with nvidia-smi")
    return values[0] if len(values) == 1 else values or None


def open_cuda(device: str) -> Cuda:
    """Return the GPU that ``device`` (auto, cuda, cuda:N) names; EngineError says why there is none."""
    return Cuda(import_runtime(), device_index(device))


def device_index(device: str) -> int:
    """Return N of cuda:N, else the first GPU's 0."""
    return int(device.partition(":")[2] or 0)


def import_runtime() -> Any:
    """Return CUDA's runtime module; EngineError says how to get it."""
    try:
        return import_module("cuda.bindings.runtime")
    except ImportError as error:
        raise EngineError(
            f"the Python module cuda.bindings.runtime is not importable ({error}); install it with "
            "'pip install cuda-python'"
        ) from error


def used_memory_mb(device: str) -> float | None:
    """Return how much of the GPU's memory is taken, by all processes; None where CUDA does not tell."""
    try:
        runtime = import_runtime()
        checked(runtime, "cudaSetDevice", device_index(device))
        free, total = checked(runtime, "cudaMemGetInfo")
    except EngineError:
        return None
    return float((total - free) / 2**20)
