"""All settings of the classical cues, and presets from fast to thorough."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

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
from videocups_core.config import setting


@dataclass(frozen=True)
class ClassicalConfig:
    """Settings of the classical cues; the defaults are the quality preset."""

    # flow of the first, quick look at the clip
    survey_flow: DisFlowConfig = field(default_factory=lambda: DisFlowConfig(preset="fast", min_width_px=1024))
    # flow of the cues
    flow: DisFlowConfig = field(default_factory=lambda: DisFlowConfig(upscale=2.0))
    # estimate flow beyond what ground and ego-motion predict
    compensate: bool = setting(True, "estimate flow beyond what ground and ego-motion predict")
    # look for traffic along the camera's own way
    floating_test: bool = setting(True, "look for oncoming traffic and traffic ahead")
    # what moves slowly shows over a longer time: also look at the frames this many before and after; 0 does not
    far_frames: int = setting(0, "look at the frames this many before and after as well; 0 does not", minimum=0)
    # all cues are expected to err this many times as much as usual; less finds more motion, and more that is none
    caution: float = setting(1.0, "errors are expected to be this many times the usual; less finds more", minimum=0.05)
    continuity: ContinuityConfig = field(default_factory=ContinuityConfig)
    ego: EgoMotionConfig = field(default_factory=EgoMotionConfig)
    ground: GroundConfig = field(default_factory=GroundConfig)
    static: StaticTestConfig = field(default_factory=StaticTestConfig)
    floating: FloatingConfig = field(default_factory=FloatingConfig)
    known: KnownDepthConfig = field(default_factory=KnownDepthConfig)
    motion: MotionConfig = field(default_factory=MotionConfig)
    depth: DepthConfig = field(default_factory=DepthConfig)
    hood: HoodConfig = field(default_factory=HoodConfig)

    def expecting(self) -> ClassicalConfig:
        """Return these settings with the errors that ``caution`` makes of the usual ones."""
        if self.caution == 1:
            return self
        static, known, share = self.static, self.known, self.caution
        static = replace(
            static,
            noise_px=share * static.noise_px,
            noise_share=share * static.noise_share,
            standing_noise_px=share * static.standing_noise_px,
            doubt_from=1 + share * (static.doubt_from - 1),
            doubt_width=share * static.doubt_width,
        )
        known = replace(
            known,
            errors=share * known.errors,
            least_error=share * known.least_error,
            flow_noise_px=share * known.flow_noise_px,
        )
        return replace(self, static=static, known=known, caution=1.0)


QUALITY = ClassicalConfig()
FAST = ClassicalConfig(
    # its few iterations need the gradients: with 5, as in the other preset, fewer large movers were found
    flow=DisFlowConfig(preset="fast", min_width_px=1024, gradient_weight=10.0),
    ego=EgoMotionConfig(samples=2500),
    static=StaticTestConfig(scale=0.5),
)
THOROUGH = ClassicalConfig(far_frames=5, caution=0.75)
PRESETS = {"quality": QUALITY, "fast": FAST, "thorough": THOROUGH}
