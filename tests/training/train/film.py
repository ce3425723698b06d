"""A small film with exact labels: discs and bars of several colours that move over a sky and a road."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from videocups_core.clip import CLIP_FILE
from videocups_core.labels import default_classes
from videocups_core.panoptic.frames import panoptic_from_maps
from videocups_core.panoptic.storage import PanopticClipWriter

SKY, ROAD, DISC, BAR = range(4)
CLASSES = default_classes([False, False, True, True])
COLORS = {SKY: (120, 170, 230), ROAD: (90, 90, 95)}
OBJECT_COLORS = ((210, 40, 40), (240, 200, 30), (40, 160, 60), (190, 60, 200))


def draw(frame: int, seed: int, height: int, width: int, objects: int):
    """Return image, class map and track map of one frame; objects move at constant speed and never touch."""
    rng = np.random.default_rng(seed)
    image = np.empty((height, width, 3), np.uint8)
    classes = np.empty((height, width), np.uint8)
    horizon = int(height * rng.uniform(0.3, 0.5))
    for rows, kind in ((slice(0, horizon), SKY), (slice(horizon, height), ROAD)):
        image[rows], classes[rows] = COLORS[kind], kind
    tracks = np.zeros((height, width), np.int32)
    lane = width / objects
    for number in range(objects):
        kind = DISC if rng.random() < 0.5 else BAR
        x = lane * (number + 0.5) + rng.uniform(-0.05, 0.05) * lane + frame * rng.uniform(-1.5, 1.5)
        y = height * rng.uniform(0.4, 0.65) + frame * rng.uniform(-1, 1)
        half = lane * rng.uniform(0.28, 0.38)
        mask = np.zeros((height, width), np.uint8)
        if kind == DISC:
            cv2.circle(mask, (round(x), round(y)), round(half), 1, -1)
        else:
            corners = (round(x - half), round(y - half * 0.6)), (round(x + half), round(y + half * 0.6))
            cv2.rectangle(mask, *corners, 1, -1)
        image[mask > 0] = OBJECT_COLORS[number % len(OBJECT_COLORS)]
        classes[mask > 0], tracks[mask > 0] = kind, number + 1
    return image, classes, tracks


def write_film(folder: Path, seed: int, frames: int = 4, size_hw=(64, 128), objects: int = 3) -> Path:
    """Write a clip with frames (PNG) and panoptic labels."""
    height, width = size_hw
    stamps = [1_000_000_000 + 100_000_000 * frame for frame in range(frames)]
    (folder / "frames").mkdir(parents=True)
    with PanopticClipWriter(folder, CLASSES) as writer:
        for frame, stamp_ns in enumerate(stamps):
            image, classes, tracks = draw(frame, seed, height, width, objects)
            cv2.imwrite(str(folder / "frames" / f"{frame:06d}.png"), image[..., ::-1])
            writer.append(panoptic_from_maps(classes, tracks, CLASSES, stamp_ns, frame_index=frame))
    table = {"name": folder.name, "camera_name": "camera", "width": width, "height": height, "stamps_ns": stamps}
    import json

    (folder / CLIP_FILE).write_text(json.dumps({**table, "image_suffix": ".png", "schema_version": 1}))
    return folder
