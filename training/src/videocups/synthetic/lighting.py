"""Sun, sky and haze. Colours are linear light, the picture takes their square root at the end."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from videocups.synthetic.mesh import Array
from videocups.synthetic.noise import Noise

Floats = NDArray[np.float32]

HAZE_M = 420.0


@dataclass(frozen=True)
class Lighting:
    """``sun``: unit vector towards it. Colours (3,) linear light; ``clouds`` 0..1: how much of the sky they cover."""

    sun: Array
    sun_color: Floats
    ambient: Floats
    zenith: Floats
    horizon: Floats
    clouds: float

    def shade(self, normals: Array) -> Floats:
        """Return the light (P, 3) on surfaces with these world normals, out of cast shadows."""
        direct = np.clip(normals @ self.sun, 0.0, None)[:, None]
        # Less sky reaches what looks down; a little light comes back from the ground.
        open_sky = (0.62 + 0.38 * normals[:, 2])[:, None]
        return (direct * self.sun_color + open_sky * self.ambient).astype(np.float32)

    def sky(self, direction: Floats, noise: Noise, pixel_rad: float) -> Floats:
        """Return the colour (P, 3) of the sky in world directions (3, P)."""
        length = np.sqrt(direction[0] ** 2 + direction[1] ** 2 + direction[2] ** 2)
        height = np.maximum(direction[2] / length, 0.0)
        blend = (1.0 - (1.0 - np.minimum(height, 1.0)) ** 3)[:, None]
        color = self.horizon + blend * (self.zenith - self.horizon)
        # Clouds hang on a level sheet; dividing by the height bends it down to the horizon.
        stretch = 62.0 / (height + 0.22)
        footprint = np.full_like(height, 62.0 * pixel_rad) / (height + 0.22) ** 2
        density = noise.sample(direction[0] / length * stretch, direction[1] / length * stretch, footprint)
        cover = np.clip((density + 1.6 * self.clouds - 0.9) * 1.7, 0.0, 1.0) * np.clip(height * 9.0, 0.0, 1.0)
        white = np.float32(0.93) - 0.12 * np.clip(density, 0.0, 1.0)
        color += cover[:, None] * np.float32(0.85) * (white[:, None] - color)
        toward_sun = (direction * self.sun.astype(np.float32)[:, None]).sum(axis=0) / length
        glow = np.clip(toward_sun, 0.0, 1.0) ** 2
        glow = (glow * glow * glow) ** 2 * glow
        return np.asarray(color + 0.25 * glow[:, None], dtype=np.float32)


def draw_lighting(rng: np.random.Generator) -> Lighting:
    """Draw the time of day and the weather."""
    azimuth, elevation = rng.uniform(0, 2 * np.pi), np.radians(rng.uniform(32.0, 62.0))
    sun = np.array([np.cos(azimuth) * np.cos(elevation), np.sin(azimuth) * np.cos(elevation), np.sin(elevation)])
    warmth = rng.uniform(0.0, 1.0)
    return Lighting(
        sun=sun,
        sun_color=np.array([1.55, 1.46 - 0.09 * warmth, 1.29 - 0.25 * warmth], dtype=np.float32),
        ambient=np.array([0.44, 0.50, 0.60], dtype=np.float32) * np.float32(rng.uniform(0.9, 1.1)),
        zenith=np.array([0.10, 0.24, 0.58], dtype=np.float32),
        horizon=np.array([0.62, 0.72, 0.82], dtype=np.float32) * np.float32(rng.uniform(0.95, 1.05)),
        clouds=float(rng.uniform(0.25, 0.75)),
    )
