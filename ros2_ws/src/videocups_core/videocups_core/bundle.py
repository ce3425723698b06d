"""A model on disk: one folder with ``model.onnx`` and ``model.json``, checked before anything runs (docs/bundle.md)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from videocups_core.clip import write_atomically
from videocups_core.config import from_mapping, to_mapping
from videocups_core.engine.base import InputSpec
from videocups_core.panoptic.merge import MergeConfig, MergeTable
from videocups_core.tracking import TrackerConfig
from videocups_core.types import ClassInfo

MODEL_FILE = "model.onnx"
INFO_FILE = "model.json"
SCHEMA_VERSION = 1


@dataclass(frozen=True)
class ModelBundle:
    """The content of ``model.json`` and where it lies.

    ``classes``: ids 0..n−1 without gaps, in order. ``color_seed``: seeds the colours of tracks in overlays.
    ``training_config``: the resolved configuration the model was trained with. ``versions``: of what made it.
    """

    folder: Path
    model_id: str
    classes: tuple[ClassInfo, ...]
    input: InputSpec
    onnx_sha256: str
    merge: MergeConfig = field(default_factory=MergeConfig)
    tracker: TrackerConfig = field(default_factory=TrackerConfig)
    color_seed: int = 0
    training_config: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    schema_version: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        if not self.model_id:
            raise ValueError("model_id is empty; name the model")
        ids = [info.class_id for info in self.classes]
        if ids != list(range(len(ids))):
            raise ValueError(f"class ids must be 0, 1, 2, … in order, got {ids}")
        names = [info.name for info in self.classes]
        if len(set(names)) != len(names):
            raise ValueError(f"class names must differ, got {names}")
        MergeTable.from_classes(self.classes).check(self.merge)

    @property
    def onnx_path(self) -> Path:
        """Where the graph lies; the name is fixed, so no bundle can point outside of its folder."""
        return self.folder / MODEL_FILE

    def onnx_bytes(self) -> bytes:
        """Read the graph and check its hash, so that what runs is what was checked."""
        if not self.onnx_path.is_file():
            raise FileNotFoundError(f"bundle {self.folder} has no {MODEL_FILE}; copy the whole folder")
        data = self.onnx_path.read_bytes()
        found = hashlib.sha256(data).hexdigest()
        if found != self.onnx_sha256:
            raise ValueError(
                f"{self.onnx_path} has SHA-256 {found[:12]}…, its {INFO_FILE} says {self.onnx_sha256[:12]}…; "
                "the file is damaged or was exchanged, copy the bundle again"
            )
        return data


def read_bundle(folder: Path | str) -> ModelBundle:
    """Read and check a bundle; whatever is wrong with it is said in one sentence."""
    root = Path(folder)
    path = root / INFO_FILE
    if not path.is_file():
        raise FileNotFoundError(f"{root} is no model bundle: it has no {INFO_FILE}; export one with 'videocups export'")
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is no JSON ({error}); copy the bundle again") from error
    if not isinstance(raw, dict):
        raise ValueError(f"{path} must hold a JSON object, it holds a {type(raw).__name__}")
    version = raw.pop("schema_version", None)
    if version != SCHEMA_VERSION:
        raise ValueError(f"{path} has schema_version {version}, this program reads {SCHEMA_VERSION}; export it again")
    if missing := [key for key in ("model_id", "classes", "input", "onnx_sha256") if key not in raw]:
        raise ValueError(f"{path} lacks {', '.join(missing)}; export the bundle again")
    if "folder" in raw:
        raise ValueError(f"{path} names a folder; a bundle lies where it lies, take the key out")
    bundle = from_mapping(ModelBundle, {**raw, "folder": root}, str(path))
    bundle.onnx_bytes()
    return bundle


def write_bundle(folder: Path | str, onnx: bytes, **fields: Any) -> ModelBundle:
    """Write ``model.onnx`` and then ``model.json``; ``fields`` are those of ModelBundle but folder and hash."""
    root = Path(folder)
    bundle = ModelBundle(folder=root, onnx_sha256=hashlib.sha256(onnx).hexdigest(), **fields)
    info = to_mapping(bundle)
    del info["folder"]
    write_atomically(root / MODEL_FILE, onnx)
    write_atomically(root / INFO_FILE, (json.dumps(info, indent=1) + "\n").encode())
    return bundle
