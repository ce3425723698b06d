"""Images and images of numbers at another size."""

from __future__ import annotations

from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

Number = TypeVar("Number", np.uint8, np.uint16)


def resized(image: NDArray[np.uint8], size_wh: tuple[int, int]) -> NDArray[np.uint8]:
    """Resize an image: averaging where it shrinks, linear where it grows."""
    if (image.shape[1], image.shape[0]) == size_wh:
        return image
    shrinks = image.shape[1] >= size_wh[0] and image.shape[0] >= size_wh[1]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, size_wh, interpolation=how), dtype=np.uint8)


def resized_ids(ids: NDArray[Number], size_wh: tuple[int, int]) -> NDArray[Number]:
    """Resize an image of 8- or 16-bit numbers by the nearest pixel."""
    if (ids.shape[1], ids.shape[0]) == size_wh:
        return ids
    return np.asarray(cv2.resize(ids, size_wh, interpolation=cv2.INTER_NEAREST_EXACT), dtype=ids.dtype)
