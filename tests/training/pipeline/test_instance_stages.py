"""The stages against the same functions run in a plain loop over a rendered clip."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.training.pipeline.artefacts import artefacts

from videocups.cues.classical import iter_cues, survey
from videocups.fusion.tracking import track_instances
from videocups.instances.frame_instances import frame_instances
from videocups.pipeline.formats import decode
from videocups.pipeline.instance_stages import runs_of
from videocups.pipeline.label_config import LabelConfig, label_config
from videocups.pipeline.run import RunConfig, run_stages
from videocups.pipeline.workspace import Workspace
from videocups.synthetic import World, WorldConfig
from videocups.synthetic.storage import write_clip
from videocups_core.clip import Clip

INLINE = RunConfig(executor="inline")
FRAMES = 7


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    world = World(WorldConfig(seed=3, num_frames=FRAMES, height=96, width=192))
    return write_clip(world, tmp_path_factory.mktemp("rendered") / "clips" / "street")


@pytest.fixture(scope="module")
def config() -> LabelConfig:
    return label_config({"preset": "fast", "instances": {"cleaning": {"min_area_px": 20}}}, "test")


@pytest.fixture(scope="module")
def labelled(rendered: Path, config: LabelConfig) -> Path:
    stages = config.stages().up_to(["tracks"])
    run_stages(stages, Workspace.open(rendered.parent), INLINE)
    return rendered


def test_the_stages_give_what_a_plain_loop_gives(labelled: Path, config: LabelConfig) -> None:
    clip = Clip(labelled)
    camera = clip.info.camera
    geometry = survey(clip.frame_rgb, len(clip), camera, config.cues)
    cues = list(iter_cues(clip.frame_rgb, len(clip), camera, geometry, config.cues))
    instances = [frame_instances(each, camera.k[0], config.instances) for each in cues]
    tracks = track_instances(instances, [each.pair.flow for each in cues[:-1]], config.tracking)
    stored = [decode(labelled / "tracks" / f"{number:06d}.png") for number in range(FRAMES)]
    overlap = sum(int(((a > 0) & (b > 0)).sum()) for a, b in zip(tracks, stored, strict=True))
    union = sum(int(((a > 0) | (b > 0)).sum()) for a, b in zip(tracks, stored, strict=True))
    assert union > 100  # something moves in this street
    assert overlap / union > 0.97  # fields are stored in half precision
    for number, each in enumerate(cues):
        depth = decode(labelled / "depth" / f"{number:06d}.npz")["depth_heights"]
        assert np.median(np.abs(depth - each.depth_heights) / each.depth_heights) < 2e-3


def test_a_tracking_setting_redoes_tracks_alone(labelled: Path, config: LabelConfig) -> None:
    changed = replace(config, tracking=replace(config.tracking, min_iou=0.5))
    summary = run_stages(changed.stages().up_to(["tracks"]), Workspace.open(labelled.parent), INLINE)
    assert summary.ran == {"tracks": 1}
    floating = replace(config, cues=replace(config.cues, floating_test=False))
    summary = run_stages(floating.stages().up_to(["tracks"]), Workspace.open(labelled.parent), INLINE)
    assert summary.ran == {"held": 1, "cues": FRAMES, "instances": FRAMES, "tracks": 1}
    run_stages(config.stages().up_to(["tracks"]), Workspace.open(labelled.parent), INLINE)


def test_the_track_table_tells_who_is_in_which_frame(labelled: Path) -> None:
    table = json.loads((labelled / "track_table.json").read_text())
    for number in range(FRAMES):
        ids = np.unique(decode(labelled / "tracks" / f"{number:06d}.png"))
        assert table["frames"][str(number)] == ids[ids > 0].tolist()
        assert ids.max() <= table["count"]


def test_processes_give_the_same_bytes(labelled: Path, config: LabelConfig, tmp_path: Path) -> None:
    clip = tmp_path / "street"
    clip.mkdir()
    (clip / "frames").symlink_to(labelled / "frames")
    (clip / "clip.json").write_bytes((labelled / "clip.json").read_bytes())
    run_stages(config.stages().up_to(["tracks"]), Workspace.open(tmp_path), RunConfig(), workers=2)
    assert artefacts(clip) == artefacts(labelled)


def test_runs_part_where_a_frame_or_a_flow_is_missing() -> None:
    assert runs_of([], set()) == []
    assert runs_of([0, 1, 2, 4, 5, 6], {0, 1, 2, 4}) == [[0, 1, 2], [4, 5], [6]]
