"""Panoptic clips as one COCO-panoptic data set, for tools that read nothing else.

OUT/
  panoptic.json             images, annotations, categories
  panoptic/CLIP_000000.png  the id of each pixel's segment as R + 256·G + 65536·B, 0 = void

An image has the path of its frame below the clips as ``file_name``. The ids of things stay the same over a clip.
Things that are ignored are crowds (``iscrowd``), stuff that is ignored is void: COCO knows no more.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from videocups_core.clip import frame_name, read_clip_info, write_atomically
from videocups_core.panoptic.storage import PanopticClip
from videocups_core.types import ClassInfo, PanopticFrame, Segment

IMAGES = "panoptic"
TABLE = "panoptic.json"


def write_coco(root: Path, clips: Sequence[Path], out: Path) -> int:
    """Write the labels of ``clips`` below ``root`` to ``out``; returns the number of images."""
    content: dict[str, Any] = {"images": [], "annotations": [], "categories": []}
    classes: tuple[ClassInfo, ...] = ()
    for folder in clips:
        labels, info = PanopticClip(folder), read_clip_info(folder)
        if classes and labels.classes != classes:
            raise ValueError(f"{folder} has other classes than the clips before it; label them together")
        classes = labels.classes
        size = {"width": info.width, "height": info.height}
        for number, frame in enumerate(labels):
            image_id = len(content["images"]) + 1
            name = (folder.relative_to(root) / "frames" / (frame_name(number) + info.image_suffix)).as_posix()
            image = "_".join((*folder.relative_to(root).parts, frame_name(number))) + ".png"
            table = list(_segments(frame))
            _write_ids(out / IMAGES / image, frame, [row["id"] for row in table])
            content["images"].append({"id": image_id, "file_name": name, **size})
            content["annotations"].append({"image_id": image_id, "file_name": image, "segments_info": table})
    content["categories"] = [
        {"id": one.class_id, "name": one.name, "isthing": int(one.is_thing), "color": list(one.color_rgb)}
        for one in classes
    ]
    write_atomically(out / TABLE, (json.dumps(content) + "\n").encode())
    return len(content["images"])


def _segments(frame: PanopticFrame) -> Iterator[dict[str, Any]]:
    for segment in frame.segments:
        if _is_told(segment):
            yield {
                "id": segment.segment_id,
                "category_id": segment.class_id,
                "area": segment.area_px,
                "bbox": list(segment.bbox_xywh),
                "iscrowd": int(segment.ignore),
            }


def _is_told(segment: Segment) -> bool:
    return segment.area_px > 0 and (segment.is_thing or not segment.ignore)


def _write_ids(path: Path, frame: PanopticFrame, told: Sequence[int]) -> None:
    ids = np.where(np.isin(frame.segment_ids, told), frame.segment_ids, 0)
    # OpenCV writes blue first; 16-bit ids leave it empty
    image: NDArray[np.uint8] = np.stack([np.zeros_like(ids), ids >> 8, ids & 255], axis=2).astype(np.uint8)
    done, data = cv2.imencode(".png", image)
    if not done:
        raise ValueError(f"an id image of {ids.shape} cannot be encoded as PNG")
    write_atomically(path, data.tobytes())
