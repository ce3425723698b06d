"""Settings of the network that refines flow."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from videocups.cues.flow import DisFlowConfig
from videocups.cues.learned.crop import check_crop
from videocups.train.settings import LoopConfig, WindowConfig
from videocups_core.config import setting


@dataclass(frozen=True)
class RefinementConfig:
    """The network: how far it looks for better flow, and its size."""

    # px from a pixel to the eight neighbours around it, in rings, whose flow it may take over
    rings_px: tuple[int, ...] = setting((3, 9, 27), "px to the rings of neighbours whose flow may be taken", minimum=1)
    # channels at half of the resolution; twice as many below
    channels: int = setting(24, "channels at half of the resolution; twice as many below", minimum=4)


@dataclass(frozen=True)
class ScenesConfig:
    """Scenes that are made of frames, whose flow is therefore known, hidden pixels included."""

    # things pasted into a scene: between
    fewest_things: int = setting(2, "things pasted into a scene, at least", minimum=0)
    # and
    most_things: int = setting(8, "things pasted into a scene, at most", minimum=0)
    # their half size lies between these, most are small
    thing_px: tuple[float, float] = setting((4.0, 48.0), "half size of a pasted thing, from and to", minimum=1)
    # what a thing moves against the background, most move little
    motion_px: tuple[float, float] = setting((0.4, 16.0), "motion of a thing against the background", minimum=0.01)
    # share of things that are painted nearly evenly, like cars: their inside fits anywhere on them
    even_share: float = setting(0.0, "share of things that are painted nearly evenly", minimum=0, maximum=1)
    # pixels of small things, and of as much around them, count up to this many times as much as others
    small_weight: float = setting(1.0, "how much pixels of and around small things count, at most", minimum=1)
    # the background moves up to this
    background_px: float = setting(20.0, "largest motion of the background", minimum=0)
    # but in this share of the scenes it is almost still, as where a static world has been taken out before
    still_share: float = setting(0.5, "share of scenes whose background is almost still", minimum=0, maximum=1)
    # in which it moves up to this
    still_px: float = setting(1.5, "largest motion of a background that is almost still", minimum=0)


@dataclass(frozen=True)
class RefinedConfig:
    """Everything that decides the training of a network that refines flow."""

    kind: Literal["refined"] = setting("refined", "which learned flow this is")
    # frames are resized to this size before scenes are made of them
    data: WindowConfig = field(default_factory=lambda: WindowConfig(height=256, width=512))
    # size of a scene
    crop_height: int = setting(192, "height of a scene", minimum=64)
    crop_width: int = setting(256, "width of a scene", minimum=64)
    # the flow to begin with
    start: DisFlowConfig = field(default_factory=lambda: DisFlowConfig(upscale=2.0))
    network: RefinementConfig = field(default_factory=RefinementConfig)
    scenes: ScenesConfig = field(default_factory=ScenesConfig)
    loop: LoopConfig = field(default_factory=lambda: LoopConfig(steps=2000, learning_rate=2e-3))

    def __post_init__(self) -> None:
        check_crop(self.crop_height, self.crop_width, self.data)
        if self.scenes.fewest_things > self.scenes.most_things:
            raise ValueError(
                f"scenes.fewest_things must be <= most_things {self.scenes.most_things}, "
                f"got {self.scenes.fewest_things}"
            )
        if not self.loop.steps:
            raise ValueError("loop.steps must be >= 1, got 0: scenes never end, so the data says no number of steps")
