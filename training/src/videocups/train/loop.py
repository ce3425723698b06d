"""The training loop: what is learned is the task's; order, resuming, guarding and saving are here.

Everything random in a step hangs on the seed and the step's number, so a run that was killed goes on from its newest
checkpoint as if nothing had happened.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from videocups.train.checkpoint import Checkpoint, newest_checkpoint, read_checkpoint, save_checkpoint
from videocups.train.settings import LoopConfig

Batch = dict[str, Tensor]
Network = TypeVar("Network", bound=nn.Module)
METRICS = "metrics.jsonl"


class Task(Protocol):
    """What is learned: data, network and loss."""

    kind: str
    config: dict[str, Any]
    steps: int

    @property
    def model(self) -> nn.Module:
        """Return the network."""
        ...

    def batch(self, rng: np.random.Generator) -> Batch:
        """Draw a step's data, on the CPU."""
        ...

    def prepare(self, step: int) -> float:
        """Freeze and unfreeze for this step; return the factor on the learning rate."""
        ...

    def loss(self, batch: Batch, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss and its parts for the log."""
        ...


class _Steps(Dataset[Batch]):
    """The data of each step, as a function of its number."""

    def __init__(self, task: Task, seed: int) -> None:
        self.task, self.seed = task, seed

    def __getitem__(self, step: int) -> Batch:
        return self.task.batch(np.random.default_rng([self.seed, step]))


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
    task: Task,
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
    task.model.to(device)
    optimizer = _optimizer(task.model, config)
    first, skipped = _resume(task, optimizer, out)
    last = min(task.steps, stop_at or task.steps)
    steps = range(first, last)
    loader = DataLoader(_Steps(task, config.seed), batch_size=None, sampler=steps, num_workers=config.workers)
    out.mkdir(parents=True, exist_ok=True)
    _forget_metrics_after(out / METRICS, first)
    in_a_row = 0
    for step, batch in zip(steps, loader, strict=True):
        rate = config.learning_rate * task.prepare(step)
        # dropout and sampling on the device hang on the step as well
        torch.manual_seed(config.seed * 1_000_003 + step)
        batch = {name: value.to(device, non_blocking=True) for name, value in batch.items()}
        loss, parts = task.loss(batch, step)
        norm = _update(task.model, optimizer, loss, rate, config.clip_norm)
        bad = not math.isfinite(norm)
        in_a_row = in_a_row + 1 if bad else 0
        skipped += bad
        if in_a_row >= config.max_bad_steps:
            raise ValueError(_diverged(step, in_a_row, parts))
        if step % config.log_every == 0 or step + 1 == last:
            _write_metrics(out / METRICS, step, rate, norm, loss, parts, skipped)
        if (step + 1) % config.checkpoint_every == 0 or step + 1 == last:
            save_checkpoint(out, task.kind, step + 1, task.steps, task.config, task.model, optimizer, skipped)
        if on_step is not None:
            on_step(step + 1)
    return read_checkpoint(out, task.kind)


def _optimizer(model: nn.Module, config: LoopConfig) -> torch.optim.Optimizer:
    """Weight decay is kept from biases and norms, whose tensors have one axis."""
    decayed = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    rest = [parameter for parameter in model.parameters() if parameter.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": rest, "weight_decay": 0.0}]
    kind = torch.optim.Adam if config.optimizer == "adam" else torch.optim.AdamW
    return kind([group for group in groups if group["params"]], lr=config.learning_rate)


def _resume(task: Task, optimizer: torch.optim.Optimizer, out: Path) -> tuple[int, int]:
    newest = newest_checkpoint(out)
    if newest is None:
        return 0, 0
    found = read_checkpoint(newest, task.kind)
    ours = json.loads(json.dumps(dict(task.config)))
    if found.config != ours or found.steps != task.steps:
        changed = sorted(_differences(found.config, ours)) or ["the number of steps"]
        raise ValueError(
            f"{out} was trained with other settings ({', '.join(changed)}); give another --out or the old settings"
        )
    found.load_model(task.model)
    found.load_optimizer(optimizer)
    return found.step, found.skipped_steps


def _differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    names: list[str] = []
    for key in {*old, *new}:
        before, after = old.get(key), new.get(key)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            names += _differences(before, after, f"{prefix}{key}.")
        elif before != after:
            names.append(prefix + key)
    return names


def _update(model: nn.Module, optimizer: torch.optim.Optimizer, loss: Tensor, rate: float, clip_norm: float) -> float:
    """Take a step and return the gradient's norm; without a finite loss and norm the weights stay as they are."""
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    norm = float(nn.utils.clip_grad_norm_(model.parameters(), clip_norm or math.inf))
    if not math.isfinite(norm) or not math.isfinite(float(loss.detach())):
        return math.nan
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.step()
    return norm


def _diverged(step: int, count: int, parts: Mapping[str, Tensor]) -> str:
    values = ", ".join(f"{name} {float(value.detach()):.4g}" for name, value in parts.items())
    return (
        f"training diverged: no finite loss or gradient in {count} steps up to step {step} ({values}); "
        "lower loop.learning_rate, or look at the clips' images and calibration"
    )


def _write_metrics(
    path: Path, step: int, rate: float, norm: float, loss: Tensor, parts: Mapping[str, Tensor], skipped: int
) -> None:
    row = {
        "step": step,
        "loss": float(loss.detach()),
        "learning_rate": rate,
        "gradient_norm": norm,
        "skipped_steps": skipped,
    }
    row |= {name: float(value.detach()) for name, value in parts.items()}
    plain = {name: value if math.isfinite(value) else None for name, value in row.items()}
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(plain) + "\n")


def _forget_metrics_after(path: Path, step: int) -> None:
    """Drop the lines of steps that will be done again."""
    if path.is_file():
        kept = [line for line in path.read_text(encoding="utf-8").splitlines() if json.loads(line)["step"] < step]
        path.write_text("".join(line + "\n" for line in kept), encoding="utf-8")
