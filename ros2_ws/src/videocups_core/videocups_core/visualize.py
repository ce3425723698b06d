"""Flow, depth and probabilities as pictures, for cue inspection pages and reports."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray


def colorize_flow(flow_px: NDArray[np.floating], *, max_px: float | None = None) -> NDArray[np.uint8]:
    """Return (H, W, 2) flow in px as (H, W, 3) RGB: hue is direction, saturation is speed, white is still.

    ``max_px`` is the speed of full colour; by default the 99th percentile. Non-finite flow is black.
    """
    if flow_px.ndim != 3 or flow_px.shape[2] != 2:
        raise ValueError(f"flow must be (H, W, 2), got {flow_px.shape}")
    known = np.isfinite(flow_px).all(axis=2)
    u, v = (np.where(known, flow_px[..., axis], 0.0).astype(np.float32) for axis in (0, 1))
    speed, angle_deg = cv2.cartToPolar(u, v, angleInDegrees=True)
    full = max_px if max_px is not None else _percentile(np.asarray(speed)[known], 99)
    hsv = np.empty((*flow_px.shape[:2], 3), np.float32)
    hsv[..., 0] = angle_deg
    hsv[..., 1] = np.minimum(np.asarray(speed) / max(full, 1e-6), 1.0)
    hsv[..., 2] = known
    return np.asarray(np.rint(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB) * 255), dtype=np.uint8)


def colorize_depth(
    depth_m: NDArray[np.floating], *, min_m: float | None = None, max_m: float | None = None
) -> NDArray[np.uint8]:
    """Return (H, W) depth in metres as (H, W, 3) RGB: near is red, far is blue, on a logarithmic scale.

    Depth that is 0, negative or not finite is unknown and black. The bounds default to the 2nd and 98th percentile.
    """
    if depth_m.ndim != 2:
        raise ValueError(f"depth must be (H, W), got {depth_m.shape}")
    known = np.isfinite(depth_m) & (depth_m > 0)
    low = min_m if min_m is not None else _percentile(depth_m[known], 2)
    high = max_m if max_m is not None else _percentile(depth_m[known], 98)
    low = max(low, 1e-6)
    span = max(float(np.log(max(high, low) / low)), 1e-6)
    far = np.log(np.where(known, depth_m, low) / low) / span
    return _turbo(1.0 - far, known)


def colorize_probability(probability: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Return (H, W) values in 0..1 as (H, W, 3) RGB from blue to red; non-finite values are black."""
    known = np.isfinite(probability)
    return _turbo(np.where(known, probability, 0.0), known)


def _turbo(level: NDArray[np.floating], known: NDArray[np.bool_]) -> NDArray[np.uint8]:
    index = np.rint(np.clip(level, 0.0, 1.0) * 255).astype(np.uint8)
    colored = np.asarray(cv2.applyColorMap(index, cv2.COLORMAP_TURBO)[..., ::-1])
    return np.where(known[..., None], colored, 0).astype(np.uint8)


def _percentile(values: NDArray[np.floating], percent: float) -> float:
    return float(np.percentile(values, percent)) if values.size else 1.0
