"""What the neighbours should look like from the middle frame, if depth, motion and mask are right."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from videocups.cues.dynamo.geometry import back_project, moved, project
from videocups.cues.learned.sampling import sample


@dataclass(frozen=True)
class NeighbourView:
    """One neighbour seen from the middle frame at one resolution of the predictions.

    ``warped`` (B, 3, H, W): the neighbour's image, fetched. ``residual`` (B, 3, H, W): complete flow without
    ego-motion, None where there is no complete flow. ``ego_px``, ``complete_px`` (B, 2, H, W): where the pixel would
    be seen by ego-motion alone and by complete flow; no gradient goes through them.
    """

    warped: Tensor
    residual: Tensor | None
    ego_px: Tensor
    complete_px: Tensor | None


def view_neighbour(
    image: Tensor, points: Tensor, k: Tensor, motion: Tensor, complete: Tensor | None, mask: Tensor | None
) -> NeighbourView:
    """Fetch a neighbour's ``image`` (B, 3, H, W) for the ``points`` (B, 3, H, W) of the middle frame.

    Without complete flow the world stands still; without mask complete flow alone moves it; with both, points move by
    ego-motion and, as far as the mask says so, by the rest of the complete flow.
    """
    ego_points = moved(points, motion)
    ego_px = project(ego_points, k)
    if complete is None:
        return NeighbourView(sample(image, ego_px), None, ego_px.detach(), None)
    residual = complete - (ego_points - points)
    target = points + complete if mask is None else ego_points + mask * residual
    with torch.no_grad():
        complete_px = project(points + complete, k)
    return NeighbourView(sample(image, project(target, k)), residual, ego_px.detach(), complete_px)


def enlarge(field: Tensor, height: int, width: int) -> Tensor:
    """Resize a field (B, C, h, w) to the size of the image."""
    if field.shape[-2:] == (height, width):
        return field
    return functional.interpolate(field, size=(height, width), mode="bilinear", align_corners=False)


def points_of(depth: Tensor, rays: Tensor) -> Tensor:
    """Return the points (B, 3, H, W) of depth (B, 1, h, w), enlarged."""
    return back_project(enlarge(depth, rays.shape[-2], rays.shape[-1]), rays)
