"""ONNX Runtime on the CPU or on CUDA, and the truth about which of the two and in which precision."""

from __future__ import annotations

import platform
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from videocups_core.bundle import ModelBundle
from videocups_core.engine.base import (
    INPUT_NAME,
    OPTIONAL_OUTPUTS,
    REQUIRED_OUTPUTS,
    EngineError,
    EngineInfo,
    TensorSpec,
    check_contract,
)
from videocups_core.engine.cuda import Cuda, device_index, open_cuda
from videocups_core.engine.gpu_run import session_run
from videocups_core.engine.graph_engine import GraphEngine, Run
from videocups_core.engine.onnx_file import OnnxFacts, is_quantized, precision_of, read_onnx_facts

_CPU, _CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
_DTYPES = {"tensor(uint8)": "uint8", "tensor(float)": "float32", "tensor(int32)": "int32", "tensor(int64)": "int64"}


@dataclass(frozen=True)
class OnnxConfig:
    """How ONNX Runtime runs the graph."""

    # cpu, cuda or cuda:N (refused where CUDA does not come up), or auto (CUDA where it comes up, else the CPU).
    device: str = "auto"
    # Threads inside an operator; 0 lets ONNX Runtime take all cores.
    threads: int = 0
    # On CUDA: run a frame as one captured CUDA graph.
    cuda_graph: bool = False

    def __post_init__(self) -> None:
        kind, _, index = self.device.partition(":")
        if kind not in ("auto", "cpu", "cuda") or (index and not (kind == "cuda" and index.isdecimal())):
            raise ValueError(f"device must be auto, cpu, cuda or cuda:N, got {self.device!r}")
        if self.threads < 0:
            raise ValueError(f"threads must be >= 0 (0: all cores), got {self.threads}")
        if self.cuda_graph and kind == "cpu":
            raise ValueError("cuda_graph needs a GPU and the device is cpu; set device to cuda or auto")


@dataclass(frozen=True)
class _Opened:
    """A session that runs: on which provider, with or without a CUDA graph, and the graph it made of the file."""

    session: Any
    run: Run
    executed: OnnxFacts
    outputs: tuple[str, ...]
    cuda_graph: bool = False

    @property
    def provider(self) -> str:
        return str(self.session.get_providers()[0])


class OnnxEngine(GraphEngine):
    """A bundle's graph in ONNX Runtime."""

    def __init__(self, bundle: ModelBundle, config: OnnxConfig | None = None) -> None:
        super().__init__(bundle)
        self.config = config or OnnxConfig()

    def load(self) -> None:
        """Create the session, check the contract, and verify device and precision."""
        runtime = _import_onnxruntime()
        data = self.bundle.onnx_bytes()
        facts = read_onnx_facts(data)
        if facts.has_external_data:
            raise EngineError(
                f"{self.bundle.onnx_path} keeps weights in another file, which its hash does not cover; export it whole"
            )
        opened, notes = self._open(runtime, data)
        self._verify_provider(opened, notes)
        precision = precision_of(opened.executed.weight_types())
        if is_quantized(facts) and not precision.startswith(("int8", "mixed")):
            notes.append(f"the weights are stored quantised but multiplied in {precision}")
        stored = precision_of(facts.weight_types())
        if stored == "fp16" and precision != "fp16":
            notes.append(f"the weights are stored in fp16 but multiplied in {precision}")
        cuda_options: Mapping[str, str] = opened.session.get_provider_options().get(_CUDA, {})
        if cuda_options.get("use_tf32") == "1":
            notes.append("fp32 products run as TF32 on GPUs that have it, with 10 bits of mantissa")
        self._run = opened.run
        self._info = EngineInfo(
            backend="onnxruntime",
            device="cpu" if opened.provider == _CPU else f"cuda:{cuda_options.get('device_id', '0')}",
            provider=opened.provider,
            precision=precision,
            threads=self.config.threads,
            input_shape=self.bundle.input.shape,
            model_sha256=self.bundle.onnx_sha256,
            versions={"onnxruntime": runtime.__version__, "python": platform.python_version()},
            outputs=opened.outputs,
            notes=tuple(notes),
            cuda_graph=opened.cuda_graph,
        )

    def _open(self, runtime: Any, data: bytes) -> tuple[_Opened, list[str]]:
        """Create the session with the most that can be had of what was asked for; notes say what was not."""
        if not self._may_use_cuda(runtime.get_available_providers()):
            notes = [] if self.config.device == "cpu" else ["no CUDA in this ONNX Runtime, running on the CPU"]
            return self._create(runtime, data, [_CPU]), notes
        cuda, trouble = _gpu(self.config.device)
        options = {"device_id": str(device_index(self.config.device))}
        if cuda is None:
            opened = self._create(runtime, data, [(_CUDA, options), _CPU])
            if opened.provider != _CUDA:
                return opened, []
            without = ", and without the CUDA graph that was asked for" if self.config.cuda_graph else ""
            return opened, [f"frames are copied from and to pageable memory{without}: {trouble}"]
        options["user_compute_stream"] = str(cuda.stream)
        notes = []
        if self.config.cuda_graph:
            try:
                providers = [(_CUDA, {**options, "enable_cuda_graph": "1"}), _CPU]
                return self._create(runtime, data, providers, cuda, cuda_graph=True), []
            except EngineError as error:
                notes.append(f"a CUDA graph was asked for and could not be captured, running without ({error})")
        return self._create(runtime, data, [(_CUDA, options), _CPU], cuda), notes

    def _may_use_cuda(self, available: list[str]) -> bool:
        if self.config.device == "cpu":
            return False
        if _CUDA not in available and self.config.device != "auto":
            raise EngineError(
                f"device {self.config.device!r} was asked for, but this ONNX Runtime has no CUDA (it has "
                f"{', '.join(available)}); install onnxruntime-gpu or set device to cpu"
            )
        return _CUDA in available

    def _create(
        self, runtime: Any, data: bytes, providers: list[Any], cuda: Cuda | None = None, *, cuda_graph: bool = False
    ) -> _Opened:
        options = runtime.SessionOptions()
        options.intra_op_num_threads = self.config.threads
        options.inter_op_num_threads = 1
        # Idle pool threads that spin would take the cores the node's other threads need.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        with tempfile.TemporaryDirectory(prefix="videocups-") as folder:
            # The optimised graph is what runs; reading it back is how precision is verified and not assumed.
            optimized = Path(folder) / "optimized.onnx"
            options.optimized_model_filepath = str(optimized)
            try:
                session = runtime.InferenceSession(data, sess_options=options, providers=providers)
            except Exception as error:
                # ONNX Runtime raises its own exception classes, one per status; all mean that this does not load.
                raise EngineError(f"ONNX Runtime refuses {self.bundle.onnx_path}: {error}") from error
            executed = read_onnx_facts(optimized.read_bytes())
        image, outputs = self._checked_tensors(session)
        names = tuple(tensor.name for tensor in outputs)
        if cuda is None or session.get_providers()[0] != _CUDA:
            return _Opened(session, _host_run(session, names), executed, names)
        run = session_run(session, cuda, image, outputs)
        if cuda_graph:  # the first run captures
            try:
                run(np.zeros(self.bundle.input.shape, dtype=np.uint8))
            except Exception as error:  # again a class per status
                raise EngineError(str(error)) from error
        return _Opened(session, run, executed, names, cuda_graph)

    def _verify_provider(self, opened: _Opened, notes: list[str]) -> None:
        """Refuse or say a fall-back: ONNX Runtime only logs when CUDA fails, and goes on with the CPU."""
        if opened.provider != _CPU or self.config.device == "cpu":
            return
        if self.config.device != "auto":
            raise EngineError(
                f"device {self.config.device!r} was asked for, but CUDA did not come up and ONNX Runtime fell back "
                "to the CPU; check driver and CUDA libraries, or set device to cpu or auto"
            )
        if not notes:
            notes.append("CUDA is installed but did not come up, running on the CPU")
        if self.config.cuda_graph:
            notes.append("a CUDA graph was asked for, which the CPU does not have")

    def _checked_tensors(self, session: Any) -> tuple[TensorSpec, list[TensorSpec]]:
        """Return the input and the outputs that are read, where the graph keeps the contract."""
        inputs, outputs = ([_tensor(arg) for arg in args] for args in (session.get_inputs(), session.get_outputs()))
        try:
            check_contract(inputs, outputs, self.bundle.input)
        except ValueError as error:
            raise EngineError(f"{self.bundle.onnx_path}: {error}") from error
        wanted = (*REQUIRED_OUTPUTS, *OPTIONAL_OUTPUTS)
        return inputs[0], [tensor for tensor in outputs if tensor.name in wanted]


def _host_run(session: Any, names: tuple[str, ...]) -> Run:
    """Return a run that leaves memory to ONNX Runtime, which on the CPU hands out its outputs without a copy more."""
    return lambda image: dict(zip(names, session.run(names, {INPUT_NAME: image}), strict=True))


def _gpu(device: str) -> tuple[Cuda | None, str]:
    """Return the GPU for pinned memory and a stream of our own, or None and why there is none."""
    try:
        return open_cuda(device), ""
    except EngineError as error:
        return None, str(error)


def _tensor(arg: Any) -> TensorSpec:
    return TensorSpec(arg.name, _DTYPES.get(arg.type, arg.type), tuple(arg.shape))


def _import_onnxruntime() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise EngineError(
            f"ONNX Runtime is not importable ({error}); install it with 'pip install onnxruntime' "
            "(or onnxruntime-gpu for CUDA)"
        ) from error
    return onnxruntime
