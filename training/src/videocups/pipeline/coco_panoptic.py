"""Panoptic clips as one COCO-panoptic data set, for tools that read nothing else.

OUT/
  panoptic.json             images, annotations, categories
  panoptic/CLIP_000000.png  the id of each pixel's segment as R + 256·G + 65536·B, 0 = void

An image has the path of its frame below the clips as ``file_name``. The ids of things stay the same over a clip.
Things that are ignored are crowds (``iscrowd``), stuff that is ignored is void: COCO knows no more.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from videocups_core.clip import frame_name, read_clip_info, write_atomically
from videocups_core.panoptic.coco import categories_to_coco, frame_to_coco
from videocups_core.panoptic.storage import PanopticClip
from videocups_core.types import ClassInfo, PanopticFrame

IMAGES = "panoptic"
TABLE = "panoptic.json"


def write_coco(root: Path, clips: Sequence[Path], out: Path) -> int:
    """Write the labels of ``clips`` below ``root`` to ``out``; returns the number of images."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    classes: tuple[ClassInfo, ...] = ()
    for folder in clips:
        labels, info, place = PanopticClip(folder), read_clip_info(folder), folder.relative_to(root)
        if classes and labels.classes != classes:
            raise ValueError(f"{folder} has other classes than the clips before it; label them together")
        classes = labels.classes
        for number, frame in enumerate(labels):
            name = "_".join((*place.parts, frame_name(number))) + ".png"
            shown = (place / "frames" / (frame_name(number) + info.image_suffix)).as_posix()
            size = {"width": info.width, "height": info.height}
            images.append({"id": len(images) + 1, "file_name": shown, **size})
            png, annotation = frame_to_coco(without_ignored_stuff(frame), image_id=len(images), file_name=name)
            annotations.append(annotation)
            write_atomically(out / IMAGES / name, png)
    content = {"images": images, "annotations": annotations, "categories": categories_to_coco(classes)}
    write_atomically(out / TABLE, (json.dumps(content) + "\n").encode())
    return len(images)


def without_ignored_stuff(frame: PanopticFrame) -> PanopticFrame:
    """Make void of stuff that training ignores."""
    kept = tuple(segment for segment in frame.segments if segment.is_thing or not segment.ignore)
    told = np.isin(frame.segment_ids, [segment.segment_id for segment in kept])
    return replace(frame, segments=kept, segment_ids=np.where(told, frame.segment_ids, 0).astype(np.uint16))
