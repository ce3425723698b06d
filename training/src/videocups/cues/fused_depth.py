"""One depth of what a network sees in a frame and what parallax measured in it.

Parallax is sharp where things stand and the camera passes them, and says nothing ahead, far away, or of what moves. A
network knows about how far things are, whatever they do. Each pixel takes both, by how wrong either may be.
"""

from __future__ import annotations

import numpy as np

from videocups.cues.depth import DepthConfig, Measured, window_means
from videocups.cues.flow import FloatMap
from videocups.cues.known_depth import FEWEST_PX, SHARP, KnownDepth
from videocups.cues.motion import MOVING, around_moving

WINDOWS_PX = {9: 0.06, 3: 0.03}
"""wide to narrow: the relative error of a window's mean that is not noise, but of ego-motion, ground, and smoothing"""
SPREAD = np.float32(np.sqrt(2))
"""standard deviation of a Laplace distribution, in the mean error that the network tells"""


def fused_inverse_depth(
    known: KnownDepth, measured: Measured | None, motion: FloatMap, ground: FloatMap, config: DepthConfig
) -> FloatMap:
    """Return inverse depth (H, W) in the unit of ``known``; that alone where nothing was measured.

    ``motion`` (H, W): probability that a pixel moves by itself. ``ground`` (H, W): inverse depth of the ground in
    1/camera heights, 0 above its horizon.
    """
    if measured is None:
        return known.inverse_depth
    near = around_moving(motion > MOVING)
    weight = np.where(near, 0, measured.weight).astype(np.float32)
    sharp = weight * np.square(SHARP * measured.inverse_depth) > 1
    sharp &= measured.inverse_depth > 0
    if np.count_nonzero(sharp) < FEWEST_PX:
        return known.inverse_depth
    unit = np.float32(np.median(known.inverse_depth[sharp] / measured.inverse_depth[sharp]))
    standing = Measured(measured.inverse_depth, weight)
    parallax, precision = known.inverse_depth, np.zeros_like(weight)
    means = window_means(standing, ground, WINDOWS_PX, config)
    for (mean, information), common in zip(means, WINDOWS_PX.values(), strict=True):
        noise = 1 / np.sqrt(information)
        precise = ~near & (noise < config.wanted_error * mean)
        parallax = np.where(precise, unit * mean, parallax)
        precision = np.where(precise, 1 / np.square(unit * (noise + common * mean)), precision)
    trust = 1 / np.square(SPREAD * known.error * known.inverse_depth)
    return np.asarray((precision * parallax + trust * known.inverse_depth) / (precision + trust), np.float32)
