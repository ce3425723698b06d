"""Fields are smooth, except across edges of the image."""

from __future__ import annotations

import torch
from torch import Tensor


def edge_aware_smoothness(
    field: Tensor, image: Tensor, *, order: int, edge_weight: float, epsilon: float = 0.0
) -> Tensor:
    """Return the mean size of the first or second derivative of ``field`` (B, C, H, W), small weight on edges.

    The weight is exp(−mean|edge_weight · ∇image|) with ``image`` (B, 3, H, W) in [0, 1]; the image's difference spans
    the same pixels as the derivative. ``epsilon`` rounds the tip of |·|. SMURF: orders 1 and 2, edge weight 150,
    epsilon .001. Monodepth2 and Dynamo-Depth: order 1, edge weight 1, no epsilon.
    """
    if order not in (1, 2):
        raise ValueError(f"the order of smoothness must be 1 or 2, got {order}")
    terms = []
    for axis in (-1, -2):
        derivative = torch.diff(field, n=order, dim=axis)
        length = image.shape[axis]
        step = image.narrow(axis, order, length - order) - image.narrow(axis, 0, length - order)
        weight = torch.exp(-(edge_weight * step).abs().mean(1, keepdim=True))
        size = derivative.abs() if epsilon == 0 else (derivative.square() + epsilon**2).sqrt()
        terms.append((weight * size).mean())
    return terms[0] + terms[1] if epsilon == 0 else (terms[0] + terms[1]) / 2
