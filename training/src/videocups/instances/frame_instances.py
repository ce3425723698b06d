"""Instances of one frame from its cues: grow, complete, clean."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from videocups.cues.frame_cues import FrameCues
from videocups.instances.cleaning import CleaningConfig, clean_regions
from videocups.instances.completion import CompletionConfig, complete_regions
from videocups.instances.region_growing import RegionGrowingConfig, grow_regions
from videocups_core.config import setting


@dataclass(frozen=True)
class InstancesConfig:
    """How moving pixels become instances."""

    # triangulated depth is wrong on what moves, so the depth test of Eq. 1 is off for the classical cues, and flow of
    # DIS is rougher than SMURF's, for which the paper chose 0.04
    growing: RegionGrowingConfig = field(
        default_factory=lambda: RegionGrowingConfig(depth_tolerance=0.0, flow_tolerance=0.1)
    )
    # grow on flow as it is ("total"), or without the camera's part ("rest")
    flow: Literal["total", "rest"] = setting("total", "grow on flow as it is, or without the camera's part")
    completion: CompletionConfig = field(default_factory=CompletionConfig)
    # smaller seeds are not completed
    min_seed_px: int = setting(20, "smaller seeds are not completed", minimum=1)
    # borders are a share of the width here, so that one setting serves every image size
    border_share: float = setting(0.025, "share of the width cleared at either side", minimum=0.0, maximum=0.4)
    cleaning: CleaningConfig = field(default_factory=lambda: CleaningConfig(border_px=0))


def frame_instances(cues: FrameCues, focal_px: float, config: InstancesConfig | None = None) -> NDArray[np.int32]:
    """Return (H, W) instances 1..N of a frame, 0 = none."""
    config = config or InstancesConfig()
    flow = cues.flow_px if config.flow == "total" else cues.rest_px
    seeds = grow_regions(cues.motion, cues.depth_heights, flow, config.growing)
    seeds = clean_regions(seeds, CleaningConfig(border_px=0, min_area_px=config.min_seed_px, fill_holes=False))
    ground = cues.ground if cues.ground.any() else None
    regions = complete_regions(seeds, cues.flow_px, cues.may_move, ground, focal_px, config.completion)
    border = round(config.border_share * regions.shape[1])
    if border:
        regions[:, :border] = 0
        regions[:, -border:] = 0
    return clean_regions(regions, config.cleaning)
