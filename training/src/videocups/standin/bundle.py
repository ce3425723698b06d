"""The stand-in network wrapped as a bundle."""

from __future__ import annotations

from pathlib import Path

import onnx

from videocups import __version__
from videocups.standin.graph import build_standin_onnx
from videocups_core.bundle import ModelBundle, write_bundle
from videocups_core.engine.base import InputSpec
from videocups_core.standin import COAST_FRAMES, MEMORY_FRAMES, standin_classes
from videocups_core.tracking import TrackerConfig


def write_standin_bundle(folder: Path, size_hw: tuple[int, int] = (256, 512)) -> ModelBundle:
    """Build and write the stand-in bundle for images of ``size_hw`` px."""
    height, width = size_hw
    return write_bundle(
        folder,
        build_standin_onnx(height, width),
        model_id=f"standin-{height}x{width}",
        classes=standin_classes(),
        input=InputSpec(height, width),
        tracker=TrackerConfig(coast_frames=COAST_FRAMES, memory_frames=MEMORY_FRAMES),
        training_config={"standin": "fixed weights, nothing was trained"},
        versions={"videocups": __version__, "onnx": onnx.__version__},
    )
