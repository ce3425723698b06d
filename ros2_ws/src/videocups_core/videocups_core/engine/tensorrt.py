"""TensorRT behind the same interface: engines built once for this machine, precision read back after the build."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from videocups_core.bundle import ModelBundle
from videocups_core.engine.ahead import ahead_key, tensorrt_version
from videocups_core.engine.base import EngineError, EngineInfo, TensorSpec, check_contract
from videocups_core.engine.cache import EngineCache, EngineKey
from videocups_core.engine.cuda import Cuda, NoGpuError, open_cuda
from videocups_core.engine.gpu_run import GpuRun, context_run
from videocups_core.engine.graph_engine import GraphEngine
from videocups_core.engine.tensorrt_build import build_engine, can_choose_precision, inspected_precision


@dataclass(frozen=True)
class TensorRtConfig:
    """How TensorRT builds and runs the graph."""

    # cuda, cuda:N or auto (the first GPU).
    device: str = "auto"
    # fp32 or fp16; what the builder made of it is read back and reported.
    precision: str = "fp16"
    # Where engines are kept; None takes $XDG_CACHE_HOME/videocups/engines.
    cache_folder: Path | None = None
    # Run copies and engine as one captured CUDA graph.
    cuda_graph: bool = False

    def __post_init__(self) -> None:
        kind, _, index = self.device.partition(":")
        if kind not in ("auto", "cuda") or (index and not (kind == "cuda" and index.isdecimal())):
            raise ValueError(f"device must be auto, cuda or cuda:N for TensorRT, got {self.device!r}")
        if self.precision not in ("fp32", "fp16"):
            raise ValueError(f"precision must be 'fp32' or 'fp16' for TensorRT, got {self.precision!r}")


class TensorRtEngine(GraphEngine):
    """A bundle's graph in TensorRT."""

    def __init__(self, bundle: ModelBundle, config: TensorRtConfig | None = None) -> None:
        super().__init__(bundle)
        self.config = config or TensorRtConfig()
        self._trt = import_tensorrt()
        self._cuda = _open_gpu(self.config.device)
        self._engine: Any = None

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
        self._runtime = self._trt.Runtime(logger)  # an engine lives as long as its runtime
        engine = self._engine = self._runtime.deserialize_cuda_engine(cached.data)
        if engine is None:
            raise EngineError(
                f"TensorRT cannot load the engine it built for {self.bundle.folder}; its log says why, and without "
                f"{cache.engine_path(self.key())} it is built again"
            )
        image, outputs = self._checked_tensors(engine)
        notes = [cached.note] if cached.note else []
        run = context_run(engine.create_execution_context(), self._cuda, image, outputs)
        captured = self.config.cuda_graph and _captured(run, notes)
        self._run = run
        precision = inspected_precision(self._inspect(engine))
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
            outputs=tuple(tensor.name for tensor in outputs),
            notes=tuple(notes),
            cuda_graph=captured,
        )

    def _version(self) -> str:
        return tensorrt_version(self._trt)

    def _build(self, logger: Any) -> bytes:
        try:
            return build_engine(self._trt, self.bundle.onnx_bytes(), self.config.precision, logger)
        except ValueError as error:
            raise EngineError(f"{self.bundle.onnx_path}: {error}") from error

    def _inspect(self, engine: Any) -> str:
        return str(engine.create_engine_inspector().get_engine_information(self._trt.LayerInformationFormat.JSON))

    def _checked_tensors(self, engine: Any) -> tuple[TensorSpec, list[TensorSpec]]:
        """Return the input and the outputs, where they keep the contract."""
        specs: dict[bool, list[TensorSpec]] = {True: [], False: []}
        for index in range(engine.num_io_tensors):
            name = engine.get_tensor_name(index)
            dtype = np.dtype(self._trt.nptype(engine.get_tensor_dtype(name)))
            is_input = engine.get_tensor_mode(name) == self._trt.TensorIOMode.INPUT
            specs[is_input].append(TensorSpec(name, dtype.name, tuple(engine.get_tensor_shape(name))))
        check_contract(specs[True], specs[False], self.bundle.input)
        return specs[True][0], specs[False]


def _open_gpu(device: str) -> Cuda:
    try:
        return open_cuda(device)
    except NoGpuError as error:
        raise EngineError(
            f"TensorRT builds and runs engines on a GPU, and {error}; build this one on the vehicle, or here for the "
            "vehicle's GPU with 'videocups engine BUNDLE --compute-capability X.Y' and tensorrt-rtx, or run the "
            "bundle's ONNX graph without an engine (backend onnxruntime)"
        ) from error


def _captured(run: GpuRun, notes: list[str]) -> bool:
    """Capture the run as a CUDA graph; False, with a note, where that cannot be."""
    try:
        run.capture()
    except EngineError as error:
        notes.append(f"a CUDA graph was asked for and could not be captured, running without ({error})")
        return False
    return True


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
