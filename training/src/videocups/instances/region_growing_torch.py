"""The torch twin of region growing: the same partition by label propagation, for a batch on a GPU."""

from __future__ import annotations

import torch
from torch import Tensor

from videocups.instances.region_growing import RegionGrowingConfig


def grow_regions_torch(
    motion: Tensor, depth: Tensor, flow_px: Tensor, config: RegionGrowingConfig | None = None
) -> Tensor:
    """Group moving pixels into regions; see ``region_growing.grow_regions`` for the rule.

    ``motion``, ``depth``: (B, H, W); ``flow_px``: (B, 2, H, W), on any device. Returns (B, H, W) int32, numbered as the
    compiled version numbers them. Each sweep lets every pixel take the smallest label among its partners and then
    follows labels to their root, so the number of sweeps grows with the logarithm of a region's extent, not with it.
    """
    config = config or RegionGrowingConfig()
    batch, height, width = motion.shape
    active = (motion > config.motion_threshold) & depth.isfinite() & motion.isfinite() & flow_px.isfinite().all(dim=1)
    flow = torch.where(active[:, None], flow_px, 0.0)
    length = flow.square().sum(dim=1).sqrt().clamp(min=config.flow_floor_px)
    pairs = [
        _partners(active, depth, flow, length, row, column, config)
        for row in range(config.radius_px + 1)
        for column in range(-config.radius_px, config.radius_px + 1)
        if row > 0 or column > 0
    ]
    first, second = torch.cat([pair[0] for pair in pairs]), torch.cat([pair[1] for pair in pairs])
    root = _components(batch * height * width, first, second)
    return _number(root.view(batch, height, width), active)


def _partners(
    active: Tensor, depth: Tensor, flow: Tensor, length: Tensor, row: int, column: int, config: RegionGrowingConfig
) -> tuple[Tensor, Tensor]:
    """Flat indices of all joined pairs (x, x + (row, column)) of the batch, Eq. 1 from either end."""
    height, width = active.shape[1:]
    here = (slice(0, height - row), slice(max(0, -column), width - max(0, column)))
    there = (slice(row, height), slice(max(0, column), width - max(0, -column)))
    both = active[:, here[0], here[1]] & active[:, there[0], there[1]]
    depth_x, depth_y = depth[:, here[0], here[1]], depth[:, there[0], there[1]]
    length_x, length_y = length[:, here[0], here[1]], length[:, there[0], there[1]]
    flow_gap2 = (flow[:, :, here[0], here[1]] - flow[:, :, there[0], there[1]]).square().sum(dim=1)
    depth_gap = (depth_x - depth_y).abs()
    tau_d, tau_f = config.depth_tolerance, config.flow_tolerance
    near_x = flow_gap2 < (tau_f * length_x).square()
    near_y = flow_gap2 < (tau_f * length_y).square()
    if tau_d > 0:
        near_x &= depth_gap < tau_d * depth_x.abs()
        near_y &= depth_gap < tau_d * depth_y.abs()
    image, y, x = torch.nonzero(both & (near_x | near_y), as_tuple=True)
    index = (image * height + y) * width + x + here[1].start
    return index, index + row * width + column


def _components(size: int, first: Tensor, second: Tensor) -> Tensor:
    """Smallest index of each node's connected component."""
    root = torch.arange(size, device=first.device)
    while first.numel():
        low = torch.minimum(root[first], root[second])
        root = root.scatter_reduce(0, root[first], low, "amin").scatter_reduce(0, root[second], low, "amin")
        while True:  # follow labels to their root
            shortened = root[root]
            if torch.equal(shortened, root):
                break
            root = shortened
        apart = root[first] != root[second]
        first, second = first[apart], second[apart]
    return root


def _number(root: Tensor, active: Tensor) -> Tensor:
    """Give numbers to the roots 1..N of each image in raster order."""
    batch = root.shape[0]
    flat_root, flat_active = root.view(batch, -1), active.view(batch, -1)
    own_index = torch.arange(root.numel(), device=root.device).view(batch, -1)
    count = ((flat_root == own_index) & flat_active).cumsum(dim=1)
    numbers = count.reshape(-1)[flat_root]
    return torch.where(flat_active, numbers, 0).view(root.shape).to(torch.int32)
