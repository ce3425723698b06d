"""Small sets in every official layout, written from one pair of maps."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

Write = Callable[[Path], None]


def write_png(path: Path, rgb_or_grey: NDArray[Any]) -> None:
    """Write (H, W) or (H, W, 3 or 4) in RGB(A) order; OpenCV wants BGR(A)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = rgb_or_grey if rgb_or_grey.ndim == 2 else rgb_or_grey[..., [2, 1, 0, 3][: rgb_or_grey.shape[2]]]
    assert cv2.imwrite(str(path), np.ascontiguousarray(pixels))


def coco_rgb(ids: NDArray[Any]) -> NDArray[np.uint8]:
    return np.dstack([ids % 256, ids // 256 % 256, ids // 65536]).astype(np.uint8)


def step_rgb(class_map: NDArray[Any], ids: NDArray[Any]) -> NDArray[np.uint8]:
    return np.dstack([class_map, ids // 256, ids % 256]).astype(np.uint8)


def write_coco(
    json_path: Path, png_folder: Path, images: dict[str, tuple[str, NDArray[Any], list[dict[str, Any]]]]
) -> None:
    """``images``: image id -> (file name, segment ids, rows of segments_info)."""
    annotations = []
    for image_id, (file_name, ids, rows) in images.items():
        write_png(png_folder / file_name, coco_rgb(ids))
        annotations.append({"image_id": image_id, "file_name": file_name, "segments_info": rows})
    json_path.parent.mkdir(parents=True, exist_ok=True)
    json_path.write_text(json.dumps({"images": [], "annotations": annotations, "categories": []}))


@pytest.fixture
def png() -> Callable[[Path, NDArray[Any]], None]:
    return write_png


@pytest.fixture
def coco() -> Callable[..., None]:
    return write_coco


@pytest.fixture
def step() -> Callable[..., NDArray[np.uint8]]:
    return step_rgb
