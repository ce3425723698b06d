"""Artefacts as bytes: PNG for ids and classes, ``.npz`` for fields, JSON for tables. Equal values give equal bytes."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

MAX_ID = 65_535


def encode(value: Any, suffix: str) -> bytes:
    """Return the file's bytes: ids or classes (H, W) for .png, named arrays for .npz, anything plain for .json."""
    if suffix == ".png":
        return _encode_map(value)
    if suffix == ".npz":
        return _encode_arrays(value)
    return (json.dumps(value, allow_nan=False) + "\n").encode()


def decode(path: Path) -> Any:
    """Return what ``encode`` was given: (H, W) int32 ids or uint8 classes, a dict of arrays, or the table."""
    data = path.read_bytes()
    if path.suffix == ".png":
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        if image is None or image.dtype not in (np.uint8, np.uint16) or image.ndim != 2:
            raise ValueError(f"{path} is no image of ids (16-bit) or classes (8-bit); remove it and run again")
        return image if image.dtype == np.uint8 else image.astype(np.int32)
    if path.suffix == ".npz":
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    return json.loads(data)


def size_of(value: Any) -> int:
    """Return about how many bytes a decoded artefact takes in memory."""
    if isinstance(value, np.ndarray):
        return value.nbytes
    if isinstance(value, Mapping):
        return sum(size_of(entry) for entry in value.values())
    return 1000


def _encode_map(ids: NDArray[Any]) -> bytes:
    """8 bits for uint8 (classes), 16 for everything else (ids)."""
    if ids.ndim != 2 or not np.issubdtype(ids.dtype, np.integer):
        raise ValueError(f"ids must be an (H, W) array of whole numbers, got {ids.shape} {ids.dtype}")
    if ids.size and not 0 <= int(ids.min()) <= int(ids.max()) <= MAX_ID:
        raise ValueError(f"ids must be in 0..{MAX_ID} for a 16-bit image, got {ids.min()}..{ids.max()}")
    done, data = cv2.imencode(
        ".png", ids if ids.dtype == np.uint8 else ids.astype(np.uint16), [cv2.IMWRITE_PNG_COMPRESSION, 1]
    )
    if not done:
        raise ValueError(f"an id image of {ids.shape} cannot be encoded as PNG")
    return data.tobytes()


def _encode_arrays(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Uncompressed: fields of floats hardly shrink, and reading them is what stages do most."""
    stream = io.BytesIO()
    named: dict[str, Any] = {name: np.asarray(array) for name, array in arrays.items()}
    np.savez(stream, **named)
    return stream.getvalue()
