"""Cues as artefacts: how flow, pairs and a clip's geometry become arrays and tables, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from videocups.cues.classical import ClipGeometry
from videocups.cues.clip_geometry import Habit, PairGeometry, no_pair
from videocups.cues.depth import Measured
from videocups.cues.ego_motion import EgoMotion
from videocups.cues.flow import FlowPair
from videocups.cues.ground_plane import Ground

Arrays = dict[str, NDArray[Any]]
STORED = np.float16
"""fields on disk: half precision is 1/128 px at 16 px of flow, well below what any estimator knows."""


def flow_to_arrays(flow: FlowPair) -> Arrays:
    """Return a pair's flow as fields in stored precision; visibility takes a bit a pixel."""
    return {
        "forward_px": flow.forward_px.astype(STORED),
        "backward_px": flow.backward_px.astype(STORED),
        "visible_forward": np.packbits(flow.visible_forward),
        "visible_backward": np.packbits(flow.visible_backward),
    }


def flow_from_arrays(arrays: Mapping[str, NDArray[Any]]) -> FlowPair:
    """Return the flow that ``flow_to_arrays`` stored."""
    forward, backward = (arrays[name].astype(np.float32) for name in ("forward_px", "backward_px"))
    height, width = forward.shape[:2]
    seen, seen_back = (
        np.unpackbits(arrays[name], count=height * width).reshape(height, width).astype(bool)
        for name in ("visible_forward", "visible_backward")
    )
    return FlowPair(forward, backward, seen, seen_back)


def parallax_to_arrays(measured: Measured | None, steady: Measured | None) -> Arrays:
    """Return what neighbours measured as fields: inverse depth and its error, infinite where nothing was measured.

    Where all neighbours are steady, one field stands for both.
    """
    arrays: Arrays = {"same": np.array(measured is steady)}
    for name, one in (("measured", measured), ("steady", None if measured is steady else steady)):
        if one is not None:
            error = 1 / np.sqrt(np.maximum(one.weight, 1e-30))
            arrays[f"{name}_inverse"] = one.inverse_depth.astype(STORED)
            arrays[f"{name}_error"] = np.where(one.weight > 0, error, np.inf).astype(STORED)
    return arrays


def parallax_from_arrays(arrays: Mapping[str, NDArray[Any]]) -> tuple[Measured | None, Measured | None]:
    """Return what ``parallax_to_arrays`` stored."""
    found: list[Measured | None] = []
    for name in ("measured", "steady"):
        inverse, error = arrays.get(f"{name}_inverse"), arrays.get(f"{name}_error")
        if inverse is None or error is None:
            found.append(None)
            continue
        weight = 1 / np.square(np.maximum(error.astype(np.float32), np.float32(1e-4)))
        found.append(Measured(inverse.astype(np.float32), weight.astype(np.float32)))
    measured, steady = found
    return (measured, measured) if arrays["same"] else (measured, steady)


def pair_to_json(pair: PairGeometry) -> dict[str, Any]:
    """Return motion and ground of a pair as a table."""
    motion, ground = pair.motion, pair.ground
    return {
        "kind": motion.kind,
        "rotation": np.asarray(motion.rotation).tolist(),
        "direction": np.asarray(motion.direction).tolist(),
        "support": float(motion.support),
        "ground": None if ground is None else {"normal": ground.normal.tolist(), "share": float(ground.share)},
    }


def pair_from_json(table: Mapping[str, Any]) -> PairGeometry:
    """Return the pair that ``pair_to_json`` stored."""
    motion = EgoMotion(np.array(table["rotation"]), np.array(table["direction"]), table["kind"], table["support"])
    ground = table["ground"]
    return PairGeometry(motion, None if ground is None else Ground(np.array(ground["normal"]), ground["share"]))


def geometry_to_arrays(habits: Sequence[Habit], hood: NDArray[np.bool_]) -> Arrays:
    """Return what a clip knows of its camera as arrays; unknown directions are NaN."""
    unknown = np.full(3, np.nan)
    return {
        "normals": np.array([unknown if h.normal is None else h.normal for h in habits]).reshape(-1, 3),
        "axes": np.array([unknown if h.axis is None else h.axis for h in habits]).reshape(-1, 3),
        "hood": hood,
    }


def geometry_from_arrays(arrays: Mapping[str, NDArray[Any]], pairs: Mapping[int, PairGeometry]) -> ClipGeometry:
    """Return the clip's geometry with the ``pairs`` that are needed; the others are unknown."""
    habits = tuple(Habit(_known(n), _known(a)) for n, a in zip(arrays["normals"], arrays["axes"], strict=True))
    every = tuple(pairs.get(number, no_pair()) for number in range(len(habits)))
    return ClipGeometry(every, habits, arrays["hood"])


def _known(vector: NDArray[np.float64]) -> NDArray[np.float64] | None:
    return None if np.isnan(vector).any() else vector
