"""The kinds of learned flow: RAFT by SMURF's losses, and dense inverse search that a network refines."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from videocups.cues.flow import FlowEstimator
from videocups.cues.refined.config import RefinedConfig
from videocups.cues.smurf.config import SmurfConfig

FLOW_CONFIGS: Mapping[str, type[Any]] = {"smurf": SmurfConfig, "refined": RefinedConfig}
"""the settings of each kind's training; a checkpoint bears the kind's name."""
FLOW_MODULES = ("videocups.cues.smurf.estimator", "videocups.cues.refined.estimator")
"""what estimating flow loads, torch among it."""


def open_flow(checkpoint: Path | str, *, device: str = "cpu") -> FlowEstimator:
    """Return the estimator of a run of ``videocups train flow``, whatever its kind."""
    from videocups.train.checkpoint import read_checkpoint

    found = read_checkpoint(checkpoint)
    if found.kind == "refined":
        from videocups.cues.refined.estimator import RefinedFlow

        return RefinedFlow(found.folder, device=device)
    from videocups.cues.smurf.estimator import SmurfFlow

    return SmurfFlow(found.folder, device=device)  # refuses what is no flow


def flow_task(clips: list[Path], config: Any) -> Any:
    """Return the training that a config asks for, for ``run_training``."""
    if isinstance(config, RefinedConfig):
        from videocups.cues.refined.training import RefinedTask

        return RefinedTask(clips, config)
    from videocups.cues.smurf.training import SmurfTask

    return SmurfTask(clips, config)
