"""Settings of the network, its losses and its detections; without torch, so that help is quick.

The defaults are the published size (ResNet-50, 640×1280); configs of small networks override them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from videocups_core.config import setting


@dataclass(frozen=True)
class BackboneConfig:
    """What looks at the image first."""

    # torchvision's bodies; resnet50 takes DINO's weights
    kind: Literal["resnet18", "resnet50"] = setting("resnet50", "body: resnet18 or resnet50")
    # multiplies every channel of the body, for small bundles
    width: float = setting(1.0, "multiplies every channel of the body, for small bundles", minimum=0.125, maximum=2)
    # batch follows the data, frozen keeps what was loaded, group needs no batch at all
    norm: Literal["batch", "frozen", "group"] = setting("batch", "normalisation of the body: batch, frozen or group")
    # bottlenecks of Caffe's networks stride in their first 1×1 convolution, all others in the 3×3 one
    stride_first: bool = setting(False, "bottlenecks stride in their first convolution, as Caffe's networks do")


@dataclass(frozen=True)
class RpnConfig:
    """Where objects may be: anchors, their training, and the proposals made of them."""

    # one a level, in px, from stride 4 on
    anchor_sizes: tuple[int, ...] = setting(
        (32, 64, 128, 256, 512), "size of the anchors of each level in px", minimum=4
    )
    # height over width
    ratios: tuple[float, ...] = setting((0.5, 1.0, 2.0), "height over width of the anchors", minimum=0.05)
    # proposals that overlap a better one more than this are dropped
    nms_iou: float = setting(0.65, "proposals overlapping a better one more are dropped", minimum=0, maximum=1)
    # best anchors of each level that go into it
    pre_nms: int = setting(2000, "best anchors of each level before the suppression", minimum=1)
    # proposals of an image, training and inference
    post_nms_train: int = setting(4000, "proposals of an image in training", minimum=1)
    post_nms_test: int = setting(1000, "proposals of an image at inference", minimum=1)
    # anchors of an image that are learned from, and how many of them on objects at most
    batch: int = setting(256, "anchors of an image in the loss", minimum=1)
    positive_share: float = setting(0.5, "share of them on objects at most", minimum=0, maximum=1)
    # an anchor below is background, above an object; between them it is neither
    low_iou: float = setting(0.3, "anchors overlapping labels less are background", minimum=0, maximum=1)
    high_iou: float = setting(0.7, "anchors overlapping a label more are objects", minimum=0, maximum=1)
    # what an untrained network takes every anchor's chance for
    prior: float = setting(0.05, "objectness of every anchor before training", minimum=1e-4, maximum=0.9999)


@dataclass(frozen=True)
class RoiConfig:
    """The cascade: three stages that classify boxes and make them better."""

    # proposals of an image that are learned from, and how many of them on objects at most
    batch: int = setting(512, "proposals of an image in the loss", minimum=1)
    positive_share: float = setting(0.25, "share of them on objects at most", minimum=0, maximum=1)
    # what counts as an object, stage by stage
    ious: tuple[float, float, float] = setting(
        (0.5, 0.6, 0.7), "overlap that makes an object, by stage", minimum=0, maximum=1
    )
    # units of the regression, stage by stage ten to thirty times finer than the box
    delta_weights: tuple[float, float, float, float] = setting(
        (10.0, 10.0, 5.0, 5.0), "units of the first stage's regression; stage s uses s times as much", minimum=0.01
    )
    # RoIAlign of the boxes: cells a side, and samples a side in each
    pool: int = setting(7, "cells a side of a pooled box", minimum=1)
    samples: int = setting(2, "samples a side in each cell, for every RoIAlign", minimum=1)
    # hidden units of both layers
    width: int = setting(1024, "hidden units of a stage", minimum=1)
    # what an untrained network takes every box's chance of being an object for
    prior: float = setting(0.05, "chance of every box to be an object before training", minimum=1e-4, maximum=0.9999)


@dataclass(frozen=True)
class MaskConfig:
    """The mask of a box, whatever its class."""

    pool: int = setting(14, "cells a side of a pooled box; the mask has twice as many", minimum=1)
    convs: int = setting(4, "convolutions before the mask is enlarged", minimum=0)
    channels: int = setting(256, "their channels", minimum=1)


@dataclass(frozen=True)
class SemanticConfig:
    """The class of every pixel."""

    channels: int = setting(128, "channels at stride 4", minimum=1)
    groups: int = setting(32, "groups of its normalisation at most", minimum=1)


@dataclass(frozen=True)
class TrackConfig:
    """The embedding that tells an object from the others, frame after frame."""

    pool: int = setting(7, "cells a side of a pooled box", minimum=1)
    width: int = setting(1024, "hidden units", minimum=1)
    dim: int = setting(128, "numbers of an embedding", minimum=1)
    scale: float = setting(16.0, "logit that two equal embeddings are the same object", minimum=0.1)


@dataclass(frozen=True)
class InferenceConfig:
    """From boxes to detections. Scores are judged by whoever merges them."""

    nms_iou: float = setting(0.5, "detections overlapping a better one more are dropped", minimum=0, maximum=1)
    max_detections: int = setting(100, "detections of an image at most", minimum=1)


@dataclass(frozen=True)
class LossWeights:
    """What each part counts in the sum."""

    rpn_objectness: float = setting(1.0, "is an anchor on an object", minimum=0)
    rpn_box: float = setting(1.0, "anchors to boxes", minimum=0)
    cascade_class: float = setting(1.0, "class, each stage", minimum=0)
    cascade_box: float = setting(1.0, "box, each stage", minimum=0)
    mask: float = setting(1.0, "mask", minimum=0)
    semantic: float = setting(0.5, "class of every pixel", minimum=0)
    # its gradient on the shared layers is ten times the others'; at 1 it starves detection
    track: float = setting(0.1, "association over the pair", minimum=0)


@dataclass(frozen=True)
class DropLossConfig:
    """Video DropLoss: which detections that no label explains are left alone (VideoCUPS Eq. 3)."""

    # without it, whatever is not labelled is background
    enabled: bool = setting(True, "leave objects alone that no label explains")
    # a detection is labelled if it overlaps a label of its image more than this
    iou: float = setting(0.5, "a detection overlapping a label more is a labelled one", minimum=0, maximum=1)
    # of the others, those at least this sure to be objects are left alone
    confident: float = setting(0.5, "unlabelled detections at least this sure are left alone", minimum=0, maximum=1)
    # but only so many of an image's, the surest, so that a network that sees objects everywhere still learns
    max_confident: float = setting(
        0.75, "share of an image's background left alone for being sure", minimum=0, maximum=1
    )
    # 0: being sure is enough; else the semantic head must see a thing on this share of the box as well
    seen: float = setting(
        0.0, "sure detections are left alone where the semantic head sees things on this share", minimum=0, maximum=1
    )
    # and background is learned only where labels explain this much of the box: stuff, or a labelled object
    explained: float = setting(0.8, "background must be explained by labels to this share", minimum=0, maximum=1)


@dataclass(frozen=True)
class ModelConfig:
    """The whole network."""

    backbone: BackboneConfig = BackboneConfig()
    fpn_channels: int = setting(256, "channels of the feature pyramid", minimum=1)
    # a box of this side is pooled from stride 16; half of it from stride 8
    canonical_px: int = setting(224, "side in px of a box that is pooled from stride 16", minimum=8)
    rpn: RpnConfig = RpnConfig()
    roi: RoiConfig = RoiConfig()
    mask: MaskConfig = MaskConfig()
    semantic: SemanticConfig = SemanticConfig()
    track: TrackConfig = TrackConfig()
    inference: InferenceConfig = InferenceConfig()
    loss: LossWeights = LossWeights()

    def __post_init__(self) -> None:
        if len(self.rpn.anchor_sizes) != 5:
            raise ValueError(f"rpn.anchor_sizes must name five levels, P2 to P6, got {len(self.rpn.anchor_sizes)}")
        if self.rpn.low_iou > self.rpn.high_iou:
            raise ValueError(f"rpn.low_iou must be <= rpn.high_iou, got {self.rpn.low_iou} and {self.rpn.high_iou}")


STRIDES = {"p2": 4, "p3": 8, "p4": 16, "p5": 32, "p6": 64}
