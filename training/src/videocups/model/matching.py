"""Which label each box is on, and which boxes are learned from."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from videocups.model.boxes import iou, share_inside
from videocups.model.labels import IGNORED, ImageLabels

NEITHER = -1  # a box that is neither object nor background
NO_OBJECT = -1  # index of the label of a box that is on none
IGNORED_SHARE = 0.5


@dataclass(frozen=True)
class Matched:
    """What some boxes of one image are: the class (``things`` = background, NEITHER) and the index of their label."""

    classes: Tensor
    labels: Tensor


def match_boxes(boxes: Tensor, labels: ImageLabels, threshold: float, things: int) -> Matched:
    """Give each box (M, 4) the label it overlaps most, if by ``threshold`` or more."""
    if len(labels.boxes) == 0:
        index = torch.full((len(boxes),), NO_OBJECT, device=boxes.device)
        classes = torch.full_like(index, things)
    else:
        best, index = iou(boxes, labels.boxes).max(dim=1)
        index = torch.where(best >= threshold, index, NO_OBJECT)
        classes = torch.where(index >= 0, labels.classes[index], things)
    ignored = (classes == things) & mostly_ignored(boxes, labels)
    return Matched(torch.where(ignored, NEITHER, classes), index)


def match_anchors(anchors: Tensor, labels: ImageLabels, low: float, high: float) -> Matched:
    """Say of each anchor whether it is on an object (class 0), background (1) or neither, and on which label.

    The anchors that overlap a label most are on an object however little that is. Ignored regions are not looked at.
    """
    index = torch.full((len(anchors),), NO_OBJECT, device=anchors.device)
    if len(labels.boxes) == 0:
        background, positive = torch.ones_like(index, dtype=torch.bool), torch.zeros_like(index, dtype=torch.bool)
    else:
        overlap = iou(anchors, labels.boxes)
        best, nearest = overlap.max(dim=1)
        top = overlap.amax(dim=0)
        positive = (best >= high) | ((overlap == top) & (top > 0)).any(dim=1)
        background = (best < low) & ~positive
        index = torch.where(positive, nearest, index)
    classes = torch.where(background, 1, NEITHER)
    return Matched(torch.where(positive, 0, classes), index)


def mostly_ignored(boxes: Tensor, labels: ImageLabels) -> Tensor:
    """Return which boxes (M, 4) lie mostly where labels say nothing."""
    return share_inside(labels.regions, boxes)[:, IGNORED] > IGNORED_SHARE


def sample(
    objects: Tensor, background: Tensor, count: int, share: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Draw up to ``count`` · ``share`` of ``objects`` (M,) bool and fill up with ``background``: two index lists."""
    first = draw(objects, int(count * share), generator)
    return first, draw(background, count - len(first), generator)


def draw(marked: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Return the indices of at most ``count`` of the ``marked`` (M,) bool, drawn at random, in random order."""
    candidates = torch.nonzero(marked).squeeze(1)
    chance = torch.rand(len(candidates), generator=generator, device=marked.device)
    return candidates[chance.topk(min(count, len(candidates))).indices]
