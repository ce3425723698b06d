"""Nothing lies below the ground.

On a plane inverse depth is linear in the ray: 1/depth = n · ray, with n the plane's normal over the camera's height. So
the ground is found among inverse depths, and everything about it is relative: training settles on a unit of depth of
its own, and a tolerance in that unit would mean another thing in every run.
"""

from __future__ import annotations

import torch
from torch import Tensor

from videocups.cues.dynamo.config import DepthLossConfig

STRIDE = 2  # every second pixel of every second row votes
LEAST_SHARE = 0.1  # of the voters that a ground holds


def ground_loss(inverse_depth: Tensor, rays: Tensor, config: DepthLossConfig) -> Tensor:
    """Return the mean of what inverse depth (B, 1, H, W) lacks to that of the ground; ``rays`` (B, 3, H, W).

    Both are relative to the mean inverse depth of their image. The plane itself is a constant: without that, bringing
    the whole world nearer would pay, step by step, until all depth is the least one.
    """
    with torch.no_grad():
        size = inverse_depth.mean(dim=(2, 3), keepdim=True)
        plane = fit_ground(inverse_depth, rays, config)
        ground = (1 - config.ground_tolerance) * (plane[:, None] @ rays.flatten(2)).view_as(inverse_depth) / size
    relative = inverse_depth / inverse_depth.mean(dim=(2, 3), keepdim=True)
    # above its horizon the ground has no depth, and everything may be as deep as it likes
    return torch.where(ground > 0, (ground - relative).clamp(min=0), 0).mean()


@torch.no_grad()
def fit_ground(inverse_depth: Tensor, rays: Tensor, config: DepthLossConfig) -> Tensor:
    """Return n (B, 3) of the plane on which most of the lower part of the image lies.

    Tries planes through random pixels; the one with the most votes wins. One that rises by more than 45° is a wall:
    depth that is the same everywhere lies on one, and must not be held there. n is 0 where nothing else holds enough.
    """
    first_row = round(rays.shape[-2] * (1 - config.ground_share))
    low = (..., slice(first_row, None, STRIDE), slice(None, None, STRIDE))
    seen, toward = inverse_depth[low].flatten(1), rays[low].flatten(2).transpose(1, 2)
    count = config.ground_tries * config.ground_points
    drawn = torch.randint(seen.shape[1], (len(seen), count), device=seen.device)
    tried = (len(seen), config.ground_tries, config.ground_points)
    of_ray = torch.gather(toward, 1, drawn[..., None].expand(-1, -1, 3)).view(*tried, 3)
    planes = plane_through(torch.gather(seen, 1, drawn).view(tried), of_ray)
    on_plane = planes @ toward.transpose(1, 2)
    votes = ((on_plane - seen[:, None]).abs() < config.ground_tolerance * seen[:, None]).sum(-1)
    level = planes[..., 1] > planes[..., ::2].norm(dim=-1)
    is_ground = level & (votes > LEAST_SHARE * seen.shape[1])
    best = torch.where(is_ground, votes, -1).argmax(1)[:, None, None].expand(-1, 1, 3)
    return torch.gather(torch.where(is_ground[..., None], planes, 0), 1, best).squeeze(1)


def plane_through(inverse_depth: Tensor, rays: Tensor) -> Tensor:
    """Return n (..., 3), least squares of relative errors, through inverse depths (..., N) along rays (..., N, 3)."""
    relative = (rays / inverse_depth[..., None]).double()
    gram = relative.transpose(-1, -2) @ relative
    # pixels of one row determine no plane: the ridge keeps them finite, and such a try finds few votes
    ridge = 1e-9 * gram.diagonal(dim1=-2, dim2=-1).sum(-1)[..., None, None]
    planes = torch.linalg.solve(gram + ridge * torch.eye(3, dtype=gram.dtype, device=gram.device), relative.sum(-2))
    found: Tensor = planes.to(rays.dtype)
    return found
