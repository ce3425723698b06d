"""Classical geometry as hints: right where it speaks, silent where things move, and enough to teach depth quickly."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from videocups.cues.classical_config import FAST
from videocups.cues.dynamo.config import DepthNetworkConfig, DepthScheduleConfig, DynamoConfig, HintConfig
from videocups.cues.dynamo.estimator import DynamoCues
from videocups.cues.dynamo.hints import MOTIONS, Hints, iter_hints, mirrored_motion, places, write_hints
from videocups.cues.dynamo.losses import (
    depth_hint_loss,
    error_hint_loss,
    mask_hint_loss,
    photometric_loss,
    pose_hint_loss,
)
from videocups.cues.dynamo.training import DynamoTask
from videocups.cues.quality import DepthQuality
from videocups.synthetic import World, WorldConfig, write_clip
from videocups.train.loop import run_training
from videocups.train.settings import LoopConfig, WindowConfig

SIZE = (128, 64)


@pytest.fixture(scope="module")
def drive() -> World:
    """A drive with traffic, large enough for triangulation."""
    return World(WorldConfig(seed=4, num_frames=8, setting="city", scenario="drive", height=128, width=256))


@pytest.fixture(scope="module")
def found(drive):
    return list(iter_hints(lambda index: drive.frame(index).rgb, 8, drive.camera, FAST, SIZE))


def test_sure_hints_are_near_the_truth_and_surer_ones_nearer(drive, found):
    sure, unsure = [], []
    for index, (hints, _) in enumerate(found):
        assert hints.inverse_depth.shape == hints.weight.shape == hints.still.shape == (64, 128)
        frame = drive.frame(index)
        true = frame.depth_m[1::2, 1::2]
        static = (true > 0) & (true < 60) & (frame.track_map[1::2, 1::2] == 0) & hints.still
        scale = np.median(true[static] * hints.inverse_depth[static])
        error = np.abs(true * hints.inverse_depth / scale - 1)
        trust = hints.weight * hints.inverse_depth
        sure.append(np.median(error[static & (trust > 0.5)]))
        unsure.append(np.median(error[static & (trust < 0.3)]))
    assert np.mean(sure) < 0.06
    assert np.mean(sure) < np.mean(unsure)


def test_moving_things_have_no_measurement(drive, found):
    """Pixels that are not still have the ground's depth at their base, or nothing."""
    assert any(hints.moves.any() for hints, _ in found)
    for hints, _ in found:
        assert not (hints.moves & hints.still).any()
        assert (hints.weight[hints.still] > 0).all()
        told = ~hints.still & (hints.weight > 0)
        np.testing.assert_allclose((hints.weight * hints.inverse_depth)[told], 0.5, rtol=1e-4)


def test_what_was_filled_in_can_be_left_out(drive):
    measured = list(iter_hints(lambda index: drive.frame(index).rgb, 3, drive.camera, FAST, SIZE, filled=0))
    whole = list(iter_hints(lambda index: drive.frame(index).rgb, 3, drive.camera, FAST, SIZE))
    for (some, _), (every, _) in zip(measured, whole, strict=True):
        left_out = (some.weight == 0) & (every.weight > 0)
        assert 0.01 < left_out.mean() < 0.5
        # filled depth is trusted to a relative error of 1, the best measurement to a tenth, and the less is measured
        # the less what was filled in from it
        trust = (every.weight * every.inverse_depth)[left_out]
        np.testing.assert_allclose(trust, trust[0], rtol=1e-4)
        assert 0.04 < trust[0] < 0.1
        np.testing.assert_array_equal(some.weight[~left_out], every.weight[~left_out])


def test_a_standing_camera_does_not_teach_that_all_is_far():
    waits = World(WorldConfig(seed=4, num_frames=4, setting="city", scenario="stand", height=128, width=256))
    for hints, _ in iter_hints(lambda index: waits.frame(index).rgb, 4, waits.camera, FAST, SIZE):
        assert hints.weight[hints.still].max() == 0


def test_steps_are_the_cameras_own(drive, found):
    for index in (1, 4):
        true = np.linalg.inv(drive.camera_to_world(index + 1)) @ drive.camera_to_world(index)
        step = found[index][1]
        np.testing.assert_allclose(step[:3, :3], true[:3, :3], atol=2e-3)
        heading, expected = step[:3, 3], true[:3, 3]
        assert heading @ expected / np.linalg.norm(heading) / np.linalg.norm(expected) > 0.99
    assert np.isnan(found[-1][1]).all()  # the last frame has no next one


def test_hints_are_written_once_and_read_back(clip, tmp_path, world):
    write_hints([clip], tmp_path, HintConfig(preset="fast"), (64, 32), 1)
    (place,) = places([clip], tmp_path)
    before = (place / MOTIONS).stat().st_mtime_ns
    write_hints([clip], tmp_path, HintConfig(preset="fast"), (64, 32), 1)
    assert (place / MOTIONS).stat().st_mtime_ns == before
    hints = Hints([clip], tmp_path)
    assert hints.frame(0, 3).inverse_depth.shape == (32, 64)
    steps = np.load(place / MOTIONS)
    np.testing.assert_allclose(hints.motion(0, 1, 3), steps[2] @ steps[1])
    np.testing.assert_allclose(hints.motion(0, 3, 1) @ hints.motion(0, 1, 3), np.eye(4), atol=1e-12)
    np.testing.assert_array_equal(hints.motion(0, 2, 2), np.eye(4))
    assert np.isnan(hints.motion(0, 4, 6)).all()  # there is no step from the last frame


def test_a_mirrored_camera_moves_in_a_mirror():
    motion = np.eye(4)
    motion[:3, :3] = [[0.8, 0, 0.6], [0, 1, 0], [-0.6, 0, 0.8]]
    motion[:3, 3] = [1, 2, 3]
    point, mirror = np.array([0.3, -0.2, 5, 1]), np.diag([-1, 1, 1, 1])
    np.testing.assert_allclose(mirrored_motion(motion) @ mirror @ point, mirror @ motion @ point)


def test_losses_by_hand():
    inverse = torch.tensor([[[[1.0, 2, 3, 9]]]], requires_grad=True)
    hint, weight = torch.tensor([[[[1.5, 2, 1, 1]]]]), torch.tensor([[[[0.2, 0.1, 0, 0.5]]]])
    # relative errors .1, 0, no hint, and 4 that counts as 1
    loss = depth_hint_loss(inverse, hint, weight, 1.0)
    assert loss.item() == pytest.approx(1.1 / 3)
    loss.backward()
    assert inverse.grad.flatten().tolist() == pytest.approx([-0.2 / 3, 0, 0, 0])
    motions, hints = torch.eye(4).repeat(1, 2, 1, 1), torch.eye(4).repeat(1, 2, 1, 1)
    hints[0, 0, 0, 3], hints[0, 0, 0, 1], hints[0, 1] = 0.5, 0.01, float("nan")
    assert pose_hint_loss(motions, hints).item() == pytest.approx((0.5 + 10 * 0.01) / 16)
    # of the mask: log 2 of the one that moves; softplus(2) of the still one, and the third does not count
    logits = torch.tensor([[[[0.0, 2, 5]]]])
    seen = torch.tensor([[[[1.0, 0, 0]]]]), torch.tensor([[[[0.0, 1, 0]]]])
    assert mask_hint_loss(logits, *seen).item() == pytest.approx((math.log(2) + math.log(1 + math.e**2)) / 2)
    # the error that fits best is the difference itself
    errors = torch.linspace(0.05, 0.95, 19).view(-1, 1, 1, 1)
    one = torch.ones(1, 1, 1, 1)
    fits = [error_hint_loss(error[None], 1.3 * one, one, one, 1.0).item() for error in errors]
    assert float(errors[int(np.argmin(fits))]) == pytest.approx(0.3)
    # pixels that do not count teach nothing
    target, warped = torch.zeros(1, 3, 4, 4), torch.ones(1, 3, 4, 4)
    counts = torch.zeros(1, 1, 4, 4)
    counts[..., :1] = 1
    warped[..., :1] = 0
    assert photometric_loss([warped], target, None, 0.0, counts).item() == 0
    assert photometric_loss([warped], target, None, 0.0).item() == pytest.approx(0.75)


CONFIG = DynamoConfig(
    data=WindowConfig(height=64, width=128, jitter=0),
    network=DepthNetworkConfig(encoder="tiny", scales=1, min_depth=0.5, max_depth=60, initial_depth=5, position=True),
    hints=HintConfig(depth=1.0, preset="fast", alone=0.5),
    schedule=DepthScheduleConfig(epoch_steps=10, epochs=(8, 1, 3, 3), ramp=0.5),
    loop=LoopConfig(batch_size=2, learning_rate=2e-3, log_every=1),
)


def test_four_phases_end_with_depth_and_masks_that_did_not_collapse(drive, tmp_path):
    """Depth still follows the scene after the last phase, as well as after the first; masks are not all or nothing."""
    clip = write_clip(drive, tmp_path / "drive", image_suffix=".png")

    def quality(stop_at=None):
        task = DynamoTask([clip], CONFIG, tmp_path / "hints")
        estimator = DynamoCues(run_training(task, CONFIG.loop, tmp_path / "run", stop_at=stop_at).folder)
        result, cues = DepthQuality(), []
        for index in range(1, 7):
            cues.append(estimator.cues(*(drive.frame(index + step).rgb for step in (-1, 0, 1))))
            result.add(cues[-1].depth, drive.frame(index).depth_m)
        return float(np.mean(result.abs_rel)), cues

    first, _ = quality(stop_at=80)
    last, cues = quality()
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert "photometric" not in rows[39]
    assert {"photometric", "hint_depth", "hint_pose"} < rows[40].keys()
    assert "hint_depth" not in rows[85]
    assert {"hint_depth", "hint_mask", "hint_pose"} < rows[149].keys()
    assert np.mean([row["hint_depth"] for row in rows[70:80]]) < 0.6 * np.mean([row["hint_depth"] for row in rows[:5]])
    assert first < 0.35
    assert last < 1.15 * first
    near, far = np.percentile([one.depth for one in cues], [5, 95])
    assert far > 4 * near
    hints = Hints([clip], tmp_path / "hints")
    masks = [one.motion[::2, ::2] for one in cues]
    seen = [hints.frame(0, index) for index in range(1, 7)]
    on = np.concatenate([mask[hint.moves] for mask, hint in zip(masks, seen, strict=True)])
    off = np.concatenate([mask[hint.still] for mask, hint in zip(masks, seen, strict=True)])
    assert np.median(on) > 0.5 > np.median(off)


def test_without_hints_nothing_is_asked_of_geometry(clip, tmp_path):
    task = DynamoTask([clip], replace(CONFIG, hints=HintConfig()), tmp_path / "hints")
    assert not (tmp_path / "hints").exists()
    batch = task.batch(np.random.default_rng(0))
    assert set(batch) == {"clean", "seen", "k"}
    assert set(task.loss(batch, 0)[1]) == {"d_smooth", "photometric"}
