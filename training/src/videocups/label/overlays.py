"""Pictures of labels beside a clip: CLIP/overlays/KIND/NNNNNN.jpg."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import cv2

from videocups.label.inspect_layers import LAYERS, Layer, Picture, draw, layer_file
from videocups_core.clip import Clip, frame_name, write_atomically

FOLDER = "overlays"
QUALITY = 90


def write_overlays(clip: Clip, kinds: Collection[str]) -> int:
    """Draw the artefacts ``kinds`` of every frame that has them; pictures newer than these stay. Returns how many.

    A frame whose image cannot be read has no picture: its labels, all ignored, have nothing to lie on.
    """
    written = 0
    for layer in (layer for layer in LAYERS if layer.kind in kinds):
        for index in range(len(clip)):
            source, target = layer_file(clip, layer, index), overlay_file(clip, layer.kind, index)
            if target.is_file() and source.is_file() and target.stat().st_mtime_ns >= source.stat().st_mtime_ns:
                continue
            picture = picture_of(clip, layer, index)
            if picture is None:
                target.unlink(missing_ok=True)  # what is not there any more shall not be seen
                continue
            done, data = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
            if not done:
                raise ValueError(f"the overlay of {source} cannot be encoded as JPEG; is the frame empty?")
            write_atomically(target, data.tobytes())
            written += 1
    return written


def picture_of(clip: Clip, layer: Layer, index: int) -> Picture | None:
    """Return a frame's picture; None without an artefact, or without an image to lay it on."""
    try:
        image = clip.frame_rgb(index)
    except FileNotFoundError:  # also an image that cannot be decoded: its labels are ignored as a whole
        return None
    return draw(clip, layer, index, image)


def overlay_file(clip: Clip, kind: str, index: int) -> Path:
    """Return where the picture of a frame's artefact lies."""
    return clip.folder / FOLDER / kind / f"{frame_name(index)}.jpg"
