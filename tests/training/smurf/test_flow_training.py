"""Flow learns on two frames without labels, resumes bit for bit, and its checkpoint estimates flow."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from videocups.cli import main
from videocups.cues.flow import flow_pair
from videocups.cues.smurf.config import FlowLossConfig, FlowNetworkConfig, FlowScheduleConfig, SmurfConfig
from videocups.cues.smurf.estimator import SmurfFlow, padded
from videocups.cues.smurf.network import FlowNetwork
from videocups.cues.smurf.training import SmurfTask, crop_of, rate_factor, steps_for, teaching_share, train_flow
from videocups.train.loop import run_training
from videocups.train.settings import LoopConfig, WindowConfig

STEPS = 60
CONFIG = SmurfConfig(
    data=WindowConfig(height=128, width=128, flip=0, jitter=0),
    crop_height=128,
    crop_width=128,
    network=FlowNetworkConfig(train_updates=2, updates=2),
    loss=FlowLossConfig(student_crop=16),
    schedule=FlowScheduleConfig(brox_from=1, teach_from=0.9, teach_ramp=0, match_until=0, made_until=0),
    loop=LoopConfig(steps=STEPS, learning_rate=1e-3, log_every=1),
)


@pytest.fixture(scope="module")
def trained(turning_clip, tmp_path_factory):
    torch.set_num_threads(1)
    return train_flow([turning_clip], tmp_path_factory.mktemp("runs") / "flow", CONFIG)


def errors(pair, frames):
    """Return the end-point error of each direction relative to that of no flow."""
    (first, second), found = frames, []
    forth = (pair.forward_px, first.flow_fw_px, first.occluded_fw)
    back = (pair.backward_px, second.flow_bw_px, second.occluded_bw)
    for flow, truth, occluded in (forth, back):
        seen = ~occluded & np.isfinite(truth).all(-1)
        found.append(np.linalg.norm(flow - truth, axis=-1)[seen].mean() / np.linalg.norm(truth, axis=-1)[seen].mean())
    return found


def test_training_lowers_the_loss_and_beats_no_flow(trained, turning_pair):
    """In so few steps the network learns what most pixels do, not yet which of the two ways it is asked for."""
    rows = [json.loads(line) for line in (trained.folder.parent / "metrics.jsonl").read_text().splitlines()]
    assert len(rows) == STEPS
    census = [row["census"] for row in rows]
    assert np.mean(census[-5:]) < 0.95 * np.mean(census[:5])
    frames = turning_pair[1]
    pair = flow_pair(SmurfFlow(trained.folder), frames[0].rgb, frames[1].rgb)
    assert min(errors(pair, frames)) < 0.8
    # the student was taught at the end, and only then
    assert "self_teaching" in rows[-1]
    assert "self_teaching" not in rows[0]


def test_flow_at_any_size(trained):
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 256, (2, 90, 150, 3), dtype=np.uint8)
    for at_trained_size in (True, False):
        flow = SmurfFlow(trained.folder, at_trained_size=at_trained_size, updates=1).flow_px(first, second)
        assert flow.shape == (90, 150, 2)
        assert flow.dtype == np.float32
        assert np.isfinite(flow).all()
    with pytest.raises(ValueError, match="two frames of one size"):
        SmurfFlow(trained.folder).flow_px(first, second[:80])


def test_padding():
    assert padded(torch.zeros(1, 3, 130, 256)).shape[-2:] == (136, 256)
    assert padded(torch.zeros(1, 3, 64, 100)).shape[-2:] == (128, 128)


def test_a_checkpoint_gives_the_weights_back(trained):
    flow = SmurfFlow(trained.folder.parent)  # the run's folder means its newest checkpoint
    saved = load_file(trained.folder / "model.safetensors")
    assert all(torch.equal(value, saved[name]) for name, value in flow._network.state_dict().items())
    assert flow.config == CONFIG


def test_a_stopped_run_goes_on_bit_for_bit(turning_clip, tmp_path):
    config = replace(
        CONFIG,
        data=WindowConfig(height=136, width=136),
        network=FlowNetworkConfig(train_updates=1),
        loop=LoopConfig(steps=4, learning_rate=1e-3),
    )
    whole = run_training(SmurfTask([turning_clip], config), config.loop, tmp_path / "whole")
    run_training(SmurfTask([turning_clip], config), config.loop, tmp_path / "parts", stop_at=2)
    parts = run_training(SmurfTask([turning_clip], config), config.loop, tmp_path / "parts")
    assert parts.step == whole.step == 4
    for name in ("model.safetensors", "optimizer.safetensors"):
        ours, theirs = load_file(whole.folder / name), load_file(parts.folder / name)
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[key], theirs[key]) for key in ours), name


def test_schedules():
    schedule = FlowScheduleConfig()
    assert steps_for(10, 1, schedule) == 20_000
    assert steps_for(1_000, 1, schedule) == 30_000
    assert steps_for(100_000, 1, schedule) == 75_000
    # of 75,000 steps: decay from 62,500 in halves of 2,500; teaching from 31,250 with a ramp of 6,250
    assert rate_factor(62_500 / 75_000, schedule) == pytest.approx(1)
    assert rate_factor(67_500 / 75_000, schedule) == pytest.approx(0.25)
    assert teaching_share(31_250 / 75_000, schedule) == 0
    assert teaching_share(34_375 / 75_000, schedule) == pytest.approx(0.5)
    assert teaching_share(1, schedule) == 1


def test_the_crop_is_where_the_batch_says(turning_clip):
    config = replace(CONFIG, data=WindowConfig(height=160, width=192, flip=0, jitter=0))
    batch = SmurfTask([turning_clip], config).batch(np.random.default_rng(0))
    assert batch["whole"].shape == (1, 2, 3, 160, 192)
    assert torch.equal(crop_of(batch["whole"], batch["origin"], 128, 128), batch["seen"])


def test_raft_large_normalises_each_image_by_itself():
    network = FlowNetwork(FlowNetworkConfig(size="large"))
    kinds = {type(module).__name__ for module in network.raft.context_encoder.modules()}
    assert "InstanceNorm2d" in kinds
    assert "BatchNorm2d" not in kinds


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"crop_height": 130}, "multiples of 8, got 130"),
        ({"crop_width": 800}, "must fit into the frame"),
        ({"loss": FlowLossConfig(student_crop=80)}, "must leave half of the crop"),
    ],
)
def test_settings_that_cannot_work(settings, sentence):
    with pytest.raises(ValueError, match=sentence):
        SmurfConfig(**settings)


def test_the_command_says_what_is_wrong(turning_clip, tmp_path, capsys):
    out = ["--out", str(tmp_path / "run")]
    assert main(["train", "flow", str(tmp_path / "nothing"), *out]) == 1
    assert "nothing" in capsys.readouterr().err
    assert main(["train", "flow", str(turning_clip), *out, "--set", "loop.sed=1"]) == 1
    assert "did you mean 'seed'" in capsys.readouterr().err
    assert main(["train", "flow", str(turning_clip), *out, "--set", "data.gap=5"]) == 1
    assert "clips of at least 6 frames" in capsys.readouterr().err
    assert main(["train", "nonsense"]) == 1
    assert "there is no training 'nonsense'" in capsys.readouterr().err
    with pytest.raises(FileNotFoundError, match="holds no checkpoint"):
        SmurfFlow(tmp_path)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_training_on_a_gpu_learns_both_ways(turning_clip, turning_pair, tmp_path):
    config = replace(CONFIG, loop=replace(CONFIG.loop, steps=1500, batch_size=4, learning_rate=5e-4))
    checkpoint = train_flow([turning_clip], tmp_path / "run", config, device="cuda")
    frames = turning_pair[1]
    pair = flow_pair(SmurfFlow(checkpoint.folder, device="cuda"), frames[0].rgb, frames[1].rgb)
    assert max(errors(pair, frames)) < 0.5
