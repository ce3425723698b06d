"""Which settings of the cues each stage depends on: a change of one redoes only what it decides."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from videocups.cues.classical_config import QUALITY, ClassicalConfig
from videocups.cues.continuity import ContinuityConfig
from videocups.cues.depth import DepthConfig
from videocups.cues.ego_motion import EgoMotionConfig
from videocups.cues.floating import FloatingConfig
from videocups.cues.flow import DisFlowConfig
from videocups.cues.ground_plane import GroundConfig
from videocups.cues.hood import HoodConfig
from videocups.cues.known_depth import KnownDepthConfig
from videocups.cues.motion import MotionConfig
from videocups.cues.static_world import StaticTestConfig
from videocups.pipeline.learned_cues import Network


@dataclass(frozen=True)
class SurveySettings:
    """What the first look at a pair depends on."""

    survey_flow: DisFlowConfig
    continuity: ContinuityConfig
    ego: EgoMotionConfig
    ground: GroundConfig
    hood: HoodConfig


@dataclass(frozen=True)
class GeometrySettings:
    """What a clip's geometry depends on."""

    ground: GroundConfig
    hood: HoodConfig


@dataclass(frozen=True)
class FlowSettings:
    """What flow and ego-motion of a pair depend on."""

    flow: DisFlowConfig
    compensate: bool
    continuity: ContinuityConfig
    ego: EgoMotionConfig
    ground: GroundConfig


@dataclass(frozen=True)
class LearnedFlowSettings(FlowSettings):
    """The same with a network."""

    network: Network


@dataclass(frozen=True)
class CueSettings:
    """What motion and parallax of a frame depend on."""

    floating_test: bool
    far_frames: int
    caution: float
    continuity: ContinuityConfig
    static: StaticTestConfig
    floating: FloatingConfig
    motion: MotionConfig
    depth: DepthConfig


@dataclass(frozen=True)
class KnownDepthSettings(CueSettings):
    """The same with a depth that a network knows."""

    known: KnownDepthConfig
    network: Network


@dataclass(frozen=True)
class MemorySettings:
    """What depth depends on, once parallax is known."""

    depth: DepthConfig


def part_of(cls: type[Any], config: ClassicalConfig) -> Any:
    """Return those of the settings that ``cls`` names."""
    return cls(**{name: getattr(config, name) for name in cls.__dataclass_fields__})


def whole(part: Any) -> ClassicalConfig:
    """Return a full config; what is not in the part keeps its default, so that nothing unseen decides a result."""
    names = [name for name in part.__dataclass_fields__ if hasattr(QUALITY, name)]
    return replace(QUALITY, **{name: getattr(part, name) for name in names})
