"""One depth of what a network sees in a frame and what parallax measured in it.

Parallax is sharp where things stand and the camera passes them, and says nothing ahead, far away, or of what moves. A
network knows about how far things are, whatever they do. Each pixel takes both, by how wrong either may be.
"""

from __future__ import annotations

import numpy as np

from videocups.cues.depth import Measured
from videocups.cues.flow import FloatMap
from videocups.cues.known_depth import FEWEST_PX, SHARP, KnownDepth
from videocups.cues.motion import MOVING, around_moving

COMMON_ERROR = 0.03
"""relative error that all measurements of a frame share: that of ego-motion and of the ground."""


def fused_inverse_depth(known: KnownDepth, measured: Measured | None, motion: FloatMap) -> FloatMap:
    """Return inverse depth (H, W) in the unit of ``known``; that alone where nothing was measured.

    ``motion`` (H, W): probability that a pixel moves by itself.
    """
    if measured is None:
        return known.inverse_depth
    weight = np.where(around_moving(motion > MOVING), 0, measured.weight).astype(np.float32)
    noise = 1 / np.sqrt(np.maximum(weight, 1e-12))
    sharp = noise < SHARP * measured.inverse_depth
    if np.count_nonzero(sharp) < FEWEST_PX:
        return known.inverse_depth
    unit = np.float32(np.median(known.inverse_depth[sharp] / measured.inverse_depth[sharp]))
    seen = unit * measured.inverse_depth
    parallax = 1 / np.square(unit * noise + COMMON_ERROR * np.maximum(seen, known.inverse_depth))
    appearance = 1 / np.square(known.error * known.inverse_depth)
    fused = (parallax * seen + appearance * known.inverse_depth) / (parallax + appearance)
    # noise may put what is far behind infinity
    return np.asarray(np.maximum(fused, known.inverse_depth.min()), np.float32)
