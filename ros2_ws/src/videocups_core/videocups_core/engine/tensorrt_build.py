"""Building a TensorRT engine from a bundle's graph, and reading back in which precision it computes."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

from videocups_core.engine.base import EngineError
from videocups_core.engine.onnx_file import is_quantized, read_onnx_facts

_WORKSPACE_BYTES = 2 << 30
_COMPUTE_LAYERS = ("conv", "gemm", "matrix", "fully")
# Words of TensorRT 8 ("Half", "Int8", "Float") and 10 ("FP16", "INT8", "FP32"); the narrowest input decides.
_DATATYPES = (
    ("Int8", "int8"), ("INT8", "int8"), ("FP8", "fp8"), ("Half", "fp16"), ("BF16", "bf16"), ("BFloat16", "bf16"),
    ("FP16", "fp16"), ("Float", "fp32"), ("FP32", "fp32"),
)  # fmt: skip


def can_choose_precision(trt: Any) -> bool:
    """Return whether this TensorRT lowers the precision of a graph; newer ones take it from the graph alone."""
    return hasattr(trt.BuilderFlag, "FP16")


def build_engine(trt: Any, onnx: bytes, precision: str, logger: Any, compute_capability: str = "") -> bytes:
    """Serialise an engine; minutes for a large network. ``trt``: the tensorrt module.

    It is built for this machine's GPU, or for GPUs of ``compute_capability`` (such as 8.6), which needs no GPU here.
    """
    # The parser is native code and dies on bytes that are no model; this reader says so.
    facts = read_onnx_facts(onnx)
    if facts.has_external_data:
        raise EngineError("the graph keeps weights in another file, which its hash does not cover; export it whole")
    if is_quantized(facts):
        # Its zero points and 32-bit biases are what CPUs want and what TensorRT's parser refuses, less plainly.
        raise EngineError("the graph is quantised for CPUs; export the bundle with --precision fp16 for TensorRT")
    builder = trt.Builder(logger)
    # Explicit batch was the newer of two kinds up to TensorRT 9 and is the only one since.
    explicit = getattr(trt.NetworkDefinitionCreationFlag, "EXPLICIT_BATCH", None)
    network = builder.create_network(0 if explicit is None else 1 << int(explicit))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(onnx):
        errors = "; ".join(str(parser.get_error(index)) for index in range(parser.num_errors))
        raise EngineError(f"TensorRT cannot read the graph: {errors}")
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, _WORKSPACE_BYTES)
    # Without this the inspector cannot tell which layer runs in which precision.
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    if precision == "fp16" and can_choose_precision(trt):
        config.set_flag(trt.BuilderFlag.FP16)
    if compute_capability:
        config.num_compute_capabilities = 1
        config.set_compute_capability(_capabilities(trt)[_known(trt, compute_capability)], 0)
    data = builder.build_serialized_network(network, config)
    if data is None:
        raise EngineError("TensorRT could not build an engine from the graph; its log says why")
    return bytes(data)


def known_compute_capabilities(trt: Any) -> tuple[str, ...]:
    """Return what this TensorRT builds for without such a GPU, as 8.6; nothing for the full TensorRT."""
    return tuple(_capabilities(trt))


def _capabilities(trt: Any) -> dict[str, Any]:
    members = getattr(getattr(trt, "ComputeCapability", None), "__members__", {})
    numbers = {name: name.removeprefix("SM") for name in members if name.startswith("SM")}
    return {f"{number[:-1]}.{number[-1]}": members[name] for name, number in numbers.items()}


def _known(trt: Any, compute_capability: str) -> str:
    known = known_compute_capabilities(trt)
    if not known:
        raise EngineError(
            f"{trt.__name__} {trt.__version__} builds for the GPU it runs on alone; build on the vehicle, or install "
            "tensorrt-rtx to build for other GPUs"
        )
    if compute_capability not in known:
        raise EngineError(
            f"{trt.__name__} {trt.__version__} builds for compute capability {', '.join(known)}, "
            f"not for {compute_capability}; build on the machine with such a GPU, on a Jetson with JetPack's TensorRT"
        )
    return compute_capability


def inspected_precision(inspector_json: str) -> str:
    """Precision of the convolutions and matrix products in TensorRT's layer report: fp32, fp16, int8 or mixed."""
    report: Mapping[str, Any] = json.loads(inspector_json)
    counts: Counter[str] = Counter()
    for layer in report.get("Layers", []):
        # With a lower profiling verbosity layers are bare names, which tell nothing.
        if isinstance(layer, dict) and any(word in str(layer.get("LayerType", "")).lower() for word in _COMPUTE_LAYERS):
            described = " ".join(str(tensor.get("Format/Datatype", "")) for tensor in layer.get("Inputs", []))
            counts[next((name for word, name in _DATATYPES if word in described), "unknown")] += 1
    if not counts:
        return "unknown"
    if len(counts) == 1:
        return next(iter(counts))
    return "mixed (" + ", ".join(f"{name} in {count} layers" for name, count in counts.most_common()) + ")"
