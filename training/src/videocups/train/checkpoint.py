"""Checkpoints: a folder a step, with weights, optimizer state (both safetensors) and a table that says what they are.

run/
  step_0000400/model.safetensors       the network's weights and buffers
  step_0000400/optimizer.safetensors   what the optimizer remembers
  step_0000400/checkpoint.json         kind, step, settings, versions

A checkpoint appears whole or not at all: it is written beside and renamed.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

TABLE = "checkpoint.json"
MODEL = "model.safetensors"
OPTIMIZER = "optimizer.safetensors"
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

    def load_model(self, model: nn.Module) -> None:
        """Fill ``model``; every weight must be there and fit."""
        try:
            model.load_state_dict(load_file(self.folder / MODEL))
        except (RuntimeError, SafetensorError) as error:
            reason = " ".join(str(error).split())
            raise ValueError(f"{self.folder / MODEL} does not fit its settings or is damaged: {reason}") from error

    def load_optimizer(self, optimizer: torch.optim.Optimizer) -> None:
        """Give ``optimizer`` its memory back."""
        memory: dict[int, dict[str, Tensor]] = {}
        for name, value in load_file(self.folder / OPTIMIZER).items():
            index, key = name.split(".", 1)
            memory.setdefault(int(index), {})[key] = value
        optimizer.load_state_dict({"state": memory, "param_groups": optimizer.state_dict()["param_groups"]})


def save_checkpoint(
    run: Path,
    kind: str,
    step: int,
    steps: int,
    config: Mapping[str, Any],
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    skipped_steps: int = 0,
    keep: int = 2,
) -> Checkpoint:
    """Write the checkpoint of ``step`` steps done and remove all but the newest ``keep``."""
    target = run / f"step_{step:07d}"
    staging = run / f".{target.name}.{os.getpid()}.partial"
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    try:
        save_file({name: value.contiguous() for name, value in model.state_dict().items()}, staging / MODEL)
        save_file(_memory(optimizer), staging / OPTIMIZER)
        table = {
            "schema_version": SCHEMA_VERSION,
            "kind": kind,
            "step": step,
            "steps": steps,
            "skipped_steps": skipped_steps,
            "config": dict(config),
            "versions": {"torch": str(torch.__version__)},
        }
        (staging / TABLE).write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
        shutil.rmtree(target, ignore_errors=True)
        staging.rename(target)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    for old in _step_folders(run)[:-keep]:
        shutil.rmtree(old)
    return read_checkpoint(target)


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
            folder, table["kind"], table["step"], table["steps"], table["config"], table["skipped_steps"]
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
