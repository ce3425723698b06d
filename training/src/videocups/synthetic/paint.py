"""From the nearest surface per pixel to a picture and a class per pixel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from videocups.synthetic.antialias import soften
from videocups.synthetic.classes import WorldClass
from videocups.synthetic.facade import paint_facade
from videocups.synthetic.layout import Town
from videocups.synthetic.lighting import HAZE_M, Lighting
from videocups.synthetic.mesh import Array, Material
from videocups.synthetic.noise import Noise
from videocups.synthetic.pavement import paint_ground
from videocups.synthetic.scene import Scene
from videocups.synthetic.view import BACKGROUND, SKY, View, pixel_rays
from videocups_core.types import CameraModel

Floats = NDArray[np.float32]

# How dense and how strong the grain of each material is: texels per metre, amplitude.
GRAIN: dict[Material, tuple[float, float]] = {
    Material.MATTE: (45.0, 0.18),
    Material.PAINT: (30.0, 0.07),
    Material.GLASS: (6.0, 0.16),
    Material.FOLIAGE: (26.0, 0.62),
    Material.ROOF: (40.0, 0.25),
    Material.FACADE: (26.0, 0.13),
    Material.GLOW: (1.0, 0.0),
    Material.BARK: (60.0, 0.35),
}
_DENSITY = np.array([GRAIN[material][0] for material in Material], dtype=np.float32)
_STRENGTH = np.array([GRAIN[material][1] for material in Material], dtype=np.float32)


@dataclass(frozen=True)
class Style:
    """What paints a world: its plan, light and grain."""

    town: Town
    lighting: Lighting
    noise: Noise


def paint(
    scene: Scene,
    view: View,
    part_poses: Array,
    camera: CameraModel,
    style: Style,
    *,
    color: Floats,
    antialias: bool,
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return the picture (H, W, 3) and the class map (H, W); ``color`` (P, 3) is each polygon's albedo just now."""
    count = camera.height * camera.width
    surface = view.surface.reshape(-1)
    light = np.zeros((count, 3), dtype=np.float32)
    table = np.concatenate([np.zeros(BACKGROUND, np.uint8), scene.class_id[view.part[BACKGROUND:]]])
    table[SKY] = WorldClass.SKY
    classes = table[surface]
    light[view.ground], classes[view.ground] = paint_ground(view, style.town, style.lighting, style.noise, camera.fx)
    drawn = np.flatnonzero(surface >= BACKGROUND)
    if len(drawn):
        light[drawn] = _paint_polygons(scene, view, part_poses, camera, style, drawn, color)
    _haze(light, view, style.lighting)
    sky = np.flatnonzero(surface == SKY)
    if len(sky):
        light[sky] = _paint_sky(view, camera, style, sky)
    image = light.reshape(camera.height, camera.width, 3)
    if antialias:
        image = soften(image, view.surface, view.edges, view.inverse_depth)
    rgb = np.sqrt(np.clip(image, 0.0, 1.0)) * np.float32(255.0) + np.float32(0.5)
    return rgb.astype(np.uint8), classes.reshape(camera.height, camera.width)


def _paint_polygons(
    scene: Scene,
    view: View,
    part_poses: Array,
    camera: CameraModel,
    style: Style,
    drawn: NDArray[np.int64],
    color: Floats,
) -> Floats:
    polygon = view.polygon
    part = scene.part[polygon]
    normals = np.matmul(part_poses[part, :, :3], scene.normal[polygon][:, :, None])[:, :, 0]
    material = scene.material[polygon]
    shaded = style.lighting.shade(normals)
    shaded[material == Material.GLOW] = 1.0
    lit = color[polygon] * shaded + _gloss(view, normals, material, style.lighting)
    owner = view.surface.reshape(-1)[drawn] - BACKGROUND
    u, v, size = _texture_coordinates(scene, view, camera, drawn, owner)
    kind = material[owner]
    density = _DENSITY[kind]
    grain = style.noise.sample(u * density, v * density, size * density)
    result = lit[owner] * (1.0 + _STRENGTH[kind] * grain)[:, None]
    wall = np.flatnonzero(kind == Material.FACADE)
    if len(wall):
        on = owner[wall]
        params = scene.params[polygon[on]]
        result[wall] = paint_facade(result[wall], u[wall], v[wall], size[wall], params, shaded[on], style.lighting)
    return np.asarray(result)


def _gloss(view: View, normals: Array, material: NDArray[np.uint8], lighting: Lighting) -> Floats:
    """Return light (Q, 3) that paint and glass mirror: sky, stronger at a slant, and the sun's highlight."""
    # The view direction is taken at the polygon's plane foot: one value a polygon.
    world_from_camera = view.camera_to_world[:3, :3]
    center = np.array([0.0, 0.0, 1.0]) @ world_from_camera.T
    slant = 1.0 - np.clip(-normals @ center, 0.0, 1.0)
    share = np.where(material == Material.GLASS, 0.06 + 0.30 * slant**3, 0.0)
    share = np.where(material == Material.PAINT, 0.015 + 0.05 * slant**3, share)
    upward = np.clip(normals[:, 2:] + 0.5, 0.1, 1.0)
    halfway = lighting.sun - center
    halfway /= np.linalg.norm(halfway)
    shine = np.where((material == Material.PAINT) | (material == Material.GLASS), 0.35, 0.0)
    highlight = shine * np.clip(normals @ halfway, 0.0, 1.0) ** 20
    return np.asarray(share[:, None] * upward * lighting.horizon + highlight[:, None], dtype=np.float32)


def _texture_coordinates(
    scene: Scene, view: View, camera: CameraModel, drawn: NDArray[np.int64], owner: NDArray[np.int32]
) -> tuple[Floats, Floats, Floats]:
    """Return u and v in m of each drawn pixel and the size of the pixel on its surface."""
    turn = view.camera_from_part[scene.part[view.polygon]]
    frame = scene.texture[view.polygon]
    axes = np.matmul(frame[:, :, :3], turn[:, :, :3].transpose(0, 2, 1))
    offset = frame[:, :, 3] - np.matmul(axes, turn[:, :, 3:])[:, :, 0]
    forms = np.concatenate([axes, offset[:, :, None]], axis=2).astype(np.float32)
    rays = pixel_rays(camera)
    row, column = np.divmod(drawn, camera.width)
    x, y = rays.x[0, column], rays.y[row, 0]
    inverse = view.inverse_depth.reshape(-1)[drawn]
    depth = 1.0 / inverse
    u, v = (
        depth * (forms[:, i, 0][owner] * x + forms[:, i, 1][owner] * y + forms[:, i, 2][owner]) + forms[:, i, 3][owner]
        for i in (0, 1)
    )
    plane = view.plane[BACKGROUND:]
    a, b = plane[:, 0] * camera.fx, plane[:, 1] * camera.fy
    c = plane[:, 2] + plane[:, 0] * camera.cx + plane[:, 1] * camera.cy
    # For the plane n·P = h, (a, b, c) = n / h: its length is 1 / h, and the slant is inverse depth · h.
    height = (1.0 / np.sqrt(a * a + b * b + c * c)).astype(np.float32)
    facing = np.maximum(inverse * height[owner], 0.06)
    return u, v, depth / np.float32(camera.fx) / np.sqrt(facing)


def _haze(light: Floats, view: View, lighting: Lighting) -> None:
    """Let the distance fade into the horizon, in place."""
    inverse = np.maximum(view.inverse_depth.reshape(-1), 1e-4)
    share = 1.0 - np.exp(-1.0 / (np.float32(HAZE_M) * inverse))
    light += share[:, None] * (lighting.horizon * np.float32(0.92) - light)


def _paint_sky(view: View, camera: CameraModel, style: Style, sky: NDArray[np.int64]) -> Floats:
    rays = pixel_rays(camera)
    row, column = np.divmod(sky, camera.width)
    turn = view.camera_to_world[:3, :3].astype(np.float32)
    x, y = rays.x[0, column], rays.y[row, 0]
    direction = np.stack([turn[i, 0] * x + turn[i, 1] * y + turn[i, 2] for i in range(3)])
    return style.lighting.sky(direction, style.noise, 1.0 / camera.fx)
