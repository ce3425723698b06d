"""The stages against the same functions run in a plain loop over a rendered clip."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from tests.training.pipeline.artefacts import artefacts

from videocups.cues.classical import estimate_pair, survey
from videocups.cues.depth_memory import looking_back, remember
from videocups.cues.epipolar import pixel_rays
from videocups.cues.flow import DisFlow, FlowPair
from videocups.cues.frame_cues import FrameCues, ground_of_habit, ground_or_level, look_at_frame
from videocups.cues.frame_in_time import frame_in_time
from videocups.fusion.tracking import track_instances
from videocups.instances.frame_instances import frame_instances
from videocups.pipeline.cue_formats import parallax_from_arrays, parallax_to_arrays
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
    world = World(WorldConfig(seed=2, num_frames=FRAMES, height=96, width=192, scenario="drive"))
    return write_clip(world, tmp_path_factory.mktemp("rendered") / "clips" / "street")


@pytest.fixture(scope="module")
def config() -> LabelConfig:
    return label_config({"preset": "fast", "tracking": {"min_frames": 1}}, "test")


@pytest.fixture(scope="module")
def labelled(rendered: Path, config: LabelConfig) -> Path:
    stages = config.stages().up_to(["tracks"])
    run_stages(stages, Workspace.open(rendered.parent), INLINE)
    return rendered


def half(field: NDArray[np.float32]) -> NDArray[np.float32]:
    return field.astype(np.float16).astype(np.float32)


def tracks_of_plain_loop(clip: Clip, config: LabelConfig) -> list[NDArray[np.int32]]:
    """Tracks without any pipeline, frame after frame; fields in half precision."""
    camera = clip.info.camera
    rays, count = pixel_rays(camera), len(clip)
    geometry = survey(clip.frame_rgb, count, camera, config.cues)
    pairs, instances, held = [], [], None
    for t in range(count - 1):
        first, second = clip.frame_rgb(t), clip.frame_rgb(t + 1)
        pair = estimate_pair(DisFlow(config.cues.flow), first, second, t, geometry, rays, camera, config.cues)
        fields = half(pair.flow.forward_px), half(pair.flow.backward_px)
        pairs.append(replace(pair, flow=FlowPair(*fields, pair.flow.visible_forward, pair.flow.visible_backward)))
    images = {t: clip.frame_rgb(t) for t in range(count)}
    for t in range(count):
        ground = ground_of_habit(geometry.habits[min(t, count - 2)], rays)
        frame = frame_in_time(t, images, dict(enumerate(pairs)), config.cues.far_frames, ground)
        look = look_at_frame(frame, geometry.hood, rays, camera, config.cues)
        measured = parallax_from_arrays(parallax_to_arrays(look.measured, look.steady))
        look_back = looking_back(pairs[t - 1] if t else None)
        inverse, held = remember(*measured, ground_or_level(ground, rays), held, config.cues.depth, look_back)
        fields = half(look.rest_px), half(np.float32(1) / inverse), half(look.motion)
        cues = FrameCues(t, True, look.flow_px, *fields, ground, look.may_move, look.pair, held)
        instances.append(frame_instances(cues, camera.fx, config.instances))
    return track_instances(instances, [pair.flow for pair in pairs], config.tracking)


def test_the_stages_give_exactly_what_a_plain_loop_gives(labelled: Path, config: LabelConfig) -> None:
    expected = tracks_of_plain_loop(Clip(labelled), config)
    assert sum(int((ids > 0).sum()) for ids in expected) > 100  # something moves in this street
    for number, ids in enumerate(expected):
        np.testing.assert_array_equal(decode(labelled / "tracks" / f"{number:06d}.png"), ids)


def test_stages_look_as_far_as_a_plain_loop(labelled: Path, config: LabelConfig, tmp_path: Path) -> None:
    clip = tmp_path / "street"
    clip.mkdir()
    (clip / "frames").symlink_to(labelled / "frames")
    (clip / "clip.json").write_bytes((labelled / "clip.json").read_bytes())
    far = replace(config, cues=replace(config.cues, far_frames=2, caution=0.6))
    run_stages(far.stages().up_to(["tracks"]), Workspace.open(clip), INLINE)
    differ = 0
    for number, ids in enumerate(tracks_of_plain_loop(Clip(clip), far)):
        found = decode(clip / "tracks" / f"{number:06d}.png")
        np.testing.assert_array_equal(found, ids)
        differ += int((found != decode(labelled / "tracks" / f"{number:06d}.png")).sum())
    assert differ > 100


def test_a_frame_that_no_neighbour_shows_is_left_out(labelled: Path, config: LabelConfig, tmp_path: Path) -> None:
    clip = tmp_path / "dark"
    (clip / "frames").mkdir(parents=True)
    (clip / "clip.json").write_bytes((labelled / "clip.json").read_bytes())
    for number in range(FRAMES):
        image = cv2.imread(str(labelled / "frames" / f"{number:06d}.jpg"))
        cv2.imwrite(str(clip / "frames" / f"{number:06d}.jpg"), 0 * image if number == 3 else image)
    summary = run_stages(config.stages().up_to(["tracks"]), Workspace.open(clip), INLINE)
    assert summary.left_out == {"cues": 1, "instances": 1}
    for kind in ("instances", "depth", "tracks"):
        assert not (clip / kind / "000003.png").exists()
        assert len(list((clip / kind).iterdir())) == FRAMES - 1


def test_a_tracking_setting_redoes_tracks_alone(labelled: Path, config: LabelConfig) -> None:
    changed = replace(config, tracking=replace(config.tracking, min_iou=0.5))
    summary = run_stages(changed.stages().up_to(["tracks"]), Workspace.open(labelled.parent), INLINE)
    assert summary.ran == {"tracks": 1}
    floating = replace(config, cues=replace(config.cues, floating_test=False))
    summary = run_stages(floating.stages().up_to(["tracks"]), Workspace.open(labelled.parent), INLINE)
    assert summary.ran == {"cues": FRAMES, "memory": 1, "instances": FRAMES, "tracks": 1}
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
