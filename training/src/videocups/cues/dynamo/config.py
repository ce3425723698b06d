"""Settings of depth and motion training; the defaults are Dynamo-Depth's."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from videocups.train.settings import LoopConfig, WindowConfig
from videocups_core.config import setting


@dataclass(frozen=True)
class DepthNetworkConfig:
    """The networks."""

    # a ResNet-18 for each of depth, pose and motion, or small nets for a CPU
    encoder: Literal["resnet18", "tiny"] = setting("resnet18", "encoder of depth, pose and motion")
    # safetensors of a torchvision ResNet-18 that all three begin with; none = random weights
    initial_encoder: Path | None = setting(
        None, "safetensors of a ResNet-18 that all encoders begin with; null = random"
    )
    # resolutions at which depth, flow and masks are predicted and compared: 1, 1/2, 1/4, 1/8
    scales: int = setting(4, "resolutions at which depth, flow and masks are predicted", minimum=1, maximum=4)
    # nearest depth, in the arbitrary unit that training settles on
    min_depth: float = setting(0.1, "nearest depth, in the unit that training settles on", minimum=0.0001)
    # farthest
    max_depth: float = setting(100.0, "farthest depth", minimum=0.001)

    # whether the depth network is told where in the image a pixel lies; small nets need it
    position: bool = setting(False, "tell the depth network where in the image a pixel lies")
    # depth everywhere before training; the default is disparity 1/2. Small nets drift to min_depth from there
    initial_depth: float = setting(0.2, "depth everywhere before training", minimum=0.0001)

    def __post_init__(self) -> None:
        if not self.min_depth < self.initial_depth < self.max_depth:
            raise ValueError(
                "min_depth < initial_depth < max_depth must hold, "
                f"got {self.min_depth}, {self.initial_depth} and {self.max_depth}"
            )
        if self.initial_encoder is not None and self.encoder != "resnet18":
            raise ValueError(f"initial_encoder needs encoder: resnet18, got {self.encoder!r}")


@dataclass(frozen=True)
class HintConfig:
    """What classical geometry teaches beside the images; not part of Dynamo-Depth. It makes camera heights the unit."""

    # weight of the relative difference to classical depth wherever depth is trained; 0 = no hints, as published
    depth: float = setting(0.0, "weight of the difference to classical depth; 0 = no hints, as published", minimum=0)
    # weight of the expected error of depth, which hints teach beside it
    error: float = setting(0.05, "weight of the likelihood of the expected error of depth", minimum=0)
    # weight of the difference to classical ego-motion wherever pose is trained; 0 where only depth is wanted
    pose: float = setting(1.0, "weight of the difference to classical ego-motion; 0 = pose is not wanted", minimum=0)
    # weight of the mask being what classical geometry saw moving: few movers alone leave masks dark
    mask: float = setting(0.1, "weight of the mask being what classical geometry saw moving", minimum=0)
    # a hint counts up to this relative difference: farther off it is wrong, not the network
    largest: float = setting(1.0, "relative difference up to which a hint counts", minimum=0.01)
    # share of the first phase that begins with hints alone: images teach little before depth is nearly right
    alone: float = setting(0.5, "share of the first phase that begins with hints alone", minimum=0, maximum=1)
    # how much depth counts that is filled in where nothing was measured: sky and smooth walls lie far as a rule, but
    # a vehicle that crawls or stands measures little, and then things as high as the horizon would be taught to be far
    filled: float = setting(1.0, "how much filled in depth counts; 0 where vehicles crawl", minimum=0, maximum=1)
    # preset of the classical cues
    preset: Literal["quality", "fast"] = setting("quality", "preset of the classical cues that hints are made with")


@dataclass(frozen=True)
class DepthLossConfig:
    """Weights and constants of the losses: d_* shape depth, c_* the complete flow, m_* the motion mask."""

    # share of SSIM in the photometric loss, the rest is the absolute difference
    ssim: float = setting(0.85, "share of SSIM in the photometric loss", minimum=0, maximum=1)
    d_smooth: float = setting(1e-3, "weight of smooth disparity", minimum=0)
    d_ground: float = setting(0.1, "weight of nothing lying below the ground", minimum=0)
    c_smooth: float = setting(1e-3, "weight of smooth complete flow", minimum=0)
    c_consistency: float = setting(5.0, "weight of complete flow being the ego-motion's where nothing moves", minimum=0)
    m_sparsity: float = setting(0.04, "weight of few pixels moving", minimum=0)
    m_smooth: float = setting(0.1, "weight of smooth motion masks", minimum=0)
    # consistency only counts where the disparity, in [0, 1], is larger: far away rotation is all there is
    consistency_disparity: float = setting(0.03, "disparity, in [0, 1], above which consistency counts", minimum=0)
    # the ground is looked for in this lower share of the image
    ground_share: float = setting(0.4, "lower share of the image in which the ground is looked for", minimum=0.05)
    # a point whose inverse depth is this near the ground's lies on it: a share, for the unit of depth is arbitrary
    ground_tolerance: float = setting(0.02, "share of inverse depth within which a point lies on it", minimum=0)
    # planes tried
    ground_tries: int = setting(100, "planes tried", minimum=1)
    # points each is fitted to
    ground_points: int = setting(5, "points each is fitted to", minimum=3)


@dataclass(frozen=True)
class DepthScheduleConfig:
    """The four phases."""

    # epochs of: depth and pose; complete flow; pose, flow and mask; everything
    epochs: tuple[float, float, float, float] = setting(
        (1, 1, 5, 20), "epochs of: depth and pose; complete flow; pose, flow and mask; everything", minimum=0
    )
    # steps of an epoch; 0 derives them from the data
    epoch_steps: int = setting(0, "steps of an epoch; 0 = one pass over the data, within the two limits", minimum=0)
    # but at least this many
    fewest_epoch_steps: int = setting(1000, "fewest steps of an epoch when derived", minimum=1)
    # and at most
    most_epoch_steps: int = setting(8000, "most steps of an epoch when derived", minimum=1)
    # factor on the learning rate in the last phase
    last_phase_rate: float = setting(0.5, "factor on the learning rate in the last phase", minimum=0)
    # the learning rate halves after so many epochs of a phase
    halve_every: float = setting(10.0, "epochs of a phase after which the learning rate halves", minimum=0.01)
    # share of an epoch over which c_* and m_* grow, anew in each phase
    ramp: float = setting(1 / 3, "share of an epoch over which c_* and m_* grow, anew in each phase", minimum=0)


@dataclass(frozen=True)
class DynamoConfig:
    """Everything that decides a depth and motion training."""

    data: WindowConfig = field(default_factory=lambda: WindowConfig(height=320, width=640))
    network: DepthNetworkConfig = field(default_factory=DepthNetworkConfig)
    loss: DepthLossConfig = field(default_factory=DepthLossConfig)
    hints: HintConfig = field(default_factory=HintConfig)
    schedule: DepthScheduleConfig = field(default_factory=DepthScheduleConfig)
    loop: LoopConfig = field(default_factory=lambda: LoopConfig(batch_size=12, learning_rate=1e-4, clip_norm=0))

    def __post_init__(self) -> None:
        if self.data.height % 32 or self.data.width % 32:
            raise ValueError(
                f"data.height and data.width must be multiples of 32, got {self.data.height} and {self.data.width}"
            )
        if self.loop.steps:
            raise ValueError(
                "set schedule.epoch_steps and schedule.epochs, not loop.steps: the phases decide the length"
            )
