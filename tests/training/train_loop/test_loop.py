"""The training loop on a task small enough to know the answer."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from videocups.train.checkpoint import newest_checkpoint, read_checkpoint
from videocups.train.config_file import read_config, setting_lines
from videocups.train.loop import choose_device, run_training
from videocups.train.settings import LoopConfig


class Line:
    """Learn y = 3x from noisy points; some steps' losses are made infinite."""

    kind = "line"

    def __init__(self, steps=40, bad_steps=()):
        self.steps, self.bad_steps, self.seen = steps, bad_steps, []
        self.config = {"steps": steps, "nested": {"rate": 1}}
        self.model = nn.Linear(1, 1)
        nn.init.zeros_(self.model.weight)
        nn.init.zeros_(self.model.bias)

    def batch(self, rng):
        return {"x": torch.from_numpy(rng.normal(size=(8, 1))).float()}

    def prepare(self, step):
        return 1.0

    def loss(self, batch, step):
        self.seen.append(step)
        noise = 0.01 * torch.randn(8, 1)  # hangs on the step, as dropout would
        loss = (self.model(batch["x"]) - 3 * batch["x"] + noise).square().mean()
        return (loss * float("inf") if step in self.bad_steps else loss), {"squared": loss}


CONFIG = LoopConfig(learning_rate=0.2, checkpoint_every=10, log_every=5, clip_norm=0)


def test_it_learns_and_keeps_the_newest_two_checkpoints(tmp_path):
    task = Line(steps=80)
    done = run_training(task, CONFIG, tmp_path)
    assert task.model.weight.item() == pytest.approx(3, abs=0.05)
    assert task.seen == list(range(80))
    assert sorted(folder.name for folder in tmp_path.glob("step_*")) == ["step_0000070", "step_0000080"]
    assert (done.step, done.steps, done.skipped_steps) == (80, 80, 0)
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [*range(0, 80, 5), 79]


def test_a_killed_run_goes_on_from_its_newest_checkpoint(tmp_path):
    whole = Line()
    run_training(whole, CONFIG, tmp_path / "whole")
    run_training(Line(), CONFIG, tmp_path / "parts", stop_at=17)
    # as a kill leaves it: the checkpoint of step 17 half written, a line of metrics beyond the one before
    (tmp_path / "parts" / "step_0000017" / "checkpoint.json").unlink()
    rest = Line()
    run_training(rest, CONFIG, tmp_path / "parts")
    assert rest.seen == list(range(10, 40))
    assert torch.equal(rest.model.weight, whole.model.weight)
    steps = [json.loads(line)["step"] for line in (tmp_path / "parts" / "metrics.jsonl").read_text().splitlines()]
    assert steps == sorted(set(steps))


@pytest.mark.parametrize("workers", [0, 1])
def test_workers_read_the_same_data(tmp_path, workers):
    task = Line(steps=5)
    run_training(task, LoopConfig(workers=workers), tmp_path)
    again = Line(steps=5)
    run_training(again, LoopConfig(), tmp_path / "again")
    assert torch.equal(task.model.weight, again.model.weight)


def test_a_step_without_a_finite_loss_changes_nothing_and_is_counted(tmp_path):
    task = Line(steps=3, bad_steps=(1,))
    weights = []
    run_training(task, CONFIG, tmp_path, on_step=lambda _: weights.append(task.model.weight.item()))
    assert weights[0] == weights[1] != weights[2]
    assert read_checkpoint(tmp_path).skipped_steps == 1


def test_a_run_without_finite_losses_gives_up_and_says_so(tmp_path):
    task = Line(steps=40, bad_steps=range(12, 40))
    with pytest.raises(ValueError, match=r"no finite loss or gradient in 10 steps up to step 21 \(squared"):
        run_training(task, CONFIG, tmp_path)
    assert newest_checkpoint(tmp_path).name == "step_0000020"


def test_other_settings_do_not_go_on(tmp_path):
    run_training(Line(), CONFIG, tmp_path, stop_at=3)
    other = Line()
    other.config = {"steps": 40, "nested": {"rate": 2}}
    with pytest.raises(ValueError, match=r"other settings \(nested.rate\); give another --out"):
        run_training(other, CONFIG, tmp_path)


def test_damaged_checkpoints_are_named(tmp_path):
    done = run_training(Line(steps=2), CONFIG, tmp_path)
    with pytest.raises(ValueError, match="does not fit its settings or is damaged"):
        done.load_model(nn.Linear(2, 1))
    (done.folder / "model.safetensors").write_bytes(b"half")
    with pytest.raises(ValueError, match="does not fit its settings or is damaged"):
        done.load_model(nn.Linear(1, 1))
    (done.folder / "checkpoint.json").write_text("{}")
    with pytest.raises(ValueError, match=r"checkpoint.json cannot be used"):
        read_checkpoint(done.folder)


def test_weight_decay_spares_biases(tmp_path):
    task = Line(steps=1)
    nn.init.ones_(task.model.weight)
    nn.init.ones_(task.model.bias)
    task.loss = lambda batch, step: (0 * task.model(batch["x"]).sum(), {})
    run_training(task, LoopConfig(optimizer="adamw", learning_rate=0.1, weight_decay=0.5), tmp_path)
    assert task.model.weight.item() == pytest.approx(1 - 0.1 * 0.5)
    assert task.model.bias.item() == 1


def test_settings_from_file_and_command_line(tmp_path):
    path = tmp_path / "loop.yaml"
    path.write_text("seed: 3\nlearning_rate: 0.5\n")
    config = read_config(LoopConfig, path, ["seed=4", "optimizer=adamw"])
    assert (config.seed, config.learning_rate, config.optimizer) == (4, 0.5, "adamw")
    assert "  seed = 4: everything random hangs on this" in setting_lines(config)
    with pytest.raises(ValueError, match="KEY=VALUE"):
        read_config(LoopConfig, None, ["seed"])
    path.write_text("seed: [")
    with pytest.raises(ValueError, match="is no YAML file"):
        read_config(LoopConfig, path)


def test_devices():
    assert choose_device("cpu") == "cpu"
    assert choose_device("auto") == ("cuda" if torch.cuda.is_available() else "cpu")
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="no usable GPU"):
            choose_device("cuda:0")
