"""Depth and motion learn in four phases, resume bit for bit, and their checkpoint gives cues."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torchvision.models import resnet18

from videocups.cli import main
from videocups.cues.dynamo.config import DepthNetworkConfig, DepthScheduleConfig, DynamoConfig
from videocups.cues.dynamo.estimator import DynamoCues
from videocups.cues.dynamo.networks import DynamoNetwork, ResNetEncoder
from videocups.cues.dynamo.phases import PHASES, epoch_length, moment_of, phase_steps
from videocups.cues.dynamo.training import DynamoTask, train_depth
from videocups.train.checkpoint import read_checkpoint
from videocups.train.loop import run_training
from videocups.train.settings import LoopConfig, WindowConfig
from videocups_core.clip import Clip

CONFIG = DynamoConfig(
    data=WindowConfig(height=64, width=128, flip=0, jitter=0),
    network=DepthNetworkConfig(encoder="tiny", scales=2),
    schedule=DepthScheduleConfig(epoch_steps=2, epochs=(20, 2, 2, 2), ramp=0.5),
    loop=LoopConfig(batch_size=2, learning_rate=1e-3, log_every=1),
)


@pytest.fixture(scope="module")
def trained(clip, tmp_path_factory):
    torch.set_num_threads(1)
    return train_depth([clip], tmp_path_factory.mktemp("runs") / "depth", CONFIG)


def test_training_lowers_the_loss_of_every_kind(trained):
    rows = [json.loads(line) for line in (trained.folder.parent / "metrics.jsonl").read_text().splitlines()]
    assert len(rows) == 52
    photometric = [row["photometric"] for row in rows[:40]]
    assert np.mean(photometric[-8:]) < 0.9 * np.mean(photometric[:8])
    assert {"d_smooth"} < rows[0].keys()
    assert "c_smooth" not in rows[39]
    assert {"c_smooth"} < rows[40].keys()
    assert "m_sparsity" not in rows[43]
    assert {"m_sparsity", "m_smooth", "c_consistency"} < rows[44].keys()
    assert "d_ground" not in rows[47]
    assert {"d_ground", "d_smooth", "m_sparsity"} < rows[48].keys()
    assert all(row["skipped_steps"] == 0 for row in rows)


@pytest.mark.parametrize("at", range(4))
def test_each_phase_changes_what_it_trains_and_nothing_else(clip, tmp_path, at):
    epochs = tuple(1.0 if index == at else 0.0 for index in range(4))
    config = replace(
        CONFIG,
        network=DepthNetworkConfig(encoder="resnet18", scales=1),
        schedule=replace(CONFIG.schedule, epochs=epochs, ramp=0),
    )
    task = DynamoTask([clip], config, tmp_path / "hints")
    before = {name: value.clone() for name, value in task.model.state_dict().items()}
    run_training(task, config.loop, tmp_path)
    changed = {name for name, value in task.model.state_dict().items() if not torch.equal(value, before[name])}
    assert {name.split(".")[0] for name in changed} == set(PHASES[at].trained)
    # the norms' running statistics learn with their network, and only then
    assert any("running_mean" in name for name in changed)


def test_moments_of_the_published_schedule():
    schedule = DepthScheduleConfig()
    assert phase_steps(schedule, 8000) == [8000, 8000, 40_000, 160_000]
    names = [moment_of(step, schedule, 8000).phase.name for step in (0, 7_999, 8_000, 16_000, 55_999, 56_000, 215_999)]
    assert names == ["depth", "depth", "flow", "mask", "mask", "all", "all"]
    # c_* and m_* grow over the first third of an epoch, anew in each phase
    assert [moment_of(step, schedule, 9000).ramp for step in (0, 1500, 3000, 8999, 9000, 10_500)] == pytest.approx(
        [0, 0.5, 1, 1, 0, 0.5]
    )
    rates = [moment_of(step, schedule, 8000).rate for step in (0, 55_999, 56_000, 135_999, 136_000)]
    assert rates == [1, 1, 0.5, 0.5, 0.25]
    assert epoch_length(60, 12, schedule) == 1000
    assert epoch_length(10**6, 12, schedule) == 8000


def test_a_stopped_run_goes_on_bit_for_bit(clip, tmp_path):
    config = replace(
        CONFIG, schedule=DepthScheduleConfig(epoch_steps=2, epochs=(1, 1, 1, 1)), data=WindowConfig(64, 128)
    )
    whole = run_training(DynamoTask([clip], config, tmp_path / "hints"), config.loop, tmp_path / "whole")
    for stop in (3, 5):
        run_training(DynamoTask([clip], config, tmp_path / "hints"), config.loop, tmp_path / "parts", stop_at=stop)
    parts = run_training(DynamoTask([clip], config, tmp_path / "hints"), config.loop, tmp_path / "parts")
    for name in ("model.safetensors", "optimizer.safetensors"):
        ours, theirs = load_file(whole.folder / name), load_file(parts.folder / name)
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[key], theirs[key]) for key in ours), name


def test_cues_of_a_clip(trained, clip, world):
    estimator, opened = DynamoCues(trained.folder), Clip(clip)
    cues = list(estimator.of_clip(opened.frame_rgb, len(opened)))
    assert len(cues) == 6
    for found in cues:
        assert found.depth.shape == found.motion.shape == (64, 128)
        assert found.depth.dtype == found.motion.dtype == np.float32
        assert found.depth.min() >= 0.1 * 0.999
        assert found.depth.max() <= 100.01
        assert found.motion.min() >= 0
        assert found.motion.max() <= 1
    np.testing.assert_array_equal(cues[0].motion, cues[1].motion)  # the ends have their neighbour's mask
    np.testing.assert_array_equal(cues[5].motion, cues[4].motion)
    assert not np.array_equal(cues[0].depth, cues[1].depth)  # but their own depth
    np.testing.assert_array_equal(estimator.depth(opened.frame_rgb(3)), cues[3].depth)
    bigger = [np.repeat(np.repeat(opened.frame_rgb(index), 2, 0), 2, 1) for index in (0, 1, 2)]
    assert estimator.cues(*bigger).depth.shape == (128, 256)
    with pytest.raises(ValueError, match="three frames of one size"):
        estimator.cues(bigger[0], opened.frame_rgb(1), bigger[2])
    with pytest.raises(ValueError, match="at least 3 frames, got 2"):
        list(estimator.of_clip(opened.frame_rgb, 2))


def test_untrained_masks_are_one_half():
    network = DynamoNetwork(DepthNetworkConfig(encoder="tiny"))
    frames = torch.rand(2, 3, 3, 64, 96)
    motions, poses = network.poses(frames)
    motion = network.motion(frames, poses, with_mask=True)
    assert [tuple(field.shape) for field in motion.complete] == [(2, 2, 3, 64 >> s, 96 >> s) for s in range(4)]
    assert (torch.sigmoid(motion.logits[0]) - 0.5).abs().max() < 0.05
    assert [tuple(disparity.shape[-2:]) for disparity in network.depth(frames[:, 1])[0]] == [
        (64 >> s, 96 >> s) for s in range(4)
    ]
    # the earlier frame comes first, so the way to it is the way back of the second pose
    torch.testing.assert_close(motions[:, :, 3], torch.tensor([0.0, 0, 0, 1]).expand(2, 2, 4))


def test_an_error_beyond_all_bounds_has_a_gradient():
    network = DynamoNetwork(DepthNetworkConfig(encoder="tiny"))
    torch.nn.init.constant_(network.depth.error.bias, 200.0)  # its exponential is beyond float32
    error = network.depth(torch.rand(1, 3, 64, 96))[1]
    assert error.max() == 1
    error.log().sum().backward()
    gradients = [value.grad for value in network.depth.parameters() if value.grad is not None]
    assert all(bool(gradient.isfinite().all()) for gradient in gradients)


def test_given_weights_begin_all_encoders(tmp_path):
    weights = resnet18(weights=None).state_dict()
    save_file(weights, tmp_path / "resnet18.safetensors")
    encoder = ResNetEncoder(3, False, tmp_path / "resnet18.safetensors")
    assert torch.equal(encoder.state_dict()["body.layer3.0.conv1.weight"], weights["layer3.0.conv1.weight"])
    # three equal images answer as one
    image = torch.rand(1, 3, 64, 64)
    alone = ResNetEncoder(1, False, tmp_path / "resnet18.safetensors")
    torch.testing.assert_close(encoder.eval()(image.repeat(1, 3, 1, 1))[0], alone.eval()(image)[0], atol=1e-4, rtol=0)
    save_file({"conv1.weight": weights["conv1.weight"]}, tmp_path / "half.safetensors")
    with pytest.raises(ValueError, match="no ResNet-18"):
        ResNetEncoder(1, False, tmp_path / "half.safetensors")


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"data": WindowConfig(height=100)}, "multiples of 32, got 100"),
        ({"loop": LoopConfig(steps=5)}, "the phases decide the length"),
    ],
)
def test_settings_that_cannot_work(settings, sentence):
    with pytest.raises(ValueError, match=sentence):
        DynamoConfig(**settings)
    with pytest.raises(ValueError, match="min_depth < initial_depth < max_depth must hold"):
        DepthNetworkConfig(min_depth=5, max_depth=5)


def test_the_command_trains_and_goes_on(clip, tmp_path, capsys):
    command = ["train", "depth", str(clip), "--out", str(tmp_path / "run"), "--device", "cpu"]
    for setting in ("network.encoder=tiny", "data.height=32", "data.width=64", "loop.batch_size=1"):
        command += ["--set", setting]
    command += ["--set", "schedule.epoch_steps=1", "--set", "schedule.epochs=[1, 1, 1, 1]"]
    assert main(command) == 0
    assert "4 windows of 1 clip, 4 steps on cpu" in capsys.readouterr().out
    assert main(command) == 0  # done already: nothing to do
    assert read_checkpoint(tmp_path / "run", "dynamo").step == 4
    assert main([*command, "--set", "loop.seed=3"]) == 1
    assert "trained with other settings (loop.seed)" in capsys.readouterr().err
    with pytest.raises(ValueError, match="checkpoint of 'dynamo', but 'smurf' is needed"):
        read_checkpoint(tmp_path / "run", "smurf")
