"""The pictures of the inspection page: one layer per artefact that a clip has, drawn frame by frame."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from videocups.evaluate.datasets.clip_truth import open_panoptic_clip
from videocups.pipeline.formats import decode
from videocups_core.clip import Clip, frame_name
from videocups_core.overlay import draw_overlay
from videocups_core.palette import class_colors, track_colors
from videocups_core.types import VOID_CLASS, ClassInfo, PanopticFrame
from videocups_core.visualize import colorize_depth, colorize_flow, colorize_probability

Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class Layer:
    """A kind of artefact: its name on the page, its folder and file ending, how it is drawn on the image, and read."""

    title: str
    kind: str
    suffix: str
    draw: Callable[[Any, Picture], Picture]
    read: Callable[[Path], Any] = decode


def draw_flow(artefact: Mapping[str, NDArray[Any]], image: Picture) -> Picture:
    """Hue is direction, saturation is speed; grey where the pixel is not seen in the next frame."""
    flow = artefact["forward_px"].astype(np.float32)
    seen = np.unpackbits(artefact["visible_forward"], count=flow.shape[0] * flow.shape[1])
    colors = colorize_flow(flow)
    return np.where(seen.reshape(*flow.shape[:2], 1) > 0, colors, 90).astype(np.uint8)


def draw_depth(artefact: Mapping[str, NDArray[Any]], image: Picture) -> Picture:
    """Near is red, far is blue."""
    return colorize_depth(artefact["depth_heights"].astype(np.float32))


def draw_motion(artefact: Mapping[str, NDArray[Any]], image: Picture) -> Picture:
    """Blue stands, red moves."""
    return colorize_probability(artefact["motion"].astype(np.float32))


def draw_ids(ids: NDArray[np.int32], image: Picture) -> Picture:
    """Draw instances or tracks over the dimmed image, outlined; an id keeps its colour."""
    picture = (0.45 * image.astype(np.float32)).astype(np.uint8)
    present = np.flatnonzero(np.bincount(ids.ravel()))
    table = np.zeros((int(present[-1]) + 1, 3), np.uint8)
    table[present[present > 0]] = track_colors(present[present > 0])
    colors = table[ids]
    inside = ids > 0
    picture[inside] = (0.45 * image[inside] + 0.55 * colors[inside]).astype(np.uint8)
    labels = ids.astype(np.float32)
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    edge = (cv2.dilate(labels, cross) != cv2.erode(labels, cross)) & inside
    picture[edge] = 255
    return picture


def draw_classes(classes: NDArray[np.uint8], image: Picture) -> Picture:
    """Draw pseudo-classes over the image; a class keeps its colour, void is black."""
    table = np.zeros((256, 3), np.uint8)
    table[:VOID_CLASS] = class_colors(VOID_CLASS)
    return (0.35 * image + 0.65 * table[classes]).astype(np.uint8)


def read_panoptic(path: Path) -> tuple[PanopticFrame, tuple[ClassInfo, ...]]:
    """Return a frame of a panoptic clip and the clip's classes."""
    labels = open_panoptic_clip(path.parents[1])
    return labels.frame(int(path.stem)), labels.classes


def draw_panoptic(labels: tuple[PanopticFrame, tuple[ClassInfo, ...]], image: Picture) -> Picture:
    """Draw things and stuff over the image."""
    return draw_overlay(image, *labels)


LAYERS = (
    Layer("flow to the next frame: hue is direction, grey is not seen there", "flow", ".npz", draw_flow),
    Layer("depth: red is near, blue is far", "depth", ".npz", draw_depth),
    Layer("motion: blue stands, red moves", "motion", ".npz", draw_motion),
    Layer("instances of this frame", "instances", ".png", draw_ids),
    Layer("tracks: an object keeps its colour", "tracks", ".png", draw_ids),
    Layer("pseudo-classes: one colour each", "semantics_smooth", ".png", draw_classes),
    Layer("panoptic labels: what training learns from", "panoptic", ".png", draw_panoptic, read_panoptic),
)


def layer_file(clip: Clip, layer: Layer, index: int) -> Path:
    """Return where the artefact of a frame lies."""
    return clip.folder / layer.kind / (frame_name(index) + layer.suffix)


def present_layers(clip: Clip) -> list[Layer]:
    """Return the layers of which the clip has any artefact."""
    return [layer for layer in LAYERS if any((clip.folder / layer.kind).glob(f"*{layer.suffix}"))]


def draw(clip: Clip, layer: Layer, index: int, image: Picture) -> Picture | None:
    """Return the picture of a layer for a frame, None where the frame has none: failed, or at a cut."""
    path = layer_file(clip, layer, index)
    return layer.draw(layer.read(path), image) if path.is_file() else None
