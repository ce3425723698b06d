"""Two images of a scene that we make: a frame that bends, and cut-outs of others that move over it on their own.

Their flow is known both ways and everywhere: at the borders of things, behind them and beyond the image, where real
frames teach nothing without labels. Pixel centres are whole; flow in px, right and down.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from videocups.cues.flow import FloatMap, warp
from videocups.cues.refined.config import ScenesConfig

Image = NDArray[np.uint8]
INVERSE_ROUNDS = 12
LOBES = 4  # of a thing's outline
EVEN_CONTRAST = (0.02, 0.3)  # of things that are painted nearly evenly
SMALL_PX = 24.0  # things of a smaller half size count more


@dataclass(frozen=True)
class Scene:
    """Two images (H, W, 3) uint8, the true flow (H, W, 2) of each to the other, and what their pixels count (H, W)."""

    first: Image
    second: Image
    forward_px: FloatMap
    backward_px: FloatMap
    first_weight: FloatMap
    second_weight: FloatMap


@dataclass(frozen=True)
class _Painting:
    """One of a scene's images while it is made: (H, W, 3), its flow (H, W, 2) and what its pixels count (H, W)."""

    image: FloatMap
    flow_px: FloatMap
    weight: FloatMap


@dataclass(frozen=True)
class _Thing:
    """A cut-out: where it is in the first image, and the matrix and shift that move it to the second."""

    centre: NDArray[np.float32]
    half_size: NDArray[np.float32]
    squareness: float
    lobes: NDArray[np.float32]
    matrix: NDArray[np.float32]
    shift: NDArray[np.float32]
    texture: FloatMap


def make_scene(frames: Sequence[Image], config: ScenesConfig, rng: np.random.Generator) -> Scene:
    """Make a scene: ``frames[0]`` (H, W, 3) is its background, the others give the things' colours."""
    height, width = frames[0].shape[:2]
    forward = _background_flow(height, width, config, rng)
    backward = inverse_flow(forward)
    background, even = frames[0].astype(np.float32), np.ones((height, width), np.float32)
    first, second = _Painting(background, forward, even), _Painting(warp(background, backward), backward, even)
    for _ in range(rng.integers(config.fewest_things, config.most_things + 1)):
        thing = _draw_thing(frames[int(rng.integers(len(frames)))], first.flow_px, config, rng)
        count = float(np.clip(SMALL_PX / thing.half_size.min(), 1, config.small_weight))
        first = _paste(thing, first, count, into_second=False)
        second = _paste(thing, second, count, into_second=True)
    images = _as_seen(first.image, rng), _as_seen(second.image, rng)
    return Scene(*images, first.flow_px, second.flow_px, first.weight, second.weight)


def inverse_flow(flow_px: FloatMap) -> FloatMap:
    """Return the flow back, g(y) = −f(y + g(y)), of a flow that changes by less than a px a px."""
    back = -flow_px
    for _ in range(INVERSE_ROUNDS):
        back = -warp(flow_px, back)
    return back


def _background_flow(height: int, width: int, config: ScenesConfig, rng: np.random.Generator) -> FloatMap:
    """Return a shift, an expansion around some point that grows downwards, as on a road, and some bending."""
    reach = (config.still_px if rng.random() < config.still_share else config.background_px) * rng.random()
    row, column = np.mgrid[:height, :width].astype(np.float32)
    away = np.stack([column - width * rng.uniform(0.2, 0.8), row - height * rng.uniform(0.2, 0.6)], axis=2)
    near = np.clip(row / height - rng.uniform(0, 0.5), 0.1, 1)[..., None]
    expansion = away * near
    expansion *= rng.uniform(-0.5, 1) / np.abs(expansion).max()
    nodes = rng.uniform(-1, 1, (rng.integers(2, 5), rng.integers(2, 7), 2)).astype(np.float32)
    bend = np.clip(cv2.resize(nodes, (width, height), interpolation=cv2.INTER_CUBIC), -1, 1) * rng.uniform(0, 0.3)
    shift = rng.uniform(-0.4, 0.4, 2) * (1, 0.4)
    return np.asarray(reach * (expansion + bend + shift), np.float32)


def _draw_thing(frame: Image, background: FloatMap, config: ScenesConfig, rng: np.random.Generator) -> _Thing:
    height, width = frame.shape[:2]
    centre = rng.uniform((0, 0), (width, height)).astype(np.float32)
    half = _log_uniform(config.thing_px, rng)
    aspect = np.exp(rng.normal(0, 0.6))
    behind = background[int(centre[1]), int(centre[0])]
    way = rng.normal(0, 1, 2) * (1, 0.4)
    own = _log_uniform(config.motion_px, rng) * way / (np.linalg.norm(way) + 1e-6)
    angle, growth = rng.normal(0, 0.02), 1 + rng.normal(0, 0.03)
    turn = growth * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    # a cut-out of another place: its texture is that of the whole frame, shifted in a circle
    steps = (int(rng.integers(height)), int(rng.integers(width)))
    return _Thing(
        centre,
        np.array([half * np.sqrt(aspect), half / np.sqrt(aspect)], np.float32),
        float(rng.uniform(2, 8)),
        rng.normal(0, 0.12 / (1 + np.arange(LOBES)), (2, LOBES)).T.astype(np.float32),
        turn.astype(np.float32),
        (behind * rng.uniform(0, 1.3) + own).astype(np.float32),
        _painted(np.roll(frame, steps, axis=(0, 1)).astype(np.float32), config, rng),
    )


def _painted(texture: FloatMap, config: ScenesConfig, rng: np.random.Generator) -> FloatMap:
    """Return the texture as it is, or with little of its contrast left, around one of its colours."""
    if not config.even_share or rng.random() >= config.even_share:
        return texture
    colour = texture[int(rng.integers(texture.shape[0])), int(rng.integers(texture.shape[1]))]
    return np.asarray(colour + rng.uniform(*EVEN_CONTRAST) * (texture - texture.mean((0, 1))), np.float32)


def _paste(thing: _Thing, painting: _Painting, count: float, *, into_second: bool) -> _Painting:
    """Lay the thing over one of the images; it and as much around it count ``count`` times at least.

    ``rest``: where the first image shows a point of the thing.
    """
    height, width = painting.weight.shape
    row, column = np.mgrid[:height, :width].astype(np.float32)
    here: FloatMap = np.stack([column, row], axis=2) - thing.centre
    rest, there = here, here @ thing.matrix.T + thing.shift
    if into_second:
        rest = there = np.asarray((here - thing.shift) @ np.linalg.inv(thing.matrix).T, np.float32)
    inside_px = _signed_distance(thing, rest)
    share = np.clip(inside_px + 0.5, 0, 1)[..., None]
    place = rest + thing.centre
    looks = cv2.remap(thing.texture, place[..., 0], place[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
    near = inside_px > -thing.half_size.min()
    return _Painting(
        painting.image * (1 - share) + looks * share,
        np.where(share > 0.5, there - here, painting.flow_px).astype(np.float32),
        np.where(near, np.maximum(painting.weight, count), painting.weight).astype(np.float32),
    )


def _signed_distance(thing: _Thing, rest: FloatMap) -> FloatMap:
    """Return (H, W): px to the outline, about; positive inside."""
    scaled = np.abs(rest / thing.half_size)
    angle = np.arctan2(rest[..., 1], rest[..., 0])
    radius = (scaled[..., 0] ** thing.squareness + scaled[..., 1] ** thing.squareness) ** (1 / thing.squareness)
    outline = 1 + sum(
        wave[0] * np.cos((at + 1) * angle) + wave[1] * np.sin((at + 1) * angle) for at, wave in enumerate(thing.lobes)
    )
    distance: FloatMap = (outline - radius) * thing.half_size.min()
    return distance


def _as_seen(image: FloatMap, rng: np.random.Generator) -> Image:
    """Return the image with exposure, blur, noise and compression of its own."""
    exposed = image * rng.uniform(0.95, 1.05) + rng.uniform(-4, 4)
    if rng.random() < 0.3:
        exposed = np.asarray(cv2.GaussianBlur(exposed, (0, 0), rng.uniform(0.3, 0.8)))
    seen = np.clip(exposed + rng.normal(0, rng.uniform(0, 2.5), image.shape), 0, 255).astype(np.uint8)
    if rng.random() < 0.7:
        _, coded = cv2.imencode(".jpg", seen, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(75, 98))])
        return np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), np.uint8)
    return seen


def _log_uniform(limits: tuple[float, float], rng: np.random.Generator) -> float:
    return float(np.exp(rng.uniform(np.log(limits[0]), np.log(limits[1]))))
