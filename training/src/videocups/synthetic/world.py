"""A street world: ask it for frames and get pictures with exact truth."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from videocups.synthetic.classes import CLASSES
from videocups.synthetic.config import WorldConfig
from videocups.synthetic.flow import depth_of, flow_between
from videocups.synthetic.layout import Town
from videocups.synthetic.lighting import draw_lighting
from videocups.synthetic.mesh import Array
from videocups.synthetic.noise import make_noise
from videocups.synthetic.paint import Style, paint
from videocups.synthetic.population import Settler
from videocups.synthetic.poses import Stage
from videocups.synthetic.scene import SceneBuilder
from videocups.synthetic.town import build_town
from videocups.synthetic.traffic import simulate
from videocups.synthetic.view import View, look
from videocups_core.types import CameraModel, ClassInfo

Floats = NDArray[np.float32]

_KEPT_VIEWS = 4


@dataclass(frozen=True)
class WorldFrame:
    """One frame and everything that is true of it.

    ``rgb`` (H, W, 3) uint8. ``class_map`` (H, W) uint8. ``track_map`` (H, W) uint16, 0 for stuff.
    ``depth_m`` (H, W) float32 along the optical axis, 0 in the sky.
    ``flow_fw_px``, ``flow_bw_px`` (H, W, 2) float32: to the next and to the previous frame, x then y;
    NaN where the point falls behind the camera, which counts as occluded.
    ``occluded_fw``, ``occluded_bw`` (H, W) bool: not visible there, hidden or out of the image.
    ``camera_to_world`` (4, 4) float64: camera x right, y down, z forward; world x east, y north, z up, metres.
    ``moving_tracks``: tracks that move by more than 0.5 m/s towards the next frame, seen or not.
    ``right_rgb``: the right camera of a stereo pair, None without one.
    """

    index: int
    stamp_ns: int
    rgb: NDArray[np.uint8]
    class_map: NDArray[np.uint8]
    track_map: NDArray[np.uint16]
    depth_m: Floats
    flow_fw_px: Floats
    flow_bw_px: Floats
    occluded_fw: NDArray[np.bool_]
    occluded_bw: NDArray[np.bool_]
    camera_to_world: Array
    moving_tracks: tuple[int, ...]
    right_rgb: NDArray[np.uint8] | None = None


class World:
    """A world made from its config alone: the same config gives the same bits, frame by frame in any order."""

    def __init__(self, config: WorldConfig) -> None:
        self.config = config
        self.camera: CameraModel = config.camera()
        self.classes: tuple[ClassInfo, ...] = CLASSES
        plan, town, people, light, noise = (np.random.default_rng([config.seed, stream]) for stream in range(5))
        suburb = plan.random() < 0.45 if config.setting == "auto" else config.setting == "suburb"
        self._town = Town(blocks=4, spacing_m=float(plan.uniform(76.0, 94.0)), suburb=bool(suburb))
        builder = SceneBuilder()
        signals = build_town(builder, self._town, config.vegetation_density, town)
        population = Settler(builder, self._town, config, people).settle()
        self._scene = builder.build()
        first, last = -1.0 / config.fps, config.num_frames / config.fps
        motion = simulate(population.agents, population.timings, first, last)
        self._stage = Stage(config, self._scene, population, motion, signals)
        self._style = Style(self._town, draw_lighting(light), make_noise(noise))
        self._views: OrderedDict[int, View] = OrderedDict()

    def __len__(self) -> int:
        return self.config.num_frames

    def frame(self, index: int) -> WorldFrame:
        """Render frame ``index`` with all its truth."""
        if not 0 <= index < self.config.num_frames:
            raise IndexError(f"frame must be in 0..{self.config.num_frames - 1}, got {index}")
        before, view, after = (self._view(at) for at in (index - 1, index, index + 1))
        rgb, class_map = self._paint(view, index)
        track_of_surface = np.where(view.part >= 0, self._scene.track_id[view.part], 0).astype(np.uint16)
        flow_fw, occluded_fw = flow_between(self._scene, self.camera, view, after)
        flow_bw, occluded_bw = flow_between(self._scene, self.camera, view, before)
        return WorldFrame(
            index=index,
            stamp_ns=self.stamp_ns(index),
            rgb=rgb,
            class_map=class_map,
            track_map=track_of_surface[view.surface],
            depth_m=depth_of(view),
            flow_fw_px=flow_fw,
            flow_bw_px=flow_bw,
            occluded_fw=occluded_fw,
            occluded_bw=occluded_bw,
            camera_to_world=view.camera_to_world,
            moving_tracks=self._stage.moving_tracks(index),
            right_rgb=self._right(index) if self.config.stereo_baseline_m > 0 else None,
        )

    def stamp_ns(self, index: int) -> int:
        """Return the time of frame ``index``."""
        return self.config.start_stamp_ns + round(index * 1_000_000_000 / self.config.fps)

    def camera_to_world(self, index: int) -> Array:
        """Return the pose of the (left) camera at frame ``index``; −1 and num_frames exist too."""
        return self._stage.camera_to_world(index)

    def ego_speed_mps(self, index: int) -> float:
        """Return the ego's speed along its way."""
        return self._stage.ego_speed_mps(index)

    def _view(self, index: int) -> View:
        if index not in self._views:
            self._views[index] = self._look(self._stage.camera_to_world(index), index)
            while len(self._views) > _KEPT_VIEWS:
                self._views.popitem(last=False)
        self._views.move_to_end(index)
        return self._views[index]

    def _look(self, camera_to_world: Array, index: int) -> View:
        sun = self._style.lighting.sun if self.config.shadows else None
        poses = self._stage.part_poses(index)
        return look(self._scene, self._town, self.camera, camera_to_world, poses, sun)

    def _paint(self, view: View, index: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        color, poses = self._stage.colors(index), self._stage.part_poses(index)
        antialias = self.config.antialias
        return paint(self._scene, view, poses, self.camera, self._style, color=color, antialias=antialias)

    def _right(self, index: int) -> NDArray[np.uint8]:
        pose = self._stage.camera_to_world(index).copy()
        pose[:3, 3] += self.config.stereo_baseline_m * pose[:3, 0]
        return self._paint(self._look(pose, index), index)[0]


def iter_frames(world: World) -> Iterator[WorldFrame]:
    """Render every frame in order."""
    for index in range(len(world)):
        yield world.frame(index)
