"""The pinhole camera and rigid motion on batches: depth to points, points to pixels. Pixel centres are whole."""

from __future__ import annotations

import torch
from torch import Tensor

from videocups.cues.learned.sampling import pixel_grid

NEAREST = 1e-4  # points nearer to the image plane, or behind it, are held here: projection must stay finite


def pixel_rays(k: Tensor, height: int, width: int) -> Tensor:
    """Return (B, 3, H, W): K⁻¹ (x, y, 1) of every pixel, for K (B, 3, 3)."""
    grid = pixel_grid(height, width, k)
    homogeneous = torch.cat([grid, torch.ones_like(grid[:1])]).flatten(1)
    rays: Tensor = torch.linalg.inv(k) @ homogeneous
    return rays.view(-1, 3, height, width)


def back_project(depth: Tensor, rays: Tensor) -> Tensor:
    """Return the points (B, 3, H, W) at ``depth`` (B, 1, H, W) along the optical axis."""
    return depth * rays


def project(points: Tensor, k: Tensor) -> Tensor:
    """Return where points (B, 3, H, W) are seen, (B, 2, H, W) column and row in px."""
    height, width = points.shape[-2:]
    seen = k @ points.flatten(2)
    places = seen[:, :2] / seen[:, 2:].clamp(min=NEAREST)
    return places.view(-1, 2, height, width)


def rigid_motion(axis_angle: Tensor, translation: Tensor) -> Tensor:
    """Return (B, 4, 4) from rotation vectors (B, 3) in radians and translations (B, 3)."""
    x, y, z = axis_angle.unbind(1)
    zero = torch.zeros_like(x)
    skew = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=1).view(-1, 3, 3)
    motion = torch.eye(4, device=x.device, dtype=x.dtype).repeat(len(x), 1, 1)
    motion[:, :3, :3] = torch.linalg.matrix_exp(skew)
    motion[:, :3, 3] = translation
    return motion


def inverse_motion(motion: Tensor) -> Tensor:
    """Return the way back of rigid motions (B, 4, 4)."""
    turned = motion[:, :3, :3].transpose(1, 2)
    back = torch.eye(4, device=motion.device, dtype=motion.dtype).repeat(len(motion), 1, 1)
    back[:, :3, :3] = turned
    back[:, :3, 3] = -(turned @ motion[:, :3, 3:]).squeeze(-1)
    return back


def moved(points: Tensor, motion: Tensor) -> Tensor:
    """Return the points (B, 3, H, W) in the other camera, whose pose ``motion`` (B, 4, 4) gives."""
    turned = motion[:, :3, :3] @ points.flatten(2) + motion[:, :3, 3:]
    return turned.view_as(points)


def rigid_flow(depth: Tensor, k: Tensor, motion: Tensor) -> Tensor:
    """Return the flow (B, 2, H, W) in px of a world that stands still."""
    height, width = depth.shape[-2:]
    points = back_project(depth, pixel_rays(k, height, width))
    return project(moved(points, motion), k) - pixel_grid(height, width, depth)
