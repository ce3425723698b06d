"""Every polygon of a world in flat arrays, grouped into rigid parts."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from videocups.synthetic.classes import WorldClass
from videocups.synthetic.mesh import Array, Mesh, join

STATIC = -1
"""Pose slot of parts that never move."""


@dataclass(frozen=True)
class Scene:
    """P polygons in N rigid parts; the polygons of one part lie side by side.

    Polygons: ``corners`` (3, 4, P), unit ``normal`` (P, 3) and ``offset`` (P,) in part coordinates,
    ``texture`` (P, 2, 4): texture u and v = texture[:, :3] · point + texture[:, 3].
    Parts: ``first`` and ``count`` polygon, ``center`` (N, 3) and ``radius`` of a sphere around it,
    ``shadow_height_m``: the level its shadow falls on, NaN where it casts none.
    ``pose_slot``: row in the table of poses of a frame, −1 for what never moves.
    """

    corners: Array
    normal: Array
    offset: Array
    color: NDArray[np.float32]
    material: NDArray[np.uint8]
    params: NDArray[np.float32]
    texture: Array
    part: NDArray[np.int32]
    first: NDArray[np.int64]
    count: NDArray[np.int64]
    center: Array
    radius: Array
    class_id: NDArray[np.uint8]
    track_id: NDArray[np.uint16]
    pose_slot: NDArray[np.int32]
    shadow_height_m: Array


@dataclass
class SceneBuilder:
    """Collects meshes as parts and lays them out as a Scene."""

    meshes: list[Mesh] = field(default_factory=list)
    class_ids: list[int] = field(default_factory=list)
    track_ids: list[int] = field(default_factory=list)
    pose_slots: list[int] = field(default_factory=list)
    shadow_heights: list[float] = field(default_factory=list)

    def add(
        self,
        mesh: Mesh,
        class_id: WorldClass,
        *,
        track_id: int = 0,
        pose_slot: int = STATIC,
        shadow_height_m: float = float("nan"),
    ) -> int:
        """Add one rigid part and return its index."""
        self.meshes.append(mesh)
        self.class_ids.append(int(class_id))
        self.track_ids.append(track_id)
        self.pose_slots.append(pose_slot)
        self.shadow_heights.append(shadow_height_m)
        return len(self.meshes) - 1

    def build(self) -> Scene:
        """Lay all parts out in flat arrays."""
        whole = join(self.meshes)
        count = np.array([len(mesh) for mesh in self.meshes], dtype=np.int64)
        normal = polygon_normals(whole.corners)
        middles = [0.5 * (m.corners.min(axis=(0, 1)) + m.corners.max(axis=(0, 1))) for m in self.meshes]
        reach = [
            np.linalg.norm(m.corners - middle, axis=2).max() for m, middle in zip(self.meshes, middles, strict=True)
        ]
        return Scene(
            corners=np.ascontiguousarray(whole.corners.transpose(2, 1, 0)),
            normal=normal,
            offset=np.einsum("pk,pk->p", normal, whole.corners.mean(axis=1)),
            color=whole.color.astype(np.float32),
            material=whole.material,
            params=whole.params.astype(np.float32),
            texture=_texture_frames(normal, whole.origin),
            part=np.repeat(np.arange(len(count), dtype=np.int32), count),
            first=np.cumsum(count) - count,
            count=count,
            center=np.array(middles),
            radius=np.array(reach),
            class_id=np.array(self.class_ids, dtype=np.uint8),
            track_id=np.array(self.track_ids, dtype=np.uint16),
            pose_slot=np.array(self.pose_slots, dtype=np.int32),
            shadow_height_m=np.array(self.shadow_heights),
        )


def polygon_normals(corners: Array) -> Array:
    """Return unit normals (P, 3) from the diagonals; they point to where the corners turn counter-clockwise."""
    normal = np.cross(corners[:, 2] - corners[:, 0], corners[:, 3] - corners[:, 1])
    return np.asarray(normal / np.linalg.norm(normal, axis=1, keepdims=True))


def _texture_frames(normal: Array, origin: Array) -> Array:
    """Return (P, 2, 4): u runs level along the polygon and v up it; on level polygons u is x and v is y."""
    level = np.abs(normal[:, 2]) > 0.85
    u_axis = np.cross([0.0, 0.0, 1.0], normal)
    u_axis[level] = [1.0, 0.0, 0.0]
    u_axis /= np.linalg.norm(u_axis, axis=1, keepdims=True)
    v_axis = np.cross(normal, u_axis)
    axes = np.stack([u_axis, v_axis], axis=1)
    return np.concatenate([axes, -np.einsum("pik,pk->pi", axes, origin)[..., None]], axis=2)
