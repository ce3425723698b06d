"""The training loop on a task small enough to know the answer."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from videocups.train.checkpoint import newest_checkpoint, read_checkpoint
from videocups.train.config_file import read_config, setting_lines
from videocups.train.distributed import Ranks
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


def test_a_step_without_a_finite_loss_leaves_running_statistics_alone(tmp_path):
    task = Line(steps=3)
    task.model = nn.Sequential(nn.BatchNorm1d(1), nn.Linear(1, 1))
    clean = task.batch
    drawn = []

    def batch(rng):
        drawn.append(len(drawn))
        return {"x": clean(rng)["x"] * (float("inf") if drawn[-1] == 1 else 1.0)}

    task.batch = batch
    seen = []
    run_training(task, CONFIG, tmp_path, on_step=lambda _: seen.append(task.model[0].running_mean.item()))
    assert seen[0] == seen[1] != seen[2]
    assert all(bool(buffer.isfinite().all()) for buffer in task.model.buffers())
    assert task.model[0].num_batches_tracked == 2
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


def test_a_checkpoint_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    """Else a power cut could leave the name and empty files, and the run could not go on."""
    stored, kept = [], os.fsync

    def fsync(descriptor):
        stored.append(Path(f"/proc/self/fd/{descriptor}").readlink())
        kept(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    checkpoint = run_training(Line(steps=1), CONFIG, tmp_path)
    files = {path.name for path in checkpoint.folder.iterdir()}
    assert {"model.safetensors", "optimizer.safetensors", "checkpoint.json"} <= files
    staging = {path for path in stored if path.parent == tmp_path}
    assert {path.name for path in stored if path.parent in staging} == files
    assert all(path.name.startswith(".") for path in staging)  # not under its name yet
    assert stored[-1] == tmp_path  # and then the name


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
    with pytest.raises(ValueError, match="is no YAML: "):
        read_config(LoopConfig, path)


def test_devices():
    assert choose_device("cpu") == "cpu"
    assert choose_device("auto") == ("cuda" if torch.cuda.is_available() else "cpu")
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="no usable GPU"):
            choose_device("cuda:0")


def test_the_first_bad_batch_of_a_row_is_kept_and_named(tmp_path):
    task = Line(steps=40, bad_steps=range(12, 40))
    with pytest.raises(ValueError, match=r"batch is in .*bad_step_0000012_0.safetensors"):
        run_training(task, CONFIG, tmp_path)
    kept = load_file(tmp_path / "bad_step_0000012_0.safetensors")
    assert torch.equal(kept["x"], task.batch(np.random.default_rng([0, 12]))["x"])
    assert len(list(tmp_path.glob("bad_step_*"))) == 1


def test_the_average_follows_the_weights_and_is_what_a_model_is_used_with(tmp_path):
    task = Line(steps=3)
    weights = []
    config = replace(CONFIG, ema=0.5)
    done = run_training(task, config, tmp_path, on_step=lambda _: weights.append(task.model.weight.item()))
    # decays of the first steps: 1/10, 2/11, 3/12, all below 0.5
    average = 0.0
    for step, weight in enumerate(weights):
        decay = (1 + step) / (10 + step)
        average = decay * average + (1 - decay) * weight
    used, trained = nn.Linear(1, 1), nn.Linear(1, 1)
    done.load_model(used)
    done.load_trained(trained)
    assert used.weight.item() == pytest.approx(average, rel=1e-5)
    assert trained.weight.item() == weights[-1] != used.weight.item()


def test_a_run_with_an_average_resumes(tmp_path):
    config = replace(CONFIG, ema=0.9)
    whole, rest = Line(), Line()
    done = run_training(whole, config, tmp_path / "whole")
    run_training(Line(), config, tmp_path / "parts", stop_at=10)
    again = run_training(rest, config, tmp_path / "parts")
    assert torch.equal(done.average()["weight"], again.average()["weight"])


def test_accumulated_pieces_are_the_whole_batch(tmp_path):
    class Quiet(Line):
        def loss(self, batch, step):
            loss = (self.model(batch["x"]) - 3 * batch["x"]).square().mean()
            return loss, {"squared": loss}

    whole, pieces = Quiet(steps=5), Quiet(steps=5)
    run_training(whole, CONFIG, tmp_path / "whole")
    run_training(pieces, replace(CONFIG, accumulate=4), tmp_path / "pieces")
    assert pieces.model.weight.item() == pytest.approx(whole.model.weight.item(), rel=1e-5)
    with pytest.raises(ValueError, match=r"8 samples cannot be cut into loop.accumulate = 3"):
        run_training(Quiet(steps=5), replace(CONFIG, accumulate=3), tmp_path / "odd")


def test_bf16_computes_in_bf16_and_keeps_fp32_weights(tmp_path):
    class Look(Line):
        def loss(self, batch, step):
            self.kind_seen = self.model(batch["x"]).dtype
            return super().loss(batch, step)

    task = Look(steps=3)
    run_training(task, replace(CONFIG, precision="bf16"), tmp_path)
    assert task.kind_seen == torch.bfloat16
    assert task.model.weight.dtype == torch.float32
    with pytest.raises(ValueError, match="fp16 needs a GPU"):
        run_training(Line(), replace(CONFIG, precision="fp16"), tmp_path / "fp16")


def test_memory_that_does_not_suffice_gets_advice(tmp_path):
    class Greedy(Line):
        def loss(self, batch, step):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    with pytest.raises(ValueError, match=r"did not suffice for step 0 .*2.00 GiB.*raise loop.accumulate \(now 1\)"):
        run_training(Greedy(), CONFIG, tmp_path)


def test_what_no_weight_hangs_on_may_change_in_between(tmp_path):
    first, second = Line(), Line()
    first.config = {"loop": {"workers": 0, "log_every": 5, "seed": 1}}
    second.config = {"loop": {"workers": 4, "log_every": 9, "seed": 1}}
    run_training(first, CONFIG, tmp_path, stop_at=3)
    run_training(second, CONFIG, tmp_path, stop_at=6)
    second.config["loop"]["seed"] = 2
    with pytest.raises(ValueError, match=r"loop\.seed"):
        run_training(second, CONFIG, tmp_path)


def test_deterministic_runs_switch_it_on_and_off_again(tmp_path):
    class Ask(Line):
        def prepare(self, step):
            self.asked = torch.are_deterministic_algorithms_enabled()
            return 1.0

    task = Ask(steps=1)
    run_training(task, replace(CONFIG, deterministic=True), tmp_path)
    assert task.asked
    assert not torch.are_deterministic_algorithms_enabled()


def test_scalars_reach_tensorboard(tmp_path):
    run_training(Line(steps=6), replace(CONFIG, tensorboard=True), tmp_path)
    (file,) = (tmp_path / "tensorboard").iterdir()
    assert b"gradient_norm" in file.read_bytes()


def test_a_checkpoint_says_which_program_and_what_it_measured(tmp_path):
    done = run_training(Line(steps=6), CONFIG, tmp_path)
    assert done.metrics["step"] == 5
    assert done.metrics["squared"] >= 0
    assert done.versions["videocups"]
    assert done.versions["git"]


def test_such_a_task_refuses_to_run_twice_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr("videocups.train.loop.ranks", lambda: Ranks(1, 2))
    with pytest.raises(ValueError, match="runs in one process; start it without torchrun"):
        run_training(Line(), CONFIG, tmp_path)
