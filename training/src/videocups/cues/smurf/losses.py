"""SMURF's losses on the sequence of flows that RAFT's updates give."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from videocups.cues.learned.sampling import inside, pixel_grid, resize_flow, sample
from videocups.cues.learned.smoothness import edge_aware_smoothness
from videocups.cues.smurf.census import census_loss, census_transform
from videocups.cues.smurf.config import FlowLossConfig
from videocups.cues.smurf.occlusion import confidence, visible_by_range, visible_by_return


def sequence_weights(count: int, decay: float) -> list[float]:
    """Return the weight of each update, decay^(N−i) with 1 for the last."""
    return [decay ** (count - 1 - index) for index in range(count)]


def visibility(flow_px: Tensor, return_flow_px: Tensor, *, by_return: bool) -> Tensor:
    """Return (B, 1, H, W): what the other frame shows; no gradient goes through it."""
    with torch.no_grad():
        check = visible_by_return if by_return else visible_by_range
        return check(flow_px, return_flow_px)


def image_loss(
    first: Tensor,
    whole_second: Tensor,
    origin_px: Tensor,
    flows: Sequence[Tensor],
    visible: Tensor,
    config: FlowLossConfig,
) -> dict[str, Tensor]:
    """Return census and smoothness of a sequence of flows (B, 2, h, w) of the crop ``first`` (B, 3, h, w).

    ``whole_second`` (B, 3, H, W): the whole other image, so that pixels whose flow leaves the crop are compared too;
    ``origin_px`` (B, 2): column and row of the crop in it.
    """
    height, width = first.shape[-2:]
    corner = pixel_grid(height, width, first) + origin_px[:, :, None, None]
    looks = census_transform(first)
    census, smooth = first.new_zeros(()), first.new_zeros(())
    for weight, flow in zip(sequence_weights(len(flows), config.update_decay), flows, strict=True):
        places = corner + flow
        mask = visible * inside(places.detach(), whole_second.shape[-2], whole_second.shape[-1])
        census = census + weight * census_loss(looks, census_transform(sample(whole_second, places)), mask)
        smooth = smooth + weight * edge_aware_smoothness(
            flow, first, order=config.smoothness_order, edge_weight=config.edge_weight, epsilon=0.001
        )
    return {"census": census, "smoothness": smooth}


def student_view(images: Tensor, crop: int) -> Tensor:
    """Return the images (B, 3, H, W) without ``crop`` px on each side, enlarged to the same size."""
    height, width = images.shape[-2:]
    inner = images[..., crop : height - crop, crop : width - crop]
    return torch.nn.functional.interpolate(inner, size=(height, width), mode="bilinear", align_corners=False)


def teaching_loss(
    student: Sequence[Tensor], student_back: Tensor, teacher: Tensor, teacher_back: Tensor, config: FlowLossConfig
) -> Tensor:
    """Teach the student, who saw less of the images, where the teacher is sure and the student is not.

    ``student``: its sequence of flows, ``student_back`` its last flow back; ``teacher`` and ``teacher_back``: the last
    flows of the uncropped images (B, 2, H, W).
    """
    height, width = teacher.shape[-2:]
    crop = config.student_crop
    with torch.no_grad():
        inner = (..., slice(crop, height - crop), slice(crop, width - crop))
        target = resize_flow(teacher[inner], height, width)
        sure = confidence(teacher, teacher_back, config.teacher_tolerance)[inner]
        sure = torch.nn.functional.interpolate(sure, size=(height, width), mode="bilinear", align_corners=False)
        mask = sure * (1 - confidence(student[-1], student_back, config.student_tolerance))
    loss = teacher.new_zeros(())
    for weight, flow in zip(sequence_weights(len(student), config.update_decay), student, strict=True):
        loss = loss + weight * (mask * ((flow - target).square() + 0.001**2).sqrt()).mean()
    return loss
