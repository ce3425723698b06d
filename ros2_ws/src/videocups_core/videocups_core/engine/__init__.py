"""Engines: one small interface over ONNX Runtime and TensorRT."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from videocups_core.engine.base import Engine, EngineError, EngineInfo, InputSpec, RawOutputs

if TYPE_CHECKING:  # a bundle's description is made of this package's InputSpec
    from videocups_core.bundle import ModelBundle

__all__ = ["Engine", "EngineConfig", "EngineError", "EngineInfo", "InputSpec", "RawOutputs", "create_engine"]


@dataclass(frozen=True)
class EngineConfig:
    """Which engine runs a bundle, and how."""

    # onnxruntime or tensorrt.
    backend: str = "onnxruntime"
    # cpu, cuda, cuda:N or auto; TensorRT takes cuda, cuda:N or auto.
    device: str = "auto"
    # Threads inside an operator on the CPU; 0 takes all cores.
    threads: int = 0
    # TensorRT: fp32 or fp16. ONNX Runtime runs the graph in the precision it was exported in.
    precision: str = "fp16"
    # TensorRT: where engines are kept; None takes $XDG_CACHE_HOME/videocups/engines.
    cache_folder: Path | None = None
    # On a GPU: run a frame as one captured CUDA graph, which costs the CPU one launch instead of hundreds.
    cuda_graph: bool = False


def create_engine(bundle: ModelBundle, config: EngineConfig | None = None) -> Engine:
    """Return the engine for a bundle, not loaded yet; a missing package is named here."""
    config = config or EngineConfig()
    if config.backend == "onnxruntime":
        from videocups_core.engine.onnx import OnnxConfig, OnnxEngine

        return OnnxEngine(bundle, OnnxConfig(config.device, config.threads, config.cuda_graph))
    if config.backend == "tensorrt":
        from videocups_core.engine.tensorrt import TensorRtConfig, TensorRtEngine

        settings = TensorRtConfig(config.device, config.precision, config.cache_folder, config.cuda_graph)
        return TensorRtEngine(bundle, settings)
    raise ValueError(f"engine.backend must be 'onnxruntime' or 'tensorrt', got {config.backend!r}")
