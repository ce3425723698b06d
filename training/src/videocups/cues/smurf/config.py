"""Settings of unsupervised flow training; the defaults are SMURF's on KITTI, with its schedule as shares."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from videocups.cues.learned.crop import check_crop
from videocups.train.settings import LoopConfig, WindowConfig
from videocups_core.config import setting


@dataclass(frozen=True)
class FlowNetworkConfig:
    """Which RAFT."""

    # torchvision's RAFT; never with its supervised weights
    size: Literal["small", "large"] = setting("small", "torchvision's RAFT, always with weights of our own")
    # updates in training
    train_updates: int = setting(12, "updates in training", minimum=1, maximum=32)
    # updates when flow is estimated
    updates: int = setting(16, "updates when flow is estimated", minimum=1, maximum=64)


@dataclass(frozen=True)
class FlowLossConfig:
    """Weights and constants of the losses."""

    # weight of the census loss
    census: float = setting(1.0, "weight of the census loss", minimum=0)
    # weight of the smoothness: 2 on KITTI with order 2, 2.5 on Sintel and 2 on Chairs with order 1
    smoothness: float = setting(2.0, "weight of the smoothness", minimum=0)
    # derivative of the flow that should be small
    smoothness_order: int = setting(2, "derivative of the flow that should be small", minimum=1, maximum=2)
    # how much an edge of the image allows an edge of the flow
    edge_weight: float = setting(150.0, "how much an edge of the image allows an edge of the flow", minimum=0)
    # weight of the teaching by the uncropped image
    self_teaching: float = setting(0.3, "weight of the teaching by the uncropped image", minimum=0)
    # px the student's image loses on each side, of 296 × 696
    student_crop: int = setting(64, "px the student's image loses on each side", minimum=1)
    # tolerance of the check that the teacher's flow comes back, relative to the image's diagonal
    teacher_tolerance: float = setting(0.003, "tolerance of the teacher's way back, in image diagonals", minimum=0)
    # same of the student, which need not be taught where it is sure
    student_tolerance: float = setting(0.03, "tolerance of the student's way back, in image diagonals", minimum=0)
    # weight of an update relative to the next one
    update_decay: float = setting(0.8, "weight of an update relative to the next one", minimum=0, maximum=1)


@dataclass(frozen=True)
class FlowScheduleConfig:
    """When what begins, as shares of all steps."""

    # passes over the data that a run has when loop.steps is 0
    passes: float = setting(30.0, "passes over the data that a run has when loop.steps is 0", minimum=0)
    # but at least this many steps
    fewest_steps: int = setting(20_000, "but at least this many steps", minimum=1)
    # and at most
    most_steps: int = setting(75_000, "and at most", minimum=1)
    # not SMURF: up to here features alone are taught to find each other, on pairs made of single frames
    match_until: float = setting(0.04, "share of the steps on which features learn to match", minimum=0, maximum=1)
    # not SMURF: from there up to here known flow of such pairs teaches how correlations are read
    made_until: float = setting(0.12, "share of the steps on pairs made of single frames", minimum=0, maximum=1)
    # their largest motion
    made_px: float = setting(24.0, "largest motion of made pairs in px", minimum=0.1)
    # occlusion is found by what lands on a pixel ("wang") before, and by the way back ("brox") from here on; 1 = never
    brox_from: float = setting(1 / 3, "share of the steps after which flow must come back; 1 = never", minimum=0)
    # the student is taught from here on
    teach_from: float = setting(5 / 12, "share of the steps after which the student is taught", minimum=0)
    # its weight grows over this share
    teach_ramp: float = setting(1 / 12, "share of the steps over which the teaching grows", minimum=0)
    # the learning rate falls from here on
    decay_from: float = setting(5 / 6, "share of the steps after which the learning rate falls", minimum=0)
    # and halves within this share
    half_life: float = setting(1 / 30, "share of the steps in which it halves", minimum=0.0001)


@dataclass(frozen=True)
class SmurfConfig:
    """Everything that decides a flow training."""

    kind: Literal["smurf"] = setting("smurf", "which learned flow this is")
    # the whole images, from which pixels are fetched
    data: WindowConfig = field(default_factory=lambda: WindowConfig(height=360, width=768))
    # what the network sees of them, in px
    crop_height: int = setting(296, "height of what the network sees of the image", minimum=128)
    crop_width: int = setting(696, "width of what the network sees of the image", minimum=128)
    network: FlowNetworkConfig = field(default_factory=FlowNetworkConfig)
    loss: FlowLossConfig = field(default_factory=FlowLossConfig)
    schedule: FlowScheduleConfig = field(default_factory=FlowScheduleConfig)
    loop: LoopConfig = field(default_factory=LoopConfig)

    def __post_init__(self) -> None:
        check_crop(self.crop_height, self.crop_width, self.data)
        if self.loss.student_crop * 4 > min(self.crop_height, self.crop_width):
            raise ValueError(
                f"loss.student_crop must leave half of the crop {self.crop_height}×{self.crop_width}, "
                f"got {self.loss.student_crop}"
            )
