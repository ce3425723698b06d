"""What classical geometry knows of depth and motion, as hints for the networks: no labels, no weights.

Triangulation is right on average where things stand and parallax is large, noisy elsewhere and wrong on what moves. So
static pixels carry their own measurement and how far it is to be trusted; pixels of moving things carry none, unless
they meet the ground: then the depth of the ground at their lower edge. Lengths are in camera heights.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from videocups.cues.classical import ReadFrame, iter_looks, survey
from videocups.cues.classical_config import PRESETS, ClassicalConfig
from videocups.cues.depth import Measured, stand_on_ground
from videocups.cues.depth_memory import looking_back, remember
from videocups.cues.dynamo.config import HintConfig
from videocups.cues.flow import FloatMap
from videocups.cues.frame_cues import FrameLook, cues_of_look
from videocups.cues.frame_pair import FramePair
from videocups.cues.motion import MOVING, around_moving
from videocups.instances.frame_instances import frame_instances
from videocups_core.clip import Clip
from videocups_core.types import CameraModel

LEAST_ERROR, FILLED_ERROR, GROUND_ERROR = 0.1, 1.0, 0.2
"""relative errors of inverse depth: of the best measurement, where it is filled in, of the ground below an object"""
MOTIONS = "motions.npy"

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class FrameHints:
    """Hints of one frame, (H, W) each.

    ``inverse_depth``: in 1/camera heights. ``weight``: ``LEAST_ERROR`` over its expected error, so that weight times
    difference is a relative error where the hint is good, and less where it is not; 0 = no hint. ``moves``: seen to
    move; ``still``: neither that nor near it.
    """

    inverse_depth: FloatMap
    weight: FloatMap
    moves: NDArray[np.bool_]
    still: NDArray[np.bool_]


def iter_hints(
    read_frame: ReadFrame,
    count: int,
    camera: CameraModel,
    config: ClassicalConfig,
    size_wh: tuple[int, int],
    filled: float = 1.0,
) -> Iterator[tuple[FrameHints, Matrix]]:
    """Yield hints of every frame at ``size_wh``, and the camera's motion (4, 4) to the next one, NaN where unknown.

    ``filled``: how much counts what was not measured, where all else was: it is worth what there was to fill it from.
    """
    geometry = survey(read_frame, count, camera, config)
    held: Measured | None = None
    before: FramePair | None = None
    for look, ground in iter_looks(read_frame, count, camera, geometry, config):
        dense, held = remember(look.measured, look.steady, ground, held, config.depth, looking_back(before))
        before = look.pair
        yield _frame_hints(look, dense, ground, camera, size_wh, filled), camera_step(look.pair)


def _frame_hints(
    look: FrameLook, dense: FloatMap, ground: FloatMap, camera: CameraModel, size_wh: tuple[int, int], filled: float
) -> FrameHints:
    objects = frame_instances(cues_of_look(look, dense, ground, None), camera.fx)
    standing = stand_on_ground(dense, objects, ground)
    moving = (look.motion > MOVING) | (objects > 0)
    near = around_moving(moving)
    precision = np.zeros_like(dense) if look.measured is None else np.where(near, 0, look.measured.weight)
    measured = dense if look.measured is None else look.measured.inverse_depth

    def small(field: FloatMap) -> FloatMap:
        return np.asarray(cv2.resize(field, size_wh, interpolation=cv2.INTER_AREA), np.float32)

    weight, around = small(precision.astype(np.float32)), small(dense)
    mean = small((precision * measured).astype(np.float32)) / np.maximum(weight, 1e-9)
    # neighbouring measurements share their errors: a mean is trusted as one of them
    error = 1 / np.sqrt(weight + 1e-9) + LEAST_ERROR * around
    known = error < FILLED_ERROR * around
    inverse = np.where(known, mean, around)
    # a standing vehicle measures nothing, and all that was filled in would say that everything is far
    trust = np.where(known, LEAST_ERROR / error, known.mean() * filled * LEAST_ERROR / (FILLED_ERROR * around))
    # what moves has what the ground below it tells, or nothing
    still, moves = small(near.astype(np.float32)) == 0, small(moving.astype(np.float32)) > 0.5
    on_ground = (objects > 0) & (standing != dense)
    place = np.where(on_ground, standing, 0).astype(np.float32)
    base = np.asarray(cv2.resize(place, size_wh, interpolation=cv2.INTER_NEAREST_EXACT), np.float32)
    inverse = np.where(base > 0, base, inverse)
    trust = np.where(still, trust, np.where(base > 0, LEAST_ERROR / (GROUND_ERROR * np.maximum(base, 1e-6)), 0))
    return FrameHints(inverse.astype(np.float32), trust.astype(np.float32), moves, still)


def camera_step(pair: FramePair | None) -> Matrix:
    """Return the camera's motion (4, 4) of a pair in camera heights; NaN where motion or scale are not known."""
    step = np.eye(4)
    if pair is None or pair.motion.kind == "unknown" or (pair.motion.kind == "moving" and pair.ground is None):
        return np.full((4, 4), np.nan)
    step[:3, :3] = pair.motion.rotation
    if pair.ground is not None:
        step[:3, 3] = pair.motion.direction / pair.ground.camera_height
    return step


def write_hints(
    clips: Sequence[Path], folder: Path, config: HintConfig, size_wh: tuple[int, int], processes: int
) -> None:
    """Write the hints of all clips below ``folder``, those of each clip once."""
    missing = [
        (clip, place)
        for clip, place in zip(clips, places(clips, folder), strict=True)
        if not (place / MOTIONS).is_file()
    ]
    if len(missing) > 1 and processes > 1:
        with ProcessPoolExecutor(processes) as pool:
            list(pool.map(_write_clip, *zip(*missing, strict=True), [config] * len(missing), [size_wh] * len(missing)))
        return
    for clip, place in missing:
        _write_clip(clip, place, config, size_wh)


def places(clips: Sequence[Path], folder: Path) -> list[Path]:
    """Return where the hints of each clip are."""
    return [folder / f"{number:04d}_{clip.name}" for number, clip in enumerate(clips)]


def _write_clip(folder: Path, place: Path, config: HintConfig, size_wh: tuple[int, int]) -> None:
    clip = Clip(folder)
    if clip.info.camera is None:
        raise ValueError(f"clip {folder} has no calibration, which hints need; ingest it again with --calibration FILE")
    place.mkdir(parents=True, exist_ok=True)
    motions = []
    preset = PRESETS[config.preset]
    found = iter_hints(clip.frame_rgb, len(clip), clip.info.camera, preset, size_wh, config.filled)
    for index, (hints, motion) in enumerate(found):
        depth, weight = hints.inverse_depth.astype(np.float16), hints.weight.astype(np.float16)
        file = place / f"{index:06d}.npz"
        np.savez(file, inverse_depth=depth, weight=weight, moves=hints.moves, still=hints.still)
        motions.append(motion)
    unfinished = place / f"unfinished_{MOTIONS}"
    np.save(unfinished, np.stack(motions))
    unfinished.replace(place / MOTIONS)  # written last: a clip that has it has everything


class Hints:
    """The hints of some clips, read from disk."""

    def __init__(self, clips: Sequence[Path], folder: Path) -> None:
        self._places = places(clips, folder)
        self._motions = [np.load(place / MOTIONS) for place in self._places]

    def frame(self, clip: int, index: int) -> FrameHints:
        """Return the hints of a frame."""
        with np.load(self._places[clip] / f"{index:06d}.npz") as found:
            depth, weight = (found[name].astype(np.float32) for name in ("inverse_depth", "weight"))
            return FrameHints(depth, weight, found["moves"], found["still"])

    def motion(self, clip: int, first: int, second: int) -> Matrix:
        """Return the camera's motion (4, 4) from one frame to another, earlier or later; NaN where it is not known."""
        steps = self._motions[clip][min(first, second) : max(first, second)]
        whole = np.eye(4)
        for step in steps:
            whole = step @ whole
        if second >= first or np.isnan(whole).any():
            return whole
        return np.asarray(np.linalg.inv(whole), np.float64)


def mirrored_motion(motion: Matrix) -> Matrix:
    """Return the motion of a camera that sees the world in a mirror."""
    mirror = np.diag([-1.0, 1.0, 1.0, 1.0])
    mirrored: Matrix = mirror @ motion @ mirror
    return mirrored
