"""Engines built where the GPU that will run them is not: TensorRT-RTX does so for named compute capabilities."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from videocups_core.bundle import ModelBundle
from videocups_core.engine.base import EngineError
from videocups_core.engine.cache import EngineCache, EngineKey
from videocups_core.engine.onnx_file import precision_of, read_onnx_facts
from videocups_core.engine.tensorrt_build import build_engine

_AHEAD = "built ahead"


@dataclass(frozen=True)
class AheadEngine:
    """An engine in the cache. ``precision`` is the graph's: only the GPU's own runtime can read an engine's layers."""

    compute_capability: str
    path: Path
    size_bytes: int
    outcome: str
    precision: str
    note: str = ""


def build_ahead(
    trt: Any,
    bundle: ModelBundle,
    compute_capability: str,
    precision: str = "fp16",
    cache_folder: Path | None = None,
) -> AheadEngine:
    """Build ``bundle`` for GPUs of ``compute_capability`` (such as 8.6) into the cache, or find it there.

    ``trt``: the module tensorrt_rtx. Vehicles take the file from their own cache folder: copy it there with its .json.
    """
    onnx = bundle.onnx_bytes()
    cache = EngineCache(cache_folder)
    key = ahead_key(bundle, precision, trt, compute_capability)
    logger = trt.Logger(trt.Logger.ERROR)

    def build() -> bytes:
        try:
            return build_engine(trt, onnx, precision, logger, compute_capability)
        except ValueError as error:
            raise EngineError(f"{bundle.onnx_path}: {error}") from error

    cached = cache.load_or_build(key, build)
    return AheadEngine(
        compute_capability=compute_capability,
        path=cache.engine_path(key),
        size_bytes=len(cached.data),
        outcome=cached.outcome,
        precision=precision_of(read_onnx_facts(onnx).weight_types()),
        note=cached.note,
    )


def ahead_key(bundle: ModelBundle, precision: str, trt: Any, compute_capability: str) -> EngineKey:
    """Return what an engine for any GPU of ``compute_capability`` is cached under; CUDA and driver play no part."""
    return EngineKey(
        onnx_sha256=bundle.onnx_sha256,
        precision=precision,
        input_shape=bundle.input.shape,
        gpu_name=f"compute capability {compute_capability}",
        tensorrt_version=tensorrt_version(trt),
        cuda_version=_AHEAD,
        driver_version=_AHEAD,
    )


def tensorrt_version(trt: Any) -> str:
    """Return the module's name with its version: engines of one do not load in the other."""
    return f"{trt.__name__} {trt.__version__}"
