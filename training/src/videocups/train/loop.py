"""The training loop: what is learned is the task's; order, resuming, guarding and saving are here.

Everything random in a step hangs on the seed and the step's number, so a run that was killed goes on from its newest
checkpoint as if nothing had happened.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from videocups.train.averaging import WeightAverage
from videocups.train.checkpoint import Checkpoint, Progressed, newest_checkpoint, read_checkpoint, save_checkpoint
from videocups.train.distributed import (
    average_buffers,
    average_gradients,
    mean_values,
    ranks,
    share_weights,
    wait_for_all,
)
from videocups.train.precision import Precision
from videocups.train.records import METRICS, Records
from videocups.train.settings import LoopConfig
from videocups.train.tasks import Batch, SharedTask, Task

__all__ = ["METRICS", "Batch", "Task", "choose_device", "initialize", "run_training"]

Network = TypeVar("Network", bound=nn.Module)
FREE_SETTINGS = frozenset({"loop.workers", "loop.checkpoint_every", "loop.log_every", "loop.picture_every"})
"""what a run may change when it goes on, because no weight hangs on it"""
LEARNED_FROM = "learned_from"
"""where a task's config says what its data are, by a digest"""


class _Steps(Dataset[Batch]):
    """The data of each step, as a function of its number."""

    def __init__(self, task: Task | SharedTask, seed: int) -> None:
        self.task, self.seed, self.place = task, seed, ranks()

    def __getitem__(self, step: int) -> Batch:
        if isinstance(self.task, SharedTask):
            return self.task.part(self.seed, step, self.place)
        return self.task.batch(np.random.default_rng([self.seed, step]))


class _Run:
    """One run's moving parts, and a step of it."""

    def __init__(self, task: Task | SharedTask, config: LoopConfig, out: Path, device: str) -> None:
        self.task, self.config, self.out, self.device = task, config, out, device
        self.shared = task if isinstance(task, SharedTask) else None
        if self.shared is None and ranks().world > 1:
            raise ValueError(f"a training of {task.kind!r} runs in one process; start it without torchrun")
        task.model.to(device)
        self.optimizer = _optimizer(task.model, config)
        self.precision = Precision(config.precision, device)
        self.average = WeightAverage(task.model, config.ema) if config.ema else None
        self.first, self.skipped, self.in_a_row = 0, 0, 0
        self.bad_file: Path | None = None
        self._resume()
        share_weights(task.model)
        self.records = Records(out, self.first, tensorboard=config.tensorboard, writes=ranks().leads)

    def step(self, step: int, batch: Batch) -> dict[str, float]:
        """Do one step and return its metrics."""
        task, config = self.task, self.config
        rate = config.learning_rate * task.prepare(step)
        # dropout and sampling on the device hang on the step as well
        torch.manual_seed((config.seed * 1_000_003 + step) * 64 + ranks().rank)
        began = time.perf_counter()
        if self.shared is not None:
            batch = self.shared.finish(batch, config.seed, step)
        finished = time.perf_counter()
        batch = {name: value.to(self.device, non_blocking=True) for name, value in batch.items()}
        self.optimizer.zero_grad(set_to_none=True)
        statistics = [buffer.clone() for buffer in task.model.buffers()]
        parts = self._backward(batch, step)
        norm = self._update(rate, parts)
        if not math.isfinite(norm):  # running statistics took the bad batch in already, and would never lose a NaN
            for buffer, before in zip(task.model.buffers(), statistics, strict=True):
                buffer.copy_(before)
        self._guard(step, norm, batch, parts)
        if self.shared is not None and config.picture_every and step % config.picture_every == 0 and ranks().leads:
            self.records.picture(step, self.shared.picture(batch))
        times = {"finish_s": finished - began, "step_s": time.perf_counter() - began}
        row = {"learning_rate": rate, "gradient_norm": norm, "skipped_steps": float(self.skipped)}
        return {"loss": parts.pop("loss"), **row, **parts, **times}

    def save(self, step: int) -> None:
        """Write a checkpoint after ``step`` steps."""
        if not ranks().leads:
            return
        state = {**(self.shared.state() if self.shared is not None else {}), **self.precision.state()}
        average = self.average.tensors if self.average is not None else None
        done = Progressed(step, self.task.steps, self.skipped, self.records.last, average, state)
        save_checkpoint(self.out, self.task.kind, self.task.config, self.task.model, self.optimizer, done)

    def _backward(self, batch: Batch, step: int) -> dict[str, float]:
        """Add up gradients, piece by piece where the batch is accumulated; return the mean loss and its parts."""
        count = self.config.accumulate
        sums: dict[str, Tensor] = {}
        for piece in _pieces(batch, count):
            with self.precision.autocast():
                loss, parts = self.task.loss(piece, step)
            self.precision.backward(loss / count)
            for name, value in {**parts, "loss": loss}.items():
                sums[name] = sums.get(name, torch.zeros((), device=self.device)) + value.detach().float() / count
        return mean_values(sums)

    def _update(self, rate: float, parts: Mapping[str, float]) -> float:
        """Take a step and return the gradient's norm; without a finite loss and norm the weights stay as they are."""
        model, optimizer = self.task.model, self.optimizer
        average_gradients(model)
        average_buffers(model)
        self.precision.unscale(optimizer)
        norm = float(nn.utils.clip_grad_norm_(model.parameters(), self.config.clip_norm or math.inf))
        finite = math.isfinite(norm) and math.isfinite(parts["loss"])
        for group in optimizer.param_groups:
            group["lr"] = rate
        self.precision.step(optimizer, finite)
        return norm if finite else math.nan

    def _guard(self, step: int, norm: float, batch: Batch, parts: Mapping[str, float]) -> None:
        """Count steps that went wrong, keep the first one's batch, give up after too many in a row."""
        if math.isfinite(norm):
            self.in_a_row, self.bad_file = 0, None
            if self.average is not None:
                self.average.update(self.task.model, step)
            return
        self.skipped += 1
        self.in_a_row += 1
        if self.bad_file is None:
            self.bad_file = self.records.bad_batch(step, batch, ranks().rank)
        if self.in_a_row >= self.config.max_bad_steps:
            raise ValueError(_diverged(step, self.in_a_row, parts, self.bad_file))

    def _resume(self) -> None:
        newest = newest_checkpoint(self.out)
        if newest is None:
            return
        found = read_checkpoint(newest, self.task.kind)
        ours = json.loads(json.dumps(dict(self.task.config)))
        changed = set(_differences(found.config, ours)) - FREE_SETTINGS
        if LEARNED_FROM in changed:
            changed.remove(LEARNED_FROM)
            if LEARNED_FROM in found.config:  # older checkpoints do not say
                changed.add("the clips or their labels")
        if changed or found.steps != self.task.steps:
            names = ", ".join(sorted(changed) or ["the number of steps"])
            raise ValueError(
                f"{self.out} was trained with other settings ({names}); give another --out or the old settings"
            )
        found.load_trained(self.task.model)
        found.load_optimizer(self.optimizer)
        state = found.state()
        self.precision.load(state)
        if self.shared is not None:
            self.shared.load_state(state)
        if self.average is not None:
            self.average.load(found.average())
        self.first, self.skipped = found.step, found.skipped_steps


def initialize(seed: int, build: Callable[[], Network]) -> Network:
    """Build a network with weights that hang on ``seed`` alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()


def choose_device(name: str) -> str:
    """Return the device called ``name``; "auto" takes a GPU where there is one."""
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError(f"--device {name} was asked for but this machine has no usable GPU; give --device cpu")
    return name


def run_training(
    task: Task | SharedTask,
    config: LoopConfig,
    out: Path,
    *,
    device: str = "cpu",
    stop_at: int | None = None,
    on_step: Callable[[int], None] | None = None,
) -> Checkpoint:
    """Train ``task`` into the folder ``out``, going on from its newest checkpoint; return the last one.

    ``stop_at`` ends the run early, as a kill would, but with a checkpoint. ``on_step`` gets the steps done.
    """
    with _deterministic(config.deterministic):
        run = _Run(task, config, out, device)
        last = min(task.steps, stop_at or task.steps)
        steps = range(run.first, last)
        loader = DataLoader(_Steps(task, config.seed), batch_size=None, sampler=steps, num_workers=config.workers)
        waiting = time.perf_counter()
        for step, batch in zip(steps, loader, strict=True):
            waited = time.perf_counter() - waiting
            with _memory_advice(step, config):
                row = run.step(step, batch)
            if step % config.log_every == 0 or step + 1 == last:
                run.records.scalars(step, {**row, "wait_s": waited})
            if (step + 1) % config.checkpoint_every == 0 or step + 1 == last:
                run.save(step + 1)
            if on_step is not None:
                on_step(step + 1)
            waiting = time.perf_counter()
        run.records.close()
    wait_for_all()  # the first process writes what all of them read
    return read_checkpoint(out, task.kind)


def _optimizer(model: nn.Module, config: LoopConfig) -> torch.optim.Optimizer:
    """Weight decay is kept from biases and norms, whose tensors have one axis."""
    decayed = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    rest = [parameter for parameter in model.parameters() if parameter.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": rest, "weight_decay": 0.0}]
    kind = torch.optim.Adam if config.optimizer == "adam" else torch.optim.AdamW
    return kind([group for group in groups if group["params"]], lr=config.learning_rate)


def _pieces(batch: Batch, count: int) -> list[Batch]:
    """Cut a batch into ``count`` equal pieces along its first axis."""
    if count == 1:
        return [batch]
    size = len(next(iter(batch.values())))
    if size % count:
        raise ValueError(f"{size} samples cannot be cut into loop.accumulate = {count} equal pieces; take a divisor")
    cut = {name: torch.split(value, size // count) for name, value in batch.items()}
    return [{name: pieces[index] for name, pieces in cut.items()} for index in range(count)]


@contextmanager
def _deterministic(wanted: bool) -> Iterator[None]:
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(wanted or before)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


@contextmanager
def _memory_advice(step: int, config: LoopConfig) -> Iterator[None]:
    try:
        yield
    except torch.OutOfMemoryError as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(
            f"the GPU's memory did not suffice for step {step} ({reason}); raise loop.accumulate (now "
            f"{config.accumulate}), set loop.precision=bf16 (now {config.precision}), or lower the images' size"
        ) from error


def _differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    names: list[str] = []
    for key in {*old, *new}:
        before, after = old.get(key), new.get(key)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            names += _differences(before, after, f"{prefix}{key}.")
        elif before != after:
            names.append(prefix + key)
    return names


def _diverged(step: int, count: int, parts: Mapping[str, float], kept: Path) -> str:
    values = ", ".join(f"{name} {value:.4g}" for name, value in parts.items() if name != "loss")
    return (
        f"training diverged: no finite loss or gradient in {count} steps up to step {step} ({values}); the first one's "
        f"batch is in {kept}; lower loop.learning_rate, or look at the clips' images and calibration"
    )
