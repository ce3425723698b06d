"""Settings of the instance labels."""

from __future__ import annotations

from dataclasses import dataclass, field

from videocups.cues.classical_config import FAST, QUALITY, THOROUGH, ClassicalConfig
from videocups.fusion.tracking import TrackingConfig
from videocups.instances.frame_instances import InstancesConfig


@dataclass(frozen=True)
class InstanceLabelsConfig:
    """Cues, instances and tracks of a clip. The defaults prefer few, right objects: training sees no other teacher."""

    cues: ClassicalConfig = field(default_factory=ClassicalConfig)
    instances: InstancesConfig = field(default_factory=InstancesConfig)
    # objects seen in two frames only are wrong too often
    tracking: TrackingConfig = field(default_factory=lambda: TrackingConfig(min_frames=3))


PRESETS = {
    "quality": InstanceLabelsConfig(cues=QUALITY),
    "fast": InstanceLabelsConfig(cues=FAST),
    "thorough": InstanceLabelsConfig(cues=THOROUGH),
}
