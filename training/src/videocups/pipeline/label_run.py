"""A whole labelling run, as the command starts it."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from videocups.cues.epipolar import pinhole
from videocups.pipeline.coco_panoptic import write_coco
from videocups.pipeline.label_config import LabelConfig, label_config, read_label_config
from videocups.pipeline.manifest import FOLDER
from videocups.pipeline.progress_table import ProgressTable
from videocups.pipeline.run import Summary, run_stages
from videocups.pipeline.stage import Stages
from videocups.pipeline.workspace import Workspace, link_clips
from videocups.progress import counted
from videocups_core.clip import Clip, read_clip_info, write_atomically
from videocups_core.config import to_mapping

CONFIG_FILE = "label.json"
CLASSES_FILE = "thing_stuff.json"
FIX_CAMERA = "cut it again with 'videocups ingest … --calibration FILE --overwrite'"


def label_clips(options: argparse.Namespace, config: LabelConfig) -> list[str]:
    """Label the clips that the command line names and return what to tell about it."""
    root = options.clips
    if options.out is not None:
        link_clips(root, options.out)
        root = options.out
    if options.coco is not None and options.stage and "panoptic" not in options.stage:
        raise ValueError("--coco writes panoptic labels, which these stages do not make; add --stage panoptic")
    workspace = Workspace.open(root)
    check_cameras(workspace)
    stages = config.stages().up_to(options.stage) if options.stage else config.stages()
    run = replace(config.run, executor=options.executor or config.run.executor)
    resolved = json.dumps(to_mapping(replace(config, run=run)), indent=1) + "\n"
    write_atomically(workspace.root / FOLDER / CONFIG_FILE, resolved.encode())
    workers = 1 if run.executor == "inline" else options.workers or run.workers or cores()
    with ProgressTable() as table:
        summary = run_stages(stages, workspace, run, table, workers=workers, retry_failed=options.retry_failed)
    lines = summary_lines(summary, workspace, stages)
    if options.stage or options.overlays:
        lines += overlay_lines(workspace, stages, options.stage or ("smooth", "panoptic"))
    if options.coco is not None:
        images = write_coco(workspace.root, workspace.clips, options.coco)
        lines.append(f"COCO-panoptic: {images} images in {options.coco}")
    return lines


def overlay_lines(workspace: Workspace, stages: Stages, names: Sequence[str]) -> list[str]:
    """Write pictures of what the stages ``names`` made, where it can be drawn, and return what to tell about it."""
    from videocups.label.inspect_layers import LAYERS
    from videocups.label.overlays import FOLDER, write_overlays

    made = {output.kind for name in names for output in stages.by_name[name].outputs}
    kinds = [layer.kind for layer in LAYERS if layer.kind in made]
    for folder in workspace.clips if kinds else ():
        write_overlays(Clip(folder), kinds)
    return [f"overlays: {', '.join(f'{FOLDER}/{kind}' for kind in kinds)} in every clip"] if kinds else []


def summary_lines(summary: Summary, workspace: Workspace, stages: Stages) -> list[str]:
    """Return what a run did, in sentences."""
    final = [output.kind for stage in stages.all if stage.final for output in stage.outputs if output.each_frame]
    made = counted(summary.ran.total(), "item")
    lines = [f"{workspace.root}: {counted(len(workspace.clips), 'clip')} up to date, {made} made"]
    if summary.failed:
        named = ", ".join(f"{name} {count}" for name, count in summary.failed.items())
        lines.append(f"failed: {named}; 'videocups status {workspace.root}' tells why")
    if final:
        lines.append(f"labels: {', '.join(_where(kind, workspace) for kind in final)}")
    if any(count for count in _missing(final, workspace)):
        lines.append(f"clips without labels: 'videocups status {workspace.root}' tells why")
    if "panoptic" in final and (workspace.data / CLASSES_FILE).is_file():
        lines.append(_classes(json.loads((workspace.data / CLASSES_FILE).read_text(encoding="utf-8"))))
    return lines


def _classes(table: dict[str, Any]) -> str:
    """Return how many classes of either kind there are, from what was decided over all clips."""
    kinds = [bool(row["is_thing"]) for row in table["classes"]]
    found = table.get("panoptic_classes", {"stuff": kinds.count(False), "things": kinds.count(True)})
    text = f"classes: {found['stuff']} of stuff, {found['things']} of things"
    return text if found["things"] else f"{text}: nothing was found to move, and objects cannot be learned from this"


def _where(kind: str, workspace: Workspace) -> str:
    """Return in how many clips there are labels of a kind: a clip of one frame, or of darkness, has none."""
    without = _missing([kind], workspace)[0]
    clips = counted(len(workspace.clips), "clip")
    return f"{kind} in {len(workspace.clips) - without} of {clips}" if without else f"{kind} in every clip"


def _missing(kinds: Sequence[str], workspace: Workspace) -> list[int]:
    """Return for each kind how many clips have no label of it."""
    return [sum(next((clip / kind).glob("*.png"), None) is None for clip in workspace.clips) for kind in kinds]


def open_labels(clips: Path, config_file: Path | None) -> tuple[Stages, Workspace]:
    """Return the stages of the last run on these clips (or of a config file) and the workspace."""
    workspace = Workspace.open(clips)
    path = workspace.root / FOLDER / CONFIG_FILE
    if config_file is not None:
        return read_label_config(config_file).stages(), workspace
    if not path.is_file():
        raise ValueError(f"{workspace.root} was never labelled; run 'videocups label {clips}' or give --config")
    return label_config(json.loads(path.read_text()), str(path)).stages(), workspace


def check_cameras(workspace: Workspace) -> None:
    """Refuse clips without intrinsics or with distortion before anything is computed."""
    for folder in workspace.clips:
        camera = read_clip_info(folder).camera
        if camera is None:
            raise ValueError(f"{folder} has no camera intrinsics; {FIX_CAMERA}")
        pinhole(camera)


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0))
