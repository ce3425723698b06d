"""What a camera sees: the nearest surface per pixel, before any paint."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from videocups.synthetic import cast
from videocups.synthetic.classes import WorldClass
from videocups.synthetic.layout import KERB_M, Town
from videocups.synthetic.mesh import Array
from videocups.synthetic.scene import Scene
from videocups_core.types import CameraModel

Floats = NDArray[np.float32]

GROUND_REACH_M = 700.0
SHADOW_REACH_M, LARGE_SHADOW_REACH_M, LARGE_M = 55.0, 120.0, 5.5
"""Farther away a shadow on the ground is thinner than a row of pixels; large things are those of LARGE_M radius."""
VEHICLES = (WorldClass.CAR, WorldClass.TRUCK, WorldClass.BUS)
ZENITH = np.array([0.0, 0.0, 1.0])
ROAD, BLOCK, SKY = 0, 1, 2
"""Numbers of the background's surfaces; polygons follow from BACKGROUND on."""
BACKGROUND = 3


@dataclass(frozen=True)
class View:
    """One cast image.

    ``surface`` (H, W): ROAD, BLOCK, SKY or BACKGROUND + q for visible polygon q.
    ``inverse_depth`` (H, W): 1/m, 0 in the sky. ``plane`` (S, 3): inverse depth = a·x + b·y + c of each surface.
    ``edges`` (Q, 4, 3) of the polygons, ``polygon`` (Q,) and ``part`` (S,) in the scene (−1 for the background).
    ``camera_from_part`` (N, 3, 4).
    ``shadow`` (H, W): 0..1, how much of the ground there is in shadow; ``contact``: how much lies beneath a vehicle.
    ``ground`` (G,): the pixels that show ground, their world x and y are ``ground_xy`` (2, G), and ``kerb`` (G,) is
    their signed distance to the kerb.
    """

    camera_to_world: Array
    camera_from_part: Array
    surface: NDArray[np.int32]
    inverse_depth: Floats
    plane: Array
    edges: Array
    polygon: NDArray[np.int64]
    part: NDArray[np.int32]
    shadow: Floats
    contact: Floats
    ground: NDArray[np.int64]
    ground_xy: Floats
    kerb: Floats


@dataclass(frozen=True)
class Rays:
    """Directions (x, y, 1) of all pixels in the camera, rows and columns apart."""

    x: Floats
    y: Floats


def pixel_rays(camera: CameraModel) -> Rays:
    """Return the rays through the pixel centres, x (1, W) and y (H, 1)."""
    x = (np.arange(camera.width) - camera.cx) / camera.fx
    y = (np.arange(camera.height) - camera.cy) / camera.fy
    return Rays(x[None].astype(np.float32), y[:, None].astype(np.float32))


def invert_pose(pose: Array) -> Array:
    """Return the inverse of a rigid 4×4 pose."""
    inverse = np.eye(4)
    inverse[:3, :3] = pose[:3, :3].T
    inverse[:3, 3] = -pose[:3, :3].T @ pose[:3, 3]
    return inverse


def look(
    scene: Scene, town: Town, camera: CameraModel, camera_to_world: Array, part_poses: Array, sun: Array | None
) -> View:
    """Cast one image. ``part_poses`` (N, 3, 4) part to world; ``sun``: unit vector towards it, None for no shadows."""
    world_to_camera = invert_pose(camera_to_world)[:3]
    camera_from_part = _compose(world_to_camera, part_poses)
    ground = _Ground(camera, camera_to_world, town)
    parts = cast.parts_in_view(scene, camera_from_part, camera)
    depth, winner = ground.inverse_depth, ground.surface - BACKGROUND
    layers: list[cast.Projected] = []
    polygons: list[NDArray[np.int64]] = []
    shift = 0
    building = scene.class_id[parts] == WorldClass.BUILDING
    for group in (parts[building], parts[~building]):
        # What buildings hide as a whole need not be cast.
        open_parts = group[~cast.hidden(scene, camera_from_part, camera, group, depth)]
        projected, numbers = _project(scene, camera, camera_from_part, open_parts)
        depth, winner = cast.nearest(projected, depth, winner, first_number=shift)
        layers.append(projected)
        polygons.append(numbers)
        shift += len(numbers)
    inverse_depth, polygon = depth, np.concatenate(polygons)
    surface = (winner + BACKGROUND).astype(np.int32)
    visible = np.flatnonzero(surface.reshape(-1)[ground.pixel] < BACKGROUND)
    shadow = contact = np.zeros(surface.shape, dtype=np.float32)
    if sun is not None:
        shadow = _softened(_shadows(scene, camera, world_to_camera, part_poses, sun))
        vehicles = np.isin(scene.class_id, VEHICLES)
        contact = _softened(_shadows(scene, camera, world_to_camera, part_poses, ZENITH, vehicles))
    return View(
        camera_to_world=camera_to_world,
        camera_from_part=camera_from_part,
        surface=surface,
        inverse_depth=inverse_depth,
        plane=np.concatenate([ground.planes, *(layer.plane for layer in layers)]),
        edges=np.concatenate([layer.edges for layer in layers]),
        polygon=polygon,
        part=np.concatenate([np.full(BACKGROUND, -1, dtype=np.int32), scene.part[polygon]]),
        shadow=shadow,
        contact=contact,
        ground=ground.pixel[visible],
        ground_xy=ground.xy[:, visible],
        kerb=ground.kerb[visible],
    )


class _Ground:
    """Road, blocks and sky, cast in closed form: two level planes and the plan of the town."""

    def __init__(self, camera: CameraModel, camera_to_world: Array, town: Town) -> None:
        up = camera_to_world[2, :3]
        height = camera_to_world[2, 3]
        form = np.array([up[0] / camera.fx, up[1] / camera.fy, 0.0])
        form[2] = up[2] - form[0] * camera.cx - form[1] * camera.cy
        road, block = form / -height, form / (KERB_M - height)
        self.planes = np.stack([road, block, np.zeros(3)])
        x, y = np.arange(camera.width)[None], np.arange(camera.height)[:, None]
        on_block = (block[0] * x + block[1] * y + block[2]).astype(np.float32)
        on_road = (road[0] * x + road[1] * y + road[2]).astype(np.float32)
        self.pixel = np.flatnonzero(on_block > 1.0 / GROUND_REACH_M)
        rays = pixel_rays(camera)
        turn = camera_to_world.astype(np.float32)
        row, column = np.divmod(self.pixel, camera.width)
        toward = [turn[i, 0] * rays.x[0, column] + turn[i, 1] * rays.y[row, 0] + turn[i, 2] for i in (0, 1)]
        depth_block, depth_road = 1.0 / on_block.reshape(-1)[self.pixel], 1.0 / on_road.reshape(-1)[self.pixel]
        position = camera_to_world[:2, 3].astype(np.float32)
        xy_block = np.stack([position[i] + depth_block * toward[i] for i in (0, 1)])
        self.kerb = town.kerb_distance(xy_block[0], xy_block[1])
        raised = self.kerb < 0
        xy_road = np.stack([position[i] + depth_road * toward[i] for i in (0, 1)])
        self.xy = np.where(raised, xy_block, xy_road)
        self.kerb = np.where(raised, self.kerb, town.kerb_distance(xy_road[0], xy_road[1]))
        self.inverse_depth = np.zeros((camera.height, camera.width), dtype=np.float32)
        self.inverse_depth.reshape(-1)[self.pixel] = np.where(raised, 1 / depth_block, 1 / depth_road)
        self.surface = np.full((camera.height, camera.width), SKY, dtype=np.int32)
        self.surface.reshape(-1)[self.pixel] = np.where(raised, BLOCK, ROAD)


def _compose(outer: Array, inner: Array) -> Array:
    """Return outer ∘ inner for one 3×4 and many 3×4 transforms."""
    result = np.matmul(outer[:, :3], inner)
    result[:, :, 3] += outer[:, 3]
    return np.asarray(result)


def _project(
    scene: Scene, camera: CameraModel, camera_from_part: Array, parts: NDArray[np.int64]
) -> tuple[cast.Projected, NDArray[np.int64]]:
    """Return the projected polygons of ``parts`` that may be seen, and their numbers in the scene."""
    polygon = _facing(scene, cast.polygons_of(scene, parts), camera_from_part)
    projected, kept = cast.project(cast.place(scene, polygon, camera_from_part), camera)
    return projected, polygon[kept]


def _facing(scene: Scene, polygon: NDArray[np.int64], camera_from_part: Array) -> NDArray[np.int64]:
    """Leave out polygons seen from behind."""
    eye = -np.einsum("nji,nj->ni", camera_from_part[:, :, :3], camera_from_part[:, :, 3])
    height = np.einsum("pk,pk->p", scene.normal[polygon], eye[scene.part[polygon]]) - scene.offset[polygon]
    return np.asarray(polygon[height > 1e-6])


def _softened(mask: NDArray[np.bool_]) -> Floats:
    """Blur a mask over 3×3 pixels."""
    wide = np.pad(mask.astype(np.float32), 1, mode="edge")
    rows = 0.25 * wide[:-2] + 0.5 * wide[1:-1] + 0.25 * wide[2:]
    return np.asarray(0.25 * rows[:, :-2] + 0.5 * rows[:, 1:-1] + 0.25 * rows[:, 2:])


def _shadows(
    scene: Scene,
    camera: CameraModel,
    world_to_camera: Array,
    part_poses: Array,
    sun: Array,
    casts: NDArray[np.bool_] | None = None,
) -> NDArray[np.bool_]:
    """Return where polygons that face the sun throw their shadow on the ground (H, W)."""
    flatten = np.eye(4)[:3]
    flatten[:, 2] -= sun / sun[2]
    height = np.nan_to_num(scene.shadow_height_m)
    thrown = np.matmul(flatten[:, :3], part_poses)
    thrown[:, :, 3] += height[:, None] * (sun / sun[2])
    camera_from_shadow = _compose(world_to_camera, thrown)
    parts = cast.parts_in_view(scene, camera_from_shadow, camera, stretch=1.0 / float(sun[2]))
    if casts is not None:
        parts = parts[casts[parts]]
    distance = cast.distances(scene, camera_from_shadow, parts)
    reach = np.where(scene.radius[parts] > LARGE_M, LARGE_SHADOW_REACH_M, SHADOW_REACH_M)
    parts = parts[~np.isnan(scene.shadow_height_m[parts]) & (distance < reach)]
    polygon = cast.polygons_of(scene, parts)
    toward_sun = np.einsum("nji,j->ni", part_poses[:, :, :3], sun)
    lit = np.einsum("pk,pk->p", scene.normal[polygon], toward_sun[scene.part[polygon]]) > 1e-3
    polygon = polygon[lit]
    projected, _ = cast.project(cast.place(scene, polygon, camera_from_shadow), camera)
    pixel, _, _ = cast.spans(projected, camera.width).pixels(camera.width)
    shadow = np.zeros(camera.height * camera.width, dtype=bool)
    shadow[pixel] = True
    return shadow.reshape(camera.height, camera.width)
