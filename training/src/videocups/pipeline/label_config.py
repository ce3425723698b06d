"""All settings of ``videocups label``, and the stages they make."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from videocups.cues.classical_config import ClassicalConfig
from videocups.fusion.panoptic_clip import PanopticConfig
from videocups.fusion.split import SplitConfig
from videocups.fusion.things import ThingsConfig
from videocups.fusion.tracking import TrackingConfig
from videocups.instances.frame_instances import InstancesConfig
from videocups.label.config import PRESETS
from videocups.pipeline.cue_stages import cue_stages
from videocups.pipeline.instance_stages import instance_stages
from videocups.pipeline.learned_cues import LearnedConfig
from videocups.pipeline.panoptic_stage import panoptic_stage
from videocups.pipeline.run import RunConfig
from videocups.pipeline.semantic_stages import SemanticsConfig, semantic_stages
from videocups.pipeline.stage import Stages
from videocups.pipeline.thing_stages import thing_stages
from videocups.train.config_file import merged, read_yaml
from videocups_core.config import from_mapping, setting, to_mapping


@dataclass(frozen=True)
class LabelConfig:
    """What ``label.yaml`` may override."""

    # settings of the cues to start from; what the file names overrides them
    preset: Literal["fast", "quality", "thorough"] = setting("quality", "settings of the cues to start from")
    run: RunConfig = field(default_factory=RunConfig)
    cues: ClassicalConfig = field(default_factory=ClassicalConfig)
    learned: LearnedConfig = field(default_factory=LearnedConfig)
    instances: InstancesConfig = field(default_factory=InstancesConfig)
    tracking: TrackingConfig = field(default_factory=lambda: PRESETS["quality"].tracking)
    semantics: SemanticsConfig = field(default_factory=SemanticsConfig)
    split: SplitConfig = field(default_factory=SplitConfig)
    things: ThingsConfig = field(default_factory=ThingsConfig)
    panoptic: PanopticConfig = field(default_factory=PanopticConfig)

    def stages(self) -> Stages:
        """Return all stages with these settings."""
        instances = instance_stages(self.instances, self.tracking)
        things = thing_stages(self.semantics, self.split, self.things)
        panoptic = panoptic_stage(self.panoptic, self.things)
        every = (*cue_stages(self.cues, self.learned), *instances, *semantic_stages(self.semantics), *things, panoptic)
        networks = self.stages_of_networks()
        return Stages(
            replace(stage, gpus=self.run.gpu_share, batch=self.run.batch) if stage.name in networks else stage
            for stage in every
        )

    def stages_of_networks(self) -> frozenset[str]:
        """Return the names of the stages that run a network with these settings."""
        features = ("distil", "vectors", "semantics", "describe") if self.semantics.features.kind != "classical" else ()
        flow, depth = (("flow",) if self.learned.flow else ()), (("cues",) if self.learned.depth else ())
        return frozenset((*features, *flow, *depth))


def read_label_config(path: Path | None) -> LabelConfig:
    """Read a YAML file of overrides; None is all defaults."""
    if path is None:
        return LabelConfig()
    return label_config(read_yaml(path) or {}, str(path))


def label_config(content: Mapping[str, Any], source: str) -> LabelConfig:
    """Return the preset that ``content`` names, overridden by the rest of it; unknown keys fail."""
    if not isinstance(content, Mapping):
        return from_mapping(LabelConfig, content, source)  # which says what it is instead
    preset = from_mapping(LabelConfig, {key: content[key] for key in ("preset",) if key in content}, source).preset
    branch = PRESETS[preset]
    start = to_mapping(LabelConfig(preset, cues=branch.cues, instances=branch.instances, tracking=branch.tracking))
    return from_mapping(LabelConfig, merged(start, content), source)
