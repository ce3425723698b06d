"""Imported weights as a checkpoint folder that training, prediction and export read."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import torch

from videocups import __version__
from videocups.model.imports.convert import Imported
from videocups.model.load import KIND
from videocups.train.checkpoint import MODEL, SCHEMA_VERSION, TABLE, Checkpoint, read_checkpoint, save_tensors
from videocups_core.config import to_mapping

BACKBONE = "backbone"
REPORT = "import_report.txt"


def write_imported(imported: Imported, folder: Path, source: dict[str, Any]) -> Checkpoint:
    """Write the checkpoint, whole or not at all; ``source`` says where it came from."""
    if folder.exists():
        raise FileExistsError(f"{folder} is there already; remove it or give another --out")
    staging = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    config: dict[str, Any] = {"model": to_mapping(imported.config), "source": source}
    if imported.classes is not None:
        config["classes"] = imported.classes.to_mapping()
    table = {
        "schema_version": SCHEMA_VERSION,
        "kind": BACKBONE if imported.classes is None else KIND,
        "step": 0,
        "steps": 0,
        "skipped_steps": 0,
        "config": config,
        "versions": {"videocups": __version__, "torch": str(torch.__version__)},
    }
    try:
        save_tensors(imported.state, staging / MODEL)
        (staging / TABLE).write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
        (staging / REPORT).write_text("\n".join(imported.report.lines()) + "\n", encoding="utf-8")
        staging.rename(folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return read_checkpoint(folder)
