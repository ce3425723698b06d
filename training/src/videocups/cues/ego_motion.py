"""The camera's own motion between two frames, from flow: rotation and the direction of translation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from videocups.cues.epipolar import Matrix, pinhole, sampson_px
from videocups.cues.flow import FlowPair
from videocups_core.config import setting
from videocups_core.types import CameraModel

Kind = Literal["moving", "standing", "unknown"]


@dataclass(frozen=True)
class EgoMotionConfig:
    """How the camera's motion is found."""

    # correspondences taken from the flow of a pair, both ways together
    samples: int = setting(6000, "correspondences taken from the flow of a pair", minimum=100)
    # RANSAC: a correspondence this near its epipolar line agrees
    ransac_px: float = setting(0.6, "a correspondence this near its epipolar line agrees", minimum=0.01)
    # refinement: errors well above this count for nothing
    robust_px: float = setting(0.25, "errors well above this count for nothing in the refinement", minimum=0.01)
    # a pixel whose flow is explained by rotation alone up to this did not show translation
    still_px: float = setting(0.3, "flow beyond the rotation below this shows no translation", minimum=0.0)
    # the camera stands (or only turns) where more than this share of all pixels shows no translation ...
    still_share: float = setting(
        0.7, "the camera stands above this share of pixels without translation", minimum=0.0, maximum=1.0
    )
    # ... and more than this share of the lowest 40 % of the image, where the road is
    still_road_share: float = setting(
        0.5, "... and above this share in the lowest 40 % of the image", minimum=0.0, maximum=1.0
    )
    # where no motion shows a ground, this share of pixels without any flow, at all and on the road, is a stand
    stand_behind_traffic: float = setting(
        0.3, "share of still pixels that is a stand where traffic fills the image", minimum=0.0, maximum=1.0
    )
    # motion that explains less than this share of the correspondences (a cut, black frames) is no motion known
    min_support: float = setting(
        0.25, "motion explaining less than this share of the flow is unknown", minimum=0.0, maximum=1.0
    )
    # a direction of translation this far from the clip's usual one is checked against it
    max_odd_deg: float = setting(15.0, "a direction this far from the usual one is checked against it", minimum=0.0)


@dataclass(frozen=True)
class EgoMotion:
    """A static point X of the first camera is at R X + |t| ``direction`` in the second.

    ``kind``: "standing" has a rotation at most and direction 0; "unknown" (a cut, nothing to see) has neither.
    ``support``: share of correspondences that agree.
    """

    rotation: Matrix
    direction: Matrix
    kind: Kind
    support: float = 0.0

    def reversed(self) -> EgoMotion:
        """Return the motion from the second frame to the first; the unit of length stays."""
        return replace(self, rotation=self.rotation.T, direction=-self.rotation.T @ self.direction)


UNKNOWN = EgoMotion(np.eye(3), np.zeros(3), "unknown")


def estimate_ego_motion(
    flow: FlowPair,
    camera: CameraModel,
    config: EgoMotionConfig | None = None,
    ignore: NDArray[np.bool_] | None = None,
) -> EgoMotion:
    """Find the camera's motion of a pair; ``ignore`` (H, W): pixels that move with the camera, such as the hood."""
    config = config or EgoMotionConfig()
    first, second, is_road = correspondences(flow, camera, config.samples, ignore)
    if len(first) < 50:
        return UNKNOWN
    focal = pinhole(camera)[0]
    turn = _fit_rotation(first, second, focal, config.robust_px)
    still = _rotation_error_px(turn, first, second, focal) < config.still_px
    if still.mean() > config.still_share and still[is_road].mean() > config.still_road_share:
        return EgoMotion(turn, np.zeros(3), "standing", float(still.mean()))
    found = _ransac(first, second, config.ransac_px / focal)
    if found is None:
        return UNKNOWN
    motion = _settled(*found, first, second, focal, config)
    return motion if motion.support >= config.min_support else UNKNOWN


def other_motions(
    motion: EgoMotion,
    flow: FlowPair,
    camera: CameraModel,
    config: EgoMotionConfig | None = None,
    ignore: NDArray[np.bool_] | None = None,
) -> list[EgoMotion]:
    """Return what else the camera may have done: most of the image may belong to a truck that passes.

    First a stand, then the motions of what ``motion`` does not explain and of the lower image, where the road is.
    """
    config = config or EgoMotionConfig()
    first, second, is_road = correspondences(flow, camera, config.samples, ignore)
    if len(first) < 50:
        return []
    focal, least = pinhole(camera)[0], config.stand_behind_traffic
    still = _rotation_error_px(np.eye(3), first, second, focal) < config.still_px
    found = []
    if still.mean() > least and still[is_road].mean() > least:
        found.append(EgoMotion(np.eye(3), np.zeros(3), "standing", float(still.mean())))
    parts = [is_road]
    if motion.kind == "moving":
        error = np.abs(sampson_px(motion.rotation, motion.direction, first, second, focal))
        parts.insert(0, error > 4 * config.ransac_px)
    for part in parts:
        solution = _ransac(first[part], second[part], config.ransac_px / focal) if part.sum() >= 50 else None
        if solution is not None:
            found.append(_settled(*solution, first, second, focal, config))
    return found


def refine_ego_motion(
    motion: EgoMotion,
    flow: FlowPair,
    camera: CameraModel,
    config: EgoMotionConfig | None = None,
    ignore: NDArray[np.bool_] | None = None,
) -> EgoMotion:
    """Fit a motion that is roughly known to better flow; standing and unknown stay what they are."""
    config = config or EgoMotionConfig()
    first, second, _ = correspondences(flow, camera, config.samples, ignore)
    if motion.kind != "moving" or len(first) < 50:
        return motion
    return _settled(motion.rotation, motion.direction, first, second, pinhole(camera)[0], config)


def along_axis(
    axis: Matrix,
    flow: FlowPair,
    camera: CameraModel,
    config: EgoMotionConfig | None = None,
    ignore: NDArray[np.bool_] | None = None,
) -> EgoMotion:
    """Fit rotation alone, given the direction of translation: creeping gives too little flow to find both.

    Fitted from two beginnings, all of the image and its lowest part; the one that explains more of the road is taken.
    """
    config = config or EgoMotionConfig()
    first, second, is_road = correspondences(flow, camera, config.samples, ignore)
    if len(first) < 50:
        return UNKNOWN
    focal = pinhole(camera)[0]
    best, agreeing = UNKNOWN, -1.0
    for part in (np.ones(len(first), bool), is_road):
        if part.sum() < 50:
            continue
        turn = _fit_rotation(first[part], second[part], focal, config.robust_px)
        rotation, _ = _refine(turn, axis, first[part], second[part], focal, config.robust_px, turn_only=True)
        motion = _settled(rotation, axis, first, second, focal, config, turn_only=True)
        error = np.abs(sampson_px(motion.rotation, axis, first, second, focal))
        share = float((error[is_road] < 2 * config.robust_px).mean()) if is_road.any() else motion.support
        if share > agreeing:
            best, agreeing = motion, share
    return best


def _settled(
    rotation: Matrix,
    direction: Matrix,
    first: Matrix,
    second: Matrix,
    focal: float,
    config: EgoMotionConfig,
    *,
    turn_only: bool = False,
) -> EgoMotion:
    rotation, direction = _refine(rotation, direction, first, second, focal, config.robust_px, turn_only=turn_only)
    error = np.abs(sampson_px(rotation, direction, first, second, focal))
    return EgoMotion(rotation, direction, "moving", float((error < 2 * config.ransac_px).mean()))


def correspondences(
    flow: FlowPair, camera: CameraModel, samples: int, ignore: NDArray[np.bool_] | None
) -> tuple[Matrix, Matrix, NDArray[np.bool_]]:
    """Return points (N, 3) with z = 1 of both frames on a grid, from both flows, and which lie in the lowest 40 %."""
    height, width = flow.visible_forward.shape
    step = max(1, int(np.sqrt(2 * height * width / samples)))
    fx, fy, cx, cy = pinhole(camera)
    points = []
    for flow_px, visible in (
        (flow.forward_px, flow.visible_forward),
        (flow.backward_px, flow.visible_backward),
    ):
        inner = (slice(max(4, step // 2), height - 4, step), slice(max(8, step // 2), width - 8, step))
        usable = visible[inner] if ignore is None else visible[inner] & ~ignore[inner]
        row, column = np.nonzero(usable)
        here = np.stack([column * step + inner[1].start, row * step + inner[0].start], axis=1).astype(np.float64)
        points.append((here, here + flow_px[inner][usable]))
    (here, there), (back_there, back_here) = points
    first_px, second_px = np.concatenate([here, back_here]), np.concatenate([there, back_there])
    both = [
        np.column_stack([(px[:, 0] - cx) / fx, (px[:, 1] - cy) / fy, np.ones(len(px))]) for px in (first_px, second_px)
    ]
    return both[0], both[1], first_px[:, 1] > 0.6 * height


def _ransac(first: Matrix, second: Matrix, threshold: float) -> tuple[Matrix, Matrix] | None:
    cv2.setRNGSeed(0)  # the same flow gives the same motion
    few = slice(None, None, max(1, len(first) // 2000))  # enough to vote; the refinement uses all
    points = np.ascontiguousarray(first[few, :2]), np.ascontiguousarray(second[few, :2])
    essential, inliers = cv2.findEssentialMat(
        *points, np.eye(3), method=cv2.USAC_MAGSAC, prob=0.999, threshold=threshold
    )
    if essential is None or essential.shape != (3, 3):
        return None
    agree = np.flatnonzero(inliers)[:: max(1, int(np.count_nonzero(inliers)) // 300)]  # which of four poses: a few do
    if agree.size < 5:
        return None
    _, rotation, direction, _ = cv2.recoverPose(essential, points[0][agree], points[1][agree], np.eye(3))
    return np.asarray(rotation, np.float64), np.asarray(direction, np.float64).ravel()


def _refine(
    rotation: Matrix,
    direction: Matrix,
    first: Matrix,
    second: Matrix,
    focal: float,
    scale_px: float,
    *,
    turn_only: bool = False,
) -> tuple[Matrix, Matrix]:
    """Gauss-Newton on the Sampson distance with Geman-McClure weights: 3 of rotation, 2 of direction."""
    step, free = 1e-5, 3 if turn_only else 5
    for _ in range(12):
        sideways = np.linalg.svd(direction[None])[2][1:]

        def moved(
            change: Matrix, at: Matrix = rotation, to: Matrix = direction, sideways: Matrix = sideways
        ) -> tuple[Matrix, Matrix]:
            bent = to + change[3:] @ sideways
            return Rotation.from_rotvec(change[:3]).as_matrix() @ at, bent / np.linalg.norm(bent)

        error = sampson_px(rotation, direction, first, second, focal)
        columns = [(sampson_px(*moved(unit), first, second, focal) - error) / step for unit in step * np.eye(free, 5)]
        jacobian = np.stack(columns, axis=1)
        weighted = jacobian * (1.0 / (1.0 + np.square(error / scale_px)) ** 2)[:, None]
        change = np.linalg.solve(weighted.T @ jacobian + 1e-9 * len(error) * np.eye(free), -weighted.T @ error)
        rotation, direction = moved(np.pad(change, (0, 5 - free)))
        if np.abs(change).max() < 1e-5:
            break
    return rotation, direction


def _fit_rotation(first: Matrix, second: Matrix, focal: float, scale_px: float) -> Matrix:
    """Rotation alone that explains most of the flow: small angles, Geman-McClure weights, annealed."""
    rotation = np.eye(3)
    for scale in (8 * scale_px, 4 * scale_px, 2 * scale_px, scale_px, scale_px, scale_px):
        turned = first @ rotation.T
        x, y = turned[:, 0] / turned[:, 2], turned[:, 1] / turned[:, 2]
        error = np.stack([second[:, 0] - x, second[:, 1] - y], axis=1)
        weight = 1.0 / (1.0 + np.square(error * focal / scale).sum(axis=1)) ** 2
        # how x and y change with a small turn about each axis
        by_x = np.stack([-x * y, 1 + x * x, -y], axis=1)
        by_y = np.stack([-(1 + y * y), x * y, x], axis=1)
        normal = (by_x * weight[:, None]).T @ by_x + (by_y * weight[:, None]).T @ by_y
        right = by_x.T @ (weight * error[:, 0]) + by_y.T @ (weight * error[:, 1])
        turn = np.linalg.solve(normal + 1e-9 * np.eye(3), right)
        rotation = Rotation.from_rotvec(turn).as_matrix() @ rotation
    return rotation


def _rotation_error_px(rotation: Matrix, first: Matrix, second: Matrix, focal: float) -> Matrix:
    turned = first @ rotation.T
    error: Matrix = focal * np.linalg.norm(second[:, :2] - turned[:, :2] / turned[:, 2:], axis=1)
    return error
