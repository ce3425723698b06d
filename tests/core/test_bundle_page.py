"""The page about bundles says what the code does: its example runs, its tables name what there is."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from types import CodeType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from videocups_core.bundle import ModelBundle
from videocups_core.engine.base import OPTIONAL_OUTPUTS, REQUIRED_OUTPUTS, RawOutputs
from videocups_core.panoptic.merge import MergeConfig, MergeTable, merge_panoptic
from videocups_core.standin import StandInWorld
from videocups_core.tracking import TrackerConfig
from videocups_core.types import ClassInfo

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "bundle.md").read_text()


@pytest.fixture
def examples(monkeypatch: pytest.MonkeyPatch) -> tuple[CodeType, CodeType]:
    """The example without core, and the one with it."""
    pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed here")
    monkeypatch.chdir(ROOT)
    without_core, with_core = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert "videocups" not in without_core
    return compile(without_core, "docs/bundle.md", "exec"), compile(with_core, "docs/bundle.md", "exec")


def test_the_example_runs(examples: tuple[CodeType, CodeType]) -> None:
    exec(examples[1], {})


def test_numpy_alone_pastes_what_core_pastes(examples: tuple[CodeType, CodeType], standin_bundle: ModelBundle) -> None:
    image = StandInWorld().image_rgb(3)[None]
    told: dict[str, Any] = {"image": image}
    exec(examples[0], told)
    raw = RawOutputs.from_mapping(told["found"])
    table = MergeTable.from_classes(standin_bundle.classes)
    merged = merge_panoptic(raw, table, standin_bundle.merge, image.shape[1:3])
    things = np.where(merged.labels >= table.first_thing_label, merged.labels, 0)
    assert len(merged) >= 5
    for rank, row in enumerate(merged.source):
        np.testing.assert_array_equal(told["objects"] == row + 1, things == table.first_thing_label + rank)
    np.testing.assert_array_equal(told["classes"][things == 0], raw.semantic[things == 0])
    assert set(np.unique(told["classes"][things > 0])) == set(raw.classes[merged.source].tolist())


def test_an_outline_is_where_cores_is(examples: tuple[CodeType, CodeType], monkeypatch: pytest.MonkeyPatch) -> None:
    """A disc in a box of 40×40 px whose corners are no whole pixels, at half of the class map's stride."""
    import onnxruntime

    y, x = np.mgrid[:28, :28] - 13.5
    disc = np.where(np.hypot(x, y) < 12, 255, 0).astype(np.uint8)
    outputs = {
        "semantic": np.full((32, 64), 1, np.uint8),
        "masks": np.stack([disc, disc]),
        "boxes": np.array([[10.4, 5.6, 50.4, 45.6], [0, 0, 0, 0]], np.float32),
        "scores": np.array([0.9, 0], np.float32),
        "classes": np.array([5, 0]),
    }

    class Session:
        """Stands in for a network that sees this disc."""

        def __init__(self, path: str, providers: list[str]) -> None:
            assert Path(path).is_file()

        def get_outputs(self) -> list[Any]:
            return [SimpleNamespace(name=name) for name in outputs]

        def run(self, names: list[str], feed: dict[str, Any]) -> list[Any]:
            return [outputs[name] for name in names]

    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    told: dict[str, Any] = {"image": np.zeros((1, 64, 128, 3), np.uint8)}
    exec(examples[0], told)
    raw = RawOutputs.from_mapping({**outputs, "embeddings": np.zeros((2, 4), np.float32)})
    classes = (ClassInfo(1, "road", False, (0, 0, 0)), ClassInfo(5, "car", True, (9, 9, 9)))
    labels = merge_panoptic(raw, MergeTable.from_classes(classes), MergeConfig(), (64, 128)).labels
    ours, theirs = told["objects"] == 1, labels == 2
    assert (ours & theirs).sum() / (ours | theirs).sum() > 0.97
    assert told["objects"].max() == 1
    assert set(np.unique(told["classes"])) == {1, 5}


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
