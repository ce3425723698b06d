"""Fixtures of the core tests: the committed stand-in bundle and raw outputs made by hand."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from videocups_core.bundle import ModelBundle, read_bundle
from videocups_core.engine.base import RawOutputs
from videocups_core.types import ClassInfo

STANDIN = Path(__file__).parents[1] / "data" / "standin"


@pytest.fixture(scope="session")
def standin_bundle() -> ModelBundle:
    return read_bundle(STANDIN)


@pytest.fixture
def bundle_folder(tmp_path: Path) -> Path:
    """A copy of the stand-in bundle that a test may break."""
    return Path(shutil.copytree(STANDIN, tmp_path / "bundle"))


@pytest.fixture(scope="session")
def three_classes() -> tuple[ClassInfo, ...]:
    """Stuff 0 and 2, thing 1."""
    return (
        ClassInfo(0, "road", False, (1, 1, 1)),
        ClassInfo(1, "car", True, (2, 2, 2)),
        ClassInfo(2, "sky", False, (3, 3, 3)),
    )


@pytest.fixture(scope="session")
def make_raw() -> Callable[..., RawOutputs]:
    """Raw outputs from a semantic map and a list of (box, score) with full masks, padded to 8 detections."""

    def make(
        semantic: np.ndarray,
        detections: list[tuple[tuple[float, float, float, float], float]],
        *,
        class_id: int = 1,
        masks: np.ndarray | None = None,
        embeddings: np.ndarray | None = None,
    ) -> RawOutputs:
        count = max(8, len(detections))
        boxes = np.zeros((count, 4), np.float32)
        scores = np.zeros(count, np.float32)
        for row, (box, score) in enumerate(detections):
            boxes[row], scores[row] = box, score
        return RawOutputs(
            semantic=semantic.astype(np.uint8),
            masks=np.full((count, 14, 14), 255, np.uint8) if masks is None else masks,
            boxes=boxes,
            scores=scores,
            classes=np.full(count, class_id, np.int64),
            embeddings=np.zeros((count, 4), np.float32) if embeddings is None else embeddings,
        )

    return make
