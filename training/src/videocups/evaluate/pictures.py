"""Small pictures for the report: what the camera saw, what was predicted, what is true, where they differ."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from videocups.evaluate.class_mapping import ClassMapping
from videocups.evaluate.counting import Job, aligned_maps
from videocups.evaluate.datasets import resize_nearest
from videocups_core.types import ClassInfo

MAX_WIDTH_PX = 480
_QUALITY = 78
_IMAGE_SHARE = 0.35
_WRONG_RGB, _RIGHT_RGB, _UNLABELED_RGB = (226, 74, 51), (70, 78, 88), (32, 35, 40)


@dataclass(frozen=True)
class Panel:
    """One picture as a data URI, with its caption."""

    caption: str
    data_uri: str


def panels(job: Job, frame_index: int, mapping: ClassMapping) -> list[Panel]:
    """Return image (if there is one), prediction, truth and difference of one labeled frame."""
    frame = job.sequence.frames[frame_index]
    pred_class, pred_id, true_class, true_id = aligned_maps(job, frame, job.places[frame_index])
    mapped = mapping.apply(pred_class)
    image = job.dataset.image(job.sequence, frame)
    shape = (true_class.shape[0], true_class.shape[1])
    backdrop = None if image is None else fitted(image, shape)
    found = [] if backdrop is None else [Panel("image", data_uri(backdrop))]
    classes, things = job.dataset.classes, job.dataset.things
    for caption, class_map, id_map in (("prediction", mapped, pred_id), ("truth", true_class, true_id)):
        found.append(Panel(caption, data_uri(paint(class_map, id_map, classes, things, backdrop))))
    found.append(Panel("difference", data_uri(differences(mapped, true_class, job.dataset.void))))
    return found


def paint(
    class_map: NDArray[Any],
    id_map: NDArray[Any],
    classes: Sequence[ClassInfo],
    things: frozenset[int],
    backdrop: NDArray[np.uint8] | None,
) -> NDArray[np.uint8]:
    """Return (H, W, 3) RGB in class colours over the image, objects with a light outline, void black."""
    table = np.zeros((256, 3), dtype=np.uint8)
    for info in classes:
        table[info.class_id] = info.color_rgb
    picture = table[class_map]
    if backdrop is not None:
        picture = cv2.addWeighted(picture, 1 - _IMAGE_SHARE, backdrop, _IMAGE_SHARE, 0.0)
    thing = np.isin(class_map, sorted(things))
    picture[thing & _borders(class_map, id_map)] = (245, 245, 245)
    return np.asarray(picture, dtype=np.uint8)


def differences(pred_class: NDArray[Any], true_class: NDArray[Any], void: int) -> NDArray[np.uint8]:
    """Return (H, W, 3) RGB: red where the class is wrong, grey where it is right, dark without truth."""
    picture = np.full((*true_class.shape, 3), _WRONG_RGB, dtype=np.uint8)
    picture[pred_class == true_class] = _RIGHT_RGB
    picture[true_class == void] = _UNLABELED_RGB
    return picture


def fitted(image: NDArray[np.uint8], shape: tuple[int, int]) -> NDArray[np.uint8]:
    """Bring a camera image to the size of the labels."""
    return image if image.shape[:2] == shape else np.dstack([resize_nearest(image[..., c], shape) for c in range(3)])


def data_uri(rgb: NDArray[np.uint8]) -> str:
    """Return an RGB picture as an inline JPEG at most MAX_WIDTH_PX wide."""
    height, width = rgb.shape[:2]
    if width > MAX_WIDTH_PX:
        size = (MAX_WIDTH_PX, max(1, round(height * MAX_WIDTH_PX / width)))
        rgb = np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    written, buffer = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    if not written:
        raise ValueError(f"cannot code a {width}×{height} picture as JPEG")
    return "data:image/jpeg;base64," + base64.b64encode(buffer.tobytes()).decode("ascii")


def _borders(class_map: NDArray[Any], id_map: NDArray[Any]) -> NDArray[np.bool_]:
    edge = np.zeros(class_map.shape, dtype=np.bool_)
    for labels in (class_map, id_map):
        edge[:, :-1] |= labels[:, 1:] != labels[:, :-1]
        edge[:-1] |= labels[1:] != labels[:-1]
    return edge
