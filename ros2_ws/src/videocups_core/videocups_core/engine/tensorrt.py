"""TensorRT behind the same interface: engines built once for this machine, precision read back after the build."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from videocups_core.bundle import ModelBundle
from videocups_core.engine.ahead import ahead_key, tensorrt_version
from videocups_core.engine.base import EngineError, EngineInfo, RawOutputs, TensorSpec, check_contract, check_image
from videocups_core.engine.cache import EngineCache, EngineKey
from videocups_core.engine.tensorrt_build import build_engine, can_choose_precision, inspected_precision

_DRIVER_VERSION_FILE = Path("/sys/module/nvidia/version")


@dataclass(frozen=True)
class TensorRtConfig:
    """How TensorRT builds and runs the graph."""

    # cuda, cuda:N or auto (the first GPU).
    device: str = "auto"
    # fp32 or fp16; what the builder made of it is read back and reported.
    precision: str = "fp16"
    # Where engines are kept; None takes $XDG_CACHE_HOME/videocups/engines.
    cache_folder: Path | None = None

    def __post_init__(self) -> None:
        kind, _, index = self.device.partition(":")
        if kind not in ("auto", "cuda") or (index and not (kind == "cuda" and index.isdecimal())):
            raise ValueError(f"device must be auto, cuda or cuda:N for TensorRT, got {self.device!r}")
        if self.precision not in ("fp32", "fp16"):
            raise ValueError(f"precision must be 'fp32' or 'fp16' for TensorRT, got {self.precision!r}")

    @property
    def device_index(self) -> int:
        """Which GPU."""
        return int(self.device.partition(":")[2] or 0)


class TensorRtEngine:
    """A bundle's graph in TensorRT."""

    def __init__(self, bundle: ModelBundle, config: TensorRtConfig | None = None) -> None:
        self.bundle = bundle
        self.config = config or TensorRtConfig()
        self._trt = import_tensorrt()
        self._cuda = _Cuda(
            _import_or_explain("cuda.bindings.runtime", "install it with 'pip install cuda-python'"),
            self.config.device_index,
        )
        self._context: Any = None
        self._buffers: dict[str, _Buffer] = {}
        self._info: EngineInfo | None = None

    def key(self) -> EngineKey:
        """Return what this machine's engine for this bundle is cached under."""
        return EngineKey(
            onnx_sha256=self.bundle.onnx_sha256,
            precision=self.config.precision,
            input_shape=self.bundle.input.shape,
            gpu_name=self._cuda.gpu_name(),
            tensorrt_version=self._version(),
            cuda_version=self._cuda.runtime_version(),
            driver_version=self._cuda.driver_version(),
        )

    def load(self) -> None:
        """Load the engine from the cache, or build it (minutes), and allocate its buffers."""
        logger = self._trt.Logger(self._trt.Logger.WARNING)
        cache = EngineCache(self.config.cache_folder)
        # What was built ahead for GPUs of this kind comes first: it needs no build on the vehicle.
        ahead = cache.find(ahead_key(self.bundle, self.config.precision, self._trt, self._cuda.compute_capability()))
        cached = ahead or cache.load_or_build(self.key(), lambda: self._build(logger))
        engine = self._trt.Runtime(logger).deserialize_cuda_engine(cached.data)
        if engine is None:
            raise EngineError(
                f"TensorRT cannot load the engine it built for {self.bundle.folder}; its log says why, and without "
                f"{cache.engine_path(self.key())} it is built again"
            )
        self._check_engine(engine)
        self._allocate(engine)
        precision = inspected_precision(self._inspect(engine))
        notes = [cached.note] if cached.note else []
        if precision != self.config.precision:
            notes.append(f"{self.config.precision} was asked for, the engine computes in {precision}")
            if not can_choose_precision(self._trt):
                notes.append("this TensorRT takes the precision of the graph; export the bundle in the one you want")
        self._info = EngineInfo(
            backend="tensorrt",
            device=self._cuda.gpu_name(),
            provider=f"TensorRT ({'built ahead' if ahead else cached.outcome})",
            precision=precision,
            threads=1,
            input_shape=self.bundle.input.shape,
            model_sha256=self.bundle.onnx_sha256,
            versions={"tensorrt": self._version(), "cuda": self._cuda.runtime_version()},
            outputs=tuple(name for name, buffer in self._buffers.items() if not buffer.is_input),
            notes=tuple(notes),
        )

    def warm_up(self, runs: int = 2) -> None:
        """Run on a blank image."""
        for _ in range(runs):
            self.infer(np.zeros(self.bundle.input.shape, dtype=np.uint8))

    def infer(self, image: NDArray[np.uint8]) -> RawOutputs:
        """Run the engine on one (1, H, W, 3) uint8 RGB image."""
        if self._context is None:
            raise RuntimeError("the engine is not loaded; call load() first")
        check_image(image, self.bundle.input)
        for buffer in self._buffers.values():
            if buffer.is_input:
                buffer.host[...] = image
                self._cuda.to_device(buffer)
        if not self._context.execute_async_v3(self._cuda.stream):
            raise RuntimeError("TensorRT could not run the engine; see its log")
        outputs = {name: buffer for name, buffer in self._buffers.items() if not buffer.is_input}
        for buffer in outputs.values():
            self._cuda.to_host(buffer)
        self._cuda.synchronize()
        # Copies, because the next inference writes into the same host buffers.
        return RawOutputs.from_mapping({name: buffer.host.copy() for name, buffer in outputs.items()})

    def describe(self) -> EngineInfo:
        """Say what runs where, as verified by ``load``."""
        if self._info is None:
            raise RuntimeError("the engine is not loaded; call load() first")
        return self._info

    def _version(self) -> str:
        return tensorrt_version(self._trt)

    def _build(self, logger: Any) -> bytes:
        try:
            return build_engine(self._trt, self.bundle.onnx_bytes(), self.config.precision, logger)
        except ValueError as error:
            raise EngineError(f"{self.bundle.onnx_path}: {error}") from error

    def _inspect(self, engine: Any) -> str:
        return str(engine.create_engine_inspector().get_engine_information(self._trt.LayerInformationFormat.JSON))

    def _check_engine(self, engine: Any) -> None:
        specs: dict[bool, list[TensorSpec]] = {True: [], False: []}
        for name, is_input, shape, dtype in self._tensors(engine):
            specs[is_input].append(TensorSpec(name, dtype.name, shape))
        check_contract(specs[True], specs[False], self.bundle.input)

    def _tensors(self, engine: Any) -> list[tuple[str, bool, tuple[int, ...], np.dtype[Any]]]:
        names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
        return [
            (
                name,
                engine.get_tensor_mode(name) == self._trt.TensorIOMode.INPUT,
                tuple(engine.get_tensor_shape(name)),
                np.dtype(self._trt.nptype(engine.get_tensor_dtype(name))),
            )
            for name in names
        ]

    def _allocate(self, engine: Any) -> None:
        self._context = engine.create_execution_context()
        for name, is_input, shape, dtype in self._tensors(engine):
            host = np.zeros(shape, dtype=dtype)
            buffer = _Buffer(host, self._cuda.allocate(host.nbytes), is_input)
            self._buffers[name] = buffer
            self._context.set_tensor_address(name, buffer.device_pointer)


@dataclass(frozen=True)
class _Buffer:
    host: NDArray[Any]
    device_pointer: int
    is_input: bool


class _Cuda:
    """The few CUDA runtime calls an engine takes, each checked."""

    def __init__(self, runtime: Any, device_index: int) -> None:
        self._runtime = runtime
        self._index = device_index
        self._call("cudaSetDevice", device_index)
        self.stream = int(self._call("cudaStreamCreate"))
        self._pointers: list[int] = []

    def __del__(self) -> None:
        for pointer in getattr(self, "_pointers", []):
            self._runtime.cudaFree(pointer)
        if hasattr(self, "stream"):
            self._runtime.cudaStreamDestroy(self.stream)

    def gpu_name(self) -> str:
        name = self._call("cudaGetDeviceProperties", self._index).name
        return (name.decode() if isinstance(name, bytes) else str(name)).rstrip("\0")

    def compute_capability(self) -> str:
        """Return the kind of GPU, such as 8.6."""
        facts = self._call("cudaGetDeviceProperties", self._index)
        return f"{facts.major}.{facts.minor}"

    def runtime_version(self) -> str:
        return str(self._call("cudaRuntimeGetVersion"))

    def driver_version(self) -> str:
        """Return the driver's CUDA version and, where Linux tells it, the driver's own."""
        own = _DRIVER_VERSION_FILE.read_text().strip() if _DRIVER_VERSION_FILE.is_file() else ""
        return f"{self._call('cudaDriverGetVersion')} {own}".strip()

    def allocate(self, size_bytes: int) -> int:
        pointer = int(self._call("cudaMalloc", size_bytes))
        self._pointers.append(pointer)
        return pointer

    def to_device(self, buffer: _Buffer) -> None:
        kind = self._runtime.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._call(
            "cudaMemcpyAsync", buffer.device_pointer, buffer.host.ctypes.data, buffer.host.nbytes, kind, self.stream
        )

    def to_host(self, buffer: _Buffer) -> None:
        kind = self._runtime.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._call(
            "cudaMemcpyAsync", buffer.host.ctypes.data, buffer.device_pointer, buffer.host.nbytes, kind, self.stream
        )

    def synchronize(self) -> None:
        self._call("cudaStreamSynchronize", self.stream)

    def _call(self, name: str, *arguments: Any) -> Any:
        status, *values = getattr(self._runtime, name)(*arguments)
        if status != self._runtime.cudaError_t.cudaSuccess:
            raise EngineError(f"CUDA call {name} failed: {status.name}; check GPU and driver with nvidia-smi")
        return values[0] if values else None


def import_tensorrt() -> Any:
    """Return the module of TensorRT, or of TensorRT-RTX where only that is; EngineError says how to get one."""
    for name in ("tensorrt", "tensorrt_rtx"):  # one interface; RTX is the small one for desktop GPUs
        if find_spec(name):
            return _import_or_explain(name, "reinstall it")
    raise EngineError(
        "backend 'tensorrt' needs the Python module tensorrt or tensorrt_rtx; install it with 'pip install tensorrt' "
        "(or tensorrt-rtx), on a Jetson with 'apt install python3-libnvinfer'"
    )


def _import_or_explain(module: str, fix: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        raise EngineError(f"backend 'tensorrt' needs the Python module {module} ({error}); {fix}") from error
