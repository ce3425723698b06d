"""Optical flow between two frames, both ways, and which pixels are seen in both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray

from videocups_core.config import setting

FloatMap = NDArray[np.float32]


@dataclass(frozen=True)
class FlowPair:
    """Flow of a pair of frames: (H, W, 2) float32 in px (right, down); ``visible``: (H, W) bool, seen in both."""

    forward_px: FloatMap
    backward_px: FloatMap
    visible_forward: NDArray[np.bool_]
    visible_backward: NDArray[np.bool_]


class FlowEstimator(Protocol):
    """Anything that estimates flow from ``first`` to ``second``, (H, W, 3) uint8 RGB each."""

    def flow_px(self, first_rgb: NDArray[np.uint8], second_rgb: NDArray[np.uint8]) -> FloatMap:
        """Return (H, W, 2) float32 flow in px."""
        ...


@dataclass(frozen=True)
class DisFlowConfig:
    """Settings of OpenCV's dense inverse search."""

    # speed against quality; medium is the best of OpenCV's presets
    preset: Literal["ultrafast", "fast", "medium"] = setting("medium", "speed against quality")
    # the images are enlarged by this factor first: small and thin movers gain
    upscale: float = setting(1.0, "enlarge the images by this factor first", minimum=0.25, maximum=4.0)
    # the refinement trusts gradients this much, grey values 5 and smoothness 20; OpenCV's own 10 blurs small movers
    gradient_weight: float = setting(5.0, "how much the refinement trusts gradients, against grey values", minimum=0.0)
    # smaller images are enlarged to this width: the search starts at fixed patch sizes
    min_width_px: int = setting(0, "smaller images are enlarged to this width first", minimum=0, maximum=4096)


class DisFlow:
    """Dense inverse search: needs no training; the embedded default."""

    def __init__(self, config: DisFlowConfig | None = None) -> None:
        self.config = config or DisFlowConfig()
        presets = {
            "ultrafast": cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST,
            "fast": cv2.DISOPTICAL_FLOW_PRESET_FAST,
            "medium": cv2.DISOPTICAL_FLOW_PRESET_MEDIUM,
        }
        self._dis = cv2.DISOpticalFlow.create(presets[self.config.preset])
        self._dis.setVariationalRefinementGamma(self.config.gradient_weight)

    def flow_px(self, first_rgb: NDArray[np.uint8], second_rgb: NDArray[np.uint8]) -> FloatMap:
        """Return (H, W, 2) float32 flow in px from the first to the second frame."""
        if first_rgb.shape != second_rgb.shape:
            raise ValueError(f"flow needs two frames of one size, got {first_rgb.shape} and {second_rgb.shape}")
        height, width = first_rgb.shape[:2]
        first, second = self._grey(first_rgb), self._grey(second_rgb)
        flow = np.asarray(self._dis.calc(first, second, np.zeros((*first.shape, 2), np.float32)), dtype=np.float32)
        if flow.shape[:2] == (height, width):
            return flow
        scale = np.array([width / flow.shape[1], height / flow.shape[0]], dtype=np.float32)
        return np.asarray(cv2.resize(flow, (width, height), interpolation=cv2.INTER_AREA), dtype=np.float32) * scale

    def _grey(self, rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
        grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
        factor = max(self.config.upscale, self.config.min_width_px / grey.shape[1])
        if factor != 1:
            grey = cv2.resize(grey, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
        return np.asarray(grey, dtype=np.uint8)


def flow_pair(estimator: FlowEstimator, first_rgb: NDArray[np.uint8], second_rgb: NDArray[np.uint8]) -> FlowPair:
    """Estimate flow both ways and check one against the other."""
    forward = estimator.flow_px(first_rgb, second_rgb)
    backward = estimator.flow_px(second_rgb, first_rgb)
    return FlowPair(forward, backward, visible(forward, backward), visible(backward, forward))


def visible(flow_px: FloatMap, return_flow_px: FloatMap) -> NDArray[np.bool_]:
    """(H, W) bool: the pixel lands inside the other frame and comes back.

    Forward-backward check with the constants of "brox" in SMURF: |f + b(x + f)|² < 0.01 (|f|² + |b|²) + 0.5.
    """
    seen: NDArray[np.bool_] = _comes_back(flow_px, return_flow_px)
    return seen


@njit(cache=True)
def _comes_back(flow_px: FloatMap, return_flow_px: FloatMap) -> Any:
    height, width = flow_px.shape[:2]
    seen = np.zeros((height, width), np.bool_)
    one, share, slack = np.float32(1), np.float32(0.01), np.float32(0.5)
    last_column, last_row = np.float32(width - 1), np.float32(height - 1)
    for row in range(height):
        for column in range(width):
            u, v = flow_px[row, column, 0], flow_px[row, column, 1]
            x, y = np.float32(column) + u, np.float32(row) + v
            if not (x >= 0 and x <= last_column and y >= 0 and y <= last_row):
                continue
            left, top = np.int32(x), np.int32(y)
            right, low = min(left + 1, width - 1), min(top + 1, height - 1)
            a, b = x - np.float32(left), y - np.float32(top)
            at, beside, under, across = (one - a) * (one - b), a * (one - b), (one - a) * b, a * b
            back_u = at * return_flow_px[top, left, 0] + beside * return_flow_px[top, right, 0]
            back_v = at * return_flow_px[top, left, 1] + beside * return_flow_px[top, right, 1]
            back_u += under * return_flow_px[low, left, 0] + across * return_flow_px[low, right, 0]
            back_v += under * return_flow_px[low, left, 1] + across * return_flow_px[low, right, 1]
            size = u * u + v * v + back_u * back_u + back_v * back_v
            seen[row, column] = (u + back_u) ** 2 + (v + back_v) ** 2 < share * size + slack
    return seen


def lands_inside(flow_px: FloatMap) -> NDArray[np.bool_]:
    """(H, W) bool: the pixel's target lies within the other frame."""
    height, width = flow_px.shape[:2]
    column, row = target_px(flow_px)
    inside: NDArray[np.bool_] = (column >= 0) & (column <= width - 1) & (row >= 0) & (row <= height - 1)
    return inside


def target_px(flow_px: FloatMap) -> tuple[FloatMap, FloatMap]:
    """Column and row in the other frame each pixel moves to, (H, W) float32 each."""
    height, width = flow_px.shape[:2]
    column = np.arange(width, dtype=np.float32)[None, :] + flow_px[..., 0]
    row = np.arange(height, dtype=np.float32)[:, None] + flow_px[..., 1]
    return column, row


def warp(field: FloatMap, flow_px: FloatMap) -> FloatMap:
    """Fetch ``field`` (H, W[, C]) of the other frame for each pixel of this one, bilinear; edges repeat."""
    column, row = target_px(flow_px)
    warped = cv2.remap(field, column, row, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(warped, dtype=np.float32)


def warp_labels(labels: NDArray[np.int32], flow_px: FloatMap) -> NDArray[np.int32]:
    """Fetch labels of the other frame for each pixel of this one, nearest; 0 where the target lies outside."""
    fetched: NDArray[np.int32] = _fetch_labels(labels, flow_px)
    return fetched


@njit(cache=True)
def _fetch_labels(labels: NDArray[np.int32], flow_px: FloatMap) -> Any:
    height, width = labels.shape
    fetched = np.zeros((height, width), np.int32)
    for row in range(height):
        for column in range(width):
            x = np.rint(np.float32(column) + flow_px[row, column, 0])
            y = np.rint(np.float32(row) + flow_px[row, column, 1])
            if x >= 0 and x < width and y >= 0 and y < height:
                fetched[row, column] = labels[int(y), int(x)]
    return fetched
