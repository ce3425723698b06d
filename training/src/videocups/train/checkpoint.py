"""Checkpoints: a folder a step, with weights, optimizer state (both safetensors) and a table that says what they are.

run/
  step_0000400/model.safetensors       the network's weights and buffers
  step_0000400/average.safetensors     their running average, where one is kept: what a network is used with
  step_0000400/optimizer.safetensors   what the optimizer remembers
  step_0000400/state.safetensors       what task and loop remember beyond that
  step_0000400/checkpoint.json         kind, step, settings, classes, metrics, versions

A checkpoint appears whole or not at all: it is written beside and renamed.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from videocups import __version__
from videocups.clips.store import flush_to_disk

TABLE = "checkpoint.json"
MODEL = "model.safetensors"
OPTIMIZER = "optimizer.safetensors"
AVERAGE = "average.safetensors"
STATE = "state.safetensors"
SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint on disk: its folder and what its table says."""

    folder: Path
    kind: str
    step: int
    steps: int
    config: dict[str, Any]
    skipped_steps: int
    metrics: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)

    def load_model(self, model: nn.Module) -> None:
        """Fill ``model`` for use, with the running average where one was kept; every weight must be there and fit."""
        self._fill(model, AVERAGE if (self.folder / AVERAGE).is_file() else MODEL)

    def load_trained(self, model: nn.Module) -> None:
        """Fill ``model`` with the weights that training goes on with."""
        self._fill(model, MODEL)

    def average(self) -> dict[str, Tensor]:
        """Return the running average of the weights."""
        return load_file(self.folder / AVERAGE)

    def state(self) -> dict[str, Tensor]:
        """Return what task and loop remember; empty where they remember nothing."""
        path = self.folder / STATE
        return load_file(path) if path.is_file() else {}

    def load_optimizer(self, optimizer: torch.optim.Optimizer) -> None:
        """Give ``optimizer`` its memory back."""
        memory: dict[int, dict[str, Tensor]] = {}
        for name, value in load_file(self.folder / OPTIMIZER).items():
            index, key = name.split(".", 1)
            memory.setdefault(int(index), {})[key] = value
        optimizer.load_state_dict({"state": memory, "param_groups": optimizer.state_dict()["param_groups"]})

    def _fill(self, model: nn.Module, name: str) -> None:
        try:
            model.load_state_dict(load_file(self.folder / name))
        except (RuntimeError, SafetensorError) as error:
            reason = " ".join(str(error).split())
            raise ValueError(f"{self.folder / name} does not fit its settings or is damaged: {reason}") from error


@dataclass(frozen=True)
class Progressed:
    """What a checkpoint's table says of a run so far, and what is remembered beside weights and optimizer."""

    step: int
    steps: int
    skipped_steps: int = 0
    metrics: Mapping[str, Any] = field(default_factory=dict)
    average: Mapping[str, Tensor] | None = None
    state: Mapping[str, Tensor] = field(default_factory=dict)


def save_checkpoint(
    run: Path,
    kind: str,
    config: Mapping[str, Any],
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    done: Progressed,
    keep: int = 2,
) -> Checkpoint:
    """Write a checkpoint and remove all but the newest ``keep``."""
    target = run / f"step_{done.step:07d}"
    staging = run / f".{target.name}.{os.getpid()}.partial"
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    try:
        save_tensors(model.state_dict(), staging / MODEL)
        save_tensors(_memory(optimizer), staging / OPTIMIZER)
        if done.average is not None:
            save_tensors(done.average, staging / AVERAGE)
        if done.state:
            save_tensors(done.state, staging / STATE)
        table = {
            "schema_version": SCHEMA_VERSION,
            "kind": kind,
            "step": done.step,
            "steps": done.steps,
            "skipped_steps": done.skipped_steps,
            "config": dict(config),
            "metrics": dict(done.metrics),
            "versions": {"videocups": __version__, "git": _revision(), "torch": str(torch.__version__)},
        }
        (staging / TABLE).write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
        for file in (*staging.iterdir(), staging):
            flush_to_disk(file)  # a name that outlives a power cut must not stand for files that did not
        shutil.rmtree(target, ignore_errors=True)
        staging.rename(target)
        flush_to_disk(run)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    for old in _step_folders(run)[:-keep]:
        shutil.rmtree(old)
    return read_checkpoint(target)


def save_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write named tensors; those that share memory are written each on its own."""
    save_file({name: value.detach().cpu().clone().contiguous() for name, value in tensors.items()}, path)


def read_checkpoint(path: Path | str, kind: str | None = None) -> Checkpoint:
    """Open a checkpoint: its folder, or the folder of a run, which means its newest one."""
    folder = Path(path)
    if not (folder / TABLE).is_file():
        newest = newest_checkpoint(folder)
        if newest is None:
            raise FileNotFoundError(f"{folder} holds no checkpoint ({TABLE}); train one with 'videocups train'")
        folder = newest
    try:
        table = json.loads((folder / TABLE).read_text(encoding="utf-8"))
        if table["schema_version"] != SCHEMA_VERSION:
            raise ValueError(f"it has schema_version {table['schema_version']}, this program reads {SCHEMA_VERSION}")
        found = Checkpoint(
            folder,
            table["kind"],
            table["step"],
            table["steps"],
            table["config"],
            table["skipped_steps"],
            table.get("metrics", {}),
            table.get("versions", {}),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{folder / TABLE} cannot be used: {error}; train again") from error
    if kind is not None and found.kind != kind:
        raise ValueError(f"{folder} is a checkpoint of {found.kind!r}, but {kind!r} is needed; give another one")
    return found


def newest_checkpoint(run: Path) -> Path | None:
    """Return the folder of the newest checkpoint of a run, None where there is none."""
    folders = _step_folders(run)
    return folders[-1] if folders else None


def _step_folders(run: Path) -> list[Path]:
    return sorted(folder for folder in run.glob("step_*") if (folder / TABLE).is_file())


def _memory(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    flat: dict[str, Tensor] = {}
    for index, memory in optimizer.state_dict()["state"].items():
        for key, value in memory.items():
            flat[f"{index}.{key}"] = torch.as_tensor(value).contiguous()
    return flat


def _revision() -> str:
    """Return the commit of the checkout this package runs from, "unknown" where it was installed otherwise."""
    here = Path(__file__).resolve().parent
    try:
        asked = subprocess.run(
            ["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=12", "--match", ""],
            capture_output=True,
            text=True,
            check=False,
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return asked.stdout.strip() if asked.returncode == 0 else "unknown"
