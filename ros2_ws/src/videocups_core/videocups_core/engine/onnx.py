"""ONNX Runtime on the CPU or on CUDA, and the truth about which of the two and in which precision."""

from __future__ import annotations

import platform
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from videocups_core.bundle import ModelBundle
from videocups_core.engine.base import (
    INPUT_NAME,
    OPTIONAL_OUTPUTS,
    REQUIRED_OUTPUTS,
    EngineError,
    EngineInfo,
    RawOutputs,
    TensorSpec,
    check_contract,
    check_image,
)
from videocups_core.engine.onnx_file import is_quantized, precision_of, read_onnx_facts

_DTYPES = {"tensor(uint8)": "uint8", "tensor(float)": "float32", "tensor(int32)": "int32", "tensor(int64)": "int64"}


@dataclass(frozen=True)
class OnnxConfig:
    """How ONNX Runtime runs the graph."""

    # cpu, cuda or cuda:N (refused where CUDA does not come up), or auto (CUDA where it comes up, else the CPU).
    device: str = "auto"
    # Threads inside an operator; 0 lets ONNX Runtime take all cores.
    threads: int = 0

    def __post_init__(self) -> None:
        kind, _, index = self.device.partition(":")
        if kind not in ("auto", "cpu", "cuda") or (index and not (kind == "cuda" and index.isdecimal())):
            raise ValueError(f"device must be auto, cpu, cuda or cuda:N, got {self.device!r}")
        if self.threads < 0:
            raise ValueError(f"threads must be >= 0 (0: all cores), got {self.threads}")


class OnnxEngine:
    """A bundle's graph in ONNX Runtime."""

    def __init__(self, bundle: ModelBundle, config: OnnxConfig | None = None) -> None:
        self.bundle = bundle
        self.config = config or OnnxConfig()
        self._session: Any = None
        self._info: EngineInfo | None = None
        self._outputs: list[str] = []

    def load(self) -> None:
        """Create the session, check the contract, and verify device and precision."""
        runtime = _import_onnxruntime()
        data = self.bundle.onnx_bytes()
        facts = read_onnx_facts(data)
        if facts.has_external_data:
            raise EngineError(
                f"{self.bundle.onnx_path} keeps weights in another file, which its hash does not cover; export it whole"
            )
        providers, notes = self._providers(runtime.get_available_providers())
        with tempfile.TemporaryDirectory(prefix="videocups-") as folder:
            optimized = Path(folder) / "optimized.onnx"
            session = self._create(runtime, data, providers, optimized)
            executed = read_onnx_facts(optimized.read_bytes())
        provider = self._verified_provider(session.get_providers(), notes)
        self._check_graph(session)
        precision = precision_of(executed.weight_types())
        if is_quantized(facts) and not precision.startswith(("int8", "mixed")):
            notes.append(f"the weights are stored quantised but multiplied in {precision}")
        stored = precision_of(facts.weight_types())
        if stored == "fp16" and precision != "fp16":
            notes.append(f"the weights are stored in fp16 but multiplied in {precision}")
        if session.get_provider_options().get("CUDAExecutionProvider", {}).get("use_tf32") == "1":
            notes.append("fp32 products run as TF32 on GPUs that have it, with 10 bits of mantissa")
        self._session = session
        self._info = EngineInfo(
            backend="onnxruntime",
            device="cpu" if provider == "CPUExecutionProvider" else _cuda_device(session),
            provider=provider,
            precision=precision,
            threads=self.config.threads,
            input_shape=self.bundle.input.shape,
            model_sha256=self.bundle.onnx_sha256,
            versions={"onnxruntime": runtime.__version__, "python": platform.python_version()},
            outputs=tuple(self._outputs),
            notes=tuple(notes),
        )

    def warm_up(self, runs: int = 2) -> None:
        """Run on a blank image; the first runs allocate and, on CUDA, choose kernels."""
        blank = np.zeros(self.bundle.input.shape, dtype=np.uint8)
        for _ in range(runs):
            self.infer(blank)

    def infer(self, image: NDArray[np.uint8]) -> RawOutputs:
        """Run the graph on one (1, H, W, 3) uint8 RGB image."""
        if self._session is None:
            raise RuntimeError("the engine is not loaded; call load() first")
        check_image(image, self.bundle.input)
        arrays = self._session.run(self._outputs, {INPUT_NAME: image})
        return RawOutputs.from_mapping(dict(zip(self._outputs, arrays, strict=True)))

    def describe(self) -> EngineInfo:
        """Say what runs where, as verified by ``load``."""
        if self._info is None:
            raise RuntimeError("the engine is not loaded; call load() first")
        return self._info

    def _create(self, runtime: Any, data: bytes, providers: list[Any], optimized: Path) -> Any:
        options = runtime.SessionOptions()
        options.intra_op_num_threads = self.config.threads
        options.inter_op_num_threads = 1
        # Idle pool threads that spin would take the cores the node's other threads need.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # The optimised graph is what runs; reading it back is how precision is verified and not assumed.
        options.optimized_model_filepath = str(optimized)
        options.log_severity_level = 3
        try:
            return runtime.InferenceSession(data, sess_options=options, providers=providers)
        except Exception as error:
            # ONNX Runtime raises its own exception classes, one per status; all mean that this graph does not load.
            raise EngineError(f"ONNX Runtime refuses {self.bundle.onnx_path}: {error}") from error

    def _providers(self, available: list[str]) -> tuple[list[Any], list[str]]:
        kind, _, index = self.config.device.partition(":")
        if kind == "cpu":
            return ["CPUExecutionProvider"], []
        if "CUDAExecutionProvider" in available:
            return [("CUDAExecutionProvider", {"device_id": int(index or 0)}), "CPUExecutionProvider"], []
        if kind == "cuda":
            raise EngineError(
                f"device {self.config.device!r} was asked for, but this ONNX Runtime has no CUDA (it has "
                f"{', '.join(available)}); install onnxruntime-gpu or set device to cpu"
            )
        return ["CPUExecutionProvider"], ["no CUDA in this ONNX Runtime, running on the CPU"]

    def _verified_provider(self, active: list[str], notes: list[str]) -> str:
        """Return the provider that came up; ONNX Runtime only logs when CUDA fails, and goes on with the CPU."""
        provider = active[0]
        if provider == "CPUExecutionProvider" and self.config.device.startswith("cuda"):
            raise EngineError(
                f"device {self.config.device!r} was asked for, but CUDA did not come up and ONNX Runtime fell back "
                "to the CPU; check driver and CUDA libraries, or set device to cpu or auto"
            )
        if provider == "CPUExecutionProvider" and self.config.device == "auto" and not notes:
            notes.append("CUDA is installed but did not come up, running on the CPU")
        return provider

    def _check_graph(self, session: Any) -> None:
        inputs, outputs = ([_tensor(arg) for arg in args] for args in (session.get_inputs(), session.get_outputs()))
        try:
            check_contract(inputs, outputs, self.bundle.input)
        except ValueError as error:
            raise EngineError(f"{self.bundle.onnx_path}: {error}") from error
        wanted = (*REQUIRED_OUTPUTS, *OPTIONAL_OUTPUTS)
        self._outputs = [tensor.name for tensor in outputs if tensor.name in wanted]


def _tensor(arg: Any) -> TensorSpec:
    return TensorSpec(arg.name, _DTYPES.get(arg.type, arg.type), tuple(arg.shape))


def _cuda_device(session: Any) -> str:
    options: Mapping[str, Mapping[str, str]] = session.get_provider_options()
    return f"cuda:{options.get('CUDAExecutionProvider', {}).get('device_id', '0')}"


def _import_onnxruntime() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise EngineError(
            f"ONNX Runtime is not importable ({error}); install it with 'pip install onnxruntime' "
            "(or onnxruntime-gpu for CUDA)"
        ) from error
    return onnxruntime
