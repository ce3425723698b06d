"""The page about bundles says what the code does: its example runs, its tables name what there is."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from videocups_core.bundle import ModelBundle
from videocups_core.engine.base import OPTIONAL_OUTPUTS, REQUIRED_OUTPUTS
from videocups_core.panoptic.merge import MergeConfig
from videocups_core.tracking import TrackerConfig

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "bundle.md").read_text()


def test_the_example_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed here")
    monkeypatch.chdir(ROOT)
    (example,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(compile(example, "docs/bundle.md", "exec"), {})


def test_every_key_has_its_row() -> None:
    documented = set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE))
    assert {field.name for field in fields(ModelBundle)} - {"folder"} <= documented
    for config in (MergeConfig, TrackerConfig):
        for field in fields(config):
            assert f"`{field.name}`" in PAGE


def test_every_output_has_its_row() -> None:
    table = PAGE.split("## The graph's contract")[1].split("###")[0]
    rows = re.findall(r"^\| `(\w+)`(?: \((?:input|optional)\))? \|", table, re.MULTILINE)
    assert rows == ["image", *REQUIRED_OUTPUTS, *OPTIONAL_OUTPUTS]
