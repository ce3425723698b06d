"""The ground under the vehicle: per pair of frames from parallax, and steadied over a clip.

On a plane the inverse depth is linear in the ray: rho = N · ray, with N = (unit normal) / (camera height). Lengths are
in translations of the pair, so 1 / |N| is the camera's height in translations. A vehicle keeps its camera's height and,
up to its suspension, its pitch and roll: over a clip only the speed differs from pair to pair.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from videocups.cues.ego_motion import EgoMotion
from videocups.cues.epipolar import Matrix, Parallax, parallax
from videocups.cues.flow import FloatMap
from videocups_core.config import setting
from videocups_core.types import CameraModel


@dataclass(frozen=True)
class GroundConfig:
    """How the ground is found."""

    # only rays that fall at least this steeply (tangent) vote
    min_slope: float = setting(0.08, "only rays that fall at least this steeply vote", minimum=0.001)
    # rays that far to the side of straight down-ahead do not vote: houses, not road
    side_slope: float = setting(0.63, "rays farther to the side than this plus their fall do not vote", minimum=0.0)
    # expected error of the flow
    flow_noise_px: float = setting(0.35, "expected error of the flow", minimum=0.01)
    # fewer voting pixels than this, or a smaller share of them on the plane, is no ground
    min_pixels: int = setting(300, "fewer voting pixels than this find no ground", minimum=10)
    min_share: float = setting(
        0.2, "a smaller share of the voting pixels than this is no ground", minimum=0.0, maximum=1.0
    )
    # a plane tilted more than this against the camera's own level is the side of a truck, not the ground
    max_tilt_deg: float = setting(15.0, "a plane tilted more than this is not the ground", minimum=0.0, maximum=90.0)
    # a vehicle that creeps shows its ground worse: from this camera height in steps on by the square
    clear_height: float = setting(4.0, "camera height in steps from which on the ground shows worse", minimum=0.1)
    # the pairs before and after that steady the normal
    window: int = setting(30, "pairs before and after that steady the ground's normal", minimum=0)


@dataclass(frozen=True)
class Ground:
    """The ground in the first camera of a pair: ``normal`` (3,) = N; ``share``: of the voting pixels that lie on it."""

    normal: Matrix
    share: float

    @property
    def camera_height(self) -> float:
        """Height of the camera over the ground, in translations of the pair."""
        return float(1.0 / np.linalg.norm(self.normal))

    def inverse_depth(self, rays: FloatMap) -> FloatMap:
        """Return (H, W) inverse depth of the ground, 0 above its horizon."""
        seen: FloatMap = np.maximum(rays @ self.normal.astype(np.float32), 0)
        return seen

    def in_second_camera(self, motion: EgoMotion) -> Ground:
        """Return the same ground seen from the second camera of the pair."""
        height = self.camera_height
        unit = motion.rotation @ (self.normal * height)
        return Ground(unit / max(height + float(unit @ motion.direction), 1e-6), self.share)


def voters_every(shape: tuple[int, ...]) -> int:
    """Return how thin the voters may be: some 40,000 pixels find a plane as well as all of them."""
    return max(1, int(np.sqrt(shape[0] * shape[1] / 40_000)))


def ground_of_flow(
    flow_px: FloatMap,
    usable: NDArray[np.bool_],
    motion: EgoMotion,
    rays: FloatMap,
    camera: CameraModel,
    config: GroundConfig | None = None,
    known_normal: Matrix | None = None,
) -> Ground | None:
    """Find the ground under a camera that moves; None where it does not, or where too little of the flow shows one."""
    if motion.kind != "moving":
        return None
    every = voters_every(usable.shape)
    seen = parallax(flow_px, motion.rotation, motion.direction, camera, every=every)
    return fit_ground(seen, usable, rays, config, known_normal, every=every)


def fit_ground(
    seen: Parallax,
    usable: NDArray[np.bool_],
    rays: FloatMap,
    config: GroundConfig | None = None,
    known_normal: Matrix | None = None,
    *,
    every: int = 1,
) -> Ground | None:
    """Find the ground of a pair by voting for its height, then by robust least squares; None where there is none.

    ``usable`` (H, W): pixels seen in both frames. ``known_normal``: unit normal; then only the height is fitted.
    ``every``: the parallax is that of every so many pixels of every so many rows; the rest is of all.
    """
    config = config or GroundConfig()
    part = (slice(None, None, every), slice(None, None, every))
    ray, rho, noise = rays[part], seen.inverse_depth, seen.noise
    votes = usable[part] & (np.abs(seen.across_px) < 0.6) & (rho > 0)
    votes &= (ray[..., 1] > config.min_slope) & (np.abs(ray[..., 0]) < config.side_slope + ray[..., 1])
    if votes.sum() * every * every < config.min_pixels:
        return None
    measured = ray[votes].astype(np.float64), rho[votes].astype(np.float64), noise[votes].astype(np.float64)
    return _fit(*measured, config.min_pixels / every**2, config, known_normal)


def _fit(
    ray: Matrix, rho: Matrix, noise: Matrix, min_pixels: float, config: GroundConfig, known_normal: Matrix | None
) -> Ground | None:
    """Vote for the height, then fit again and again to what lies near; None where too little does."""
    guess = np.array([0.0, 1.0, 0.0]) if known_normal is None else known_normal
    toward = np.maximum(ray @ guess, 1e-3)
    normal = guess * _vote(rho / toward, noise / rho)
    noise = config.flow_noise_px * noise
    for scale in (3.0,) * 3 + (1.5,) * 9:
        predicted = ray @ normal
        tolerance = 2 * scale * np.maximum(noise, 0.02 * np.abs(predicted))
        weight = np.square(np.clip(1 - np.square((rho - predicted) / tolerance), 0, None)) / np.square(tolerance)
        if np.count_nonzero(weight) < 0.2 * min_pixels:
            return None
        if known_normal is None:
            normal = _fit_plane(ray, rho, weight, normal, config.clear_height)
        else:
            normal = _fit_height(ray, rho, weight, normal)
    predicted = ray @ normal
    share = float((np.abs(rho - predicted) < 2 * np.maximum(noise, 0.03 * np.abs(predicted))).mean())
    level = normal[1] >= np.cos(np.radians(config.max_tilt_deg)) * np.linalg.norm(normal)
    return Ground(normal, share) if share >= config.min_share and level else None


def steady_grounds(grounds: Sequence[Ground | None], config: GroundConfig | None = None) -> list[Matrix | None]:
    """Return for each pair the unit normal that its neighbours in time agree on; None where none found ground."""
    config = config or GroundConfig()
    units = np.array([np.full(3, np.nan) if g is None else g.normal * g.camera_height for g in grounds]).reshape(-1, 3)
    # a ground that many voters deny counts little
    weights = np.array([0.0 if g is None else g.share**3 * clearness(g, config) for g in grounds])
    steady: list[Matrix | None] = []
    for index in range(len(grounds)):
        near = slice(max(0, index - config.window), index + config.window + 1)
        known = weights[near] > 0
        chosen, weight = units[near][known], weights[near][known]
        if not known.any():  # a long stand: the clip's own normal
            chosen, weight = units[weights > 0], weights[weights > 0]
        if not len(chosen):
            steady.append(None)
            continue
        middle = weighted_median(chosen, weight)
        steady.append(middle / np.linalg.norm(middle))
    return steady


def clearness(ground: Ground | None, config: GroundConfig) -> float:
    """Return in [0, 1] how well a pair can show its ground: before a stand noise agrees with any plane."""
    return 0.0 if ground is None else min(1.0, (config.clear_height / ground.camera_height) ** 2)


def weighted_median(values: Matrix, weights: Matrix) -> Matrix:
    """Return the median of each column of ``values`` (N, M) under ``weights`` (N,)."""
    middle = []
    for column in values.T:
        order = np.argsort(column)
        middle.append(column[order][np.searchsorted(np.cumsum(weights[order]), 0.5 * weights.sum())])
    return np.array(middle)


def _vote(height: Matrix, relative_noise: Matrix) -> float:
    """Return the most voted value on a logarithmic scale; precise votes count more."""
    histogram, edges = np.histogram(
        np.log(np.clip(height, 1e-4, 1e3)), bins=200, range=(-7, 4), weights=1 / (relative_noise + 0.02)
    )
    smooth = np.convolve(histogram, np.full(5, 0.2), "same")
    return float(np.exp(edges[smooth.argmax()] + (edges[1] - edges[0]) / 2))


def _fit_plane(ray: Matrix, rho: Matrix, weight: Matrix, normal: Matrix, clear_height: float) -> Matrix:
    """Weighted least squares, with a little faith that the camera is level, more so that it does not lean.

    The slower the vehicle, the less its parallax stands out from errors, and the more counts that faith.
    """
    gram = (ray * weight[:, None]).T @ ray
    doubt = max(1.0, 1 / (clear_height**2 * float(normal @ normal)))
    faith = np.diag([4.0, 0.02, 1.0]) * np.trace(gram) * 1e-3 * doubt
    level = np.array([0.0, np.linalg.norm(normal), 0.0])
    fitted: Matrix = np.linalg.solve(gram + faith, (ray * weight[:, None]).T @ rho + faith @ level)
    return fitted


def _fit_height(ray: Matrix, rho: Matrix, weight: Matrix, normal: Matrix) -> Matrix:
    toward = ray @ normal
    fitted: Matrix = normal * ((weight * rho * toward).sum() / (weight * toward * toward).sum())
    return fitted
