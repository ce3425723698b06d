"""Nothing lies below the ground: a plane by RANSAC, and how far the disparity falls behind it."""

from __future__ import annotations

import torch
from torch import Tensor

from videocups.cues.dynamo.config import DepthLossConfig
from videocups.cues.dynamo.networks import depth_to_disparity


@torch.no_grad()
def fit_ground(points: Tensor, config: DepthLossConfig) -> Tensor:
    """Return planes (B, 3), y = a·x + b·z + c, with most points of the lower part of (B, 3, H, W) on them."""
    first_row = round(points.shape[-2] * (1 - config.ground_share))
    low = points[:, :, first_row:].flatten(2).transpose(1, 2)
    count = low.shape[1]
    chosen = torch.randint(count, (len(low), config.ground_tries * config.ground_points), device=low.device)
    picked = torch.gather(low, 1, chosen[:, :, None].expand(-1, -1, 3))
    planes = plane_through(picked.view(len(low), config.ground_tries, config.ground_points, 3))
    distance = distance_below(low[:, None], planes[:, :, None])
    votes = (distance.abs() < config.ground_tolerance).sum(-1)
    return planes[torch.arange(len(planes), device=low.device), votes.argmax(1)]


def plane_through(points: Tensor) -> Tensor:
    """Return the least-squares planes (..., 3) y = a·x + b·z + c through points (..., N, 3)."""
    wide = points.double()
    known = torch.stack([wide[..., 0], wide[..., 2], torch.ones_like(wide[..., 0])], dim=-1)
    square = known.transpose(-1, -2) @ known
    # points on a line have no plane; the tiny ridge keeps such a try finite, and few points will vote for it
    ridge = (
        1e-9 * square.diagonal(dim1=-2, dim2=-1).amax(-1)[..., None, None] * torch.eye(3, device=wide.device).double()
    )
    answer = known.transpose(-1, -2) @ wide[..., 1:2]
    planes: Tensor = torch.linalg.solve(square + ridge, answer).squeeze(-1).to(points.dtype)
    return planes


def distance_below(points: Tensor, planes: Tensor) -> Tensor:
    """Return how far points (..., 3) lie below planes (..., 3), y being down."""
    a, b, c = planes.unbind(-1)
    x, y, z = points.unbind(-1)
    return (y - a * x - b * z - c) / (1 + a.square() + b.square()).sqrt()


def ground_loss(
    disparity: Tensor, points: Tensor, rays: Tensor, config: DepthLossConfig, min_depth: float, max_depth: float
) -> Tensor:
    """Return the mean of what disparity (B, 1, H, W) lacks to that of the ground, lowered by the tolerance."""
    a, b, c = fit_ground(points.detach(), config)[:, :, None, None].unbind(1)
    steep = rays[:, 1] - a * rays[:, 0] - b * rays[:, 2]
    depth = ((c + config.ground_tolerance) / steep)[:, None]
    # a ray that never meets the ground in front of the camera may be as deep as it likes
    meets = torch.isfinite(depth) & (depth > 0) & (depth < max_depth)
    ground = depth_to_disparity(torch.where(meets, depth, max_depth), min_depth, max_depth)
    return torch.where(meets, (ground - disparity).clamp(min=0), 0).mean()
