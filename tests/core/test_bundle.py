from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from videocups_core.bundle import ModelBundle, read_bundle, write_bundle
from videocups_core.engine.base import InputSpec
from videocups_core.panoptic.merge import MergeConfig
from videocups_core.tracking import AssociationConfig, TrackerConfig


def edit(folder: Path, changes: dict) -> None:
    path = folder / "model.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_writes_and_reads_back_every_field(tmp_path: Path, three_classes: tuple) -> None:
    fields = {
        "model_id": "m",
        "classes": three_classes,
        "input": InputSpec(64, 96, "stretch", (1, 2, 3)),
        "merge": MergeConfig(score_threshold=0.3, max_detections=7),
        "tracker": TrackerConfig(2, 9, 300, 0.5, AssociationConfig(1, 0, 3, 0)),
        "color_seed": 5,
        "training_config": {"train": {"steps": 3, "names": ["a", None]}},
        "versions": {"torch": "2.13.0"},
    }
    written = write_bundle(tmp_path / "b", b"not really a graph", **fields)
    read = read_bundle(tmp_path / "b")
    assert read == written
    assert {name: getattr(read, name) for name in fields} == fields
    assert read.onnx_bytes() == b"not really a graph"


def test_a_changed_graph_is_refused(bundle_folder: Path) -> None:
    data = bytearray((bundle_folder / "model.onnx").read_bytes())
    data[len(data) // 2] ^= 1
    (bundle_folder / "model.onnx").write_bytes(data)
    with pytest.raises(ValueError, match=r"SHA-256.*damaged or was exchanged"):
        read_bundle(bundle_folder)


def test_a_graph_exchanged_after_reading_is_refused(bundle_folder: Path) -> None:
    bundle = read_bundle(bundle_folder)
    (bundle_folder / "model.onnx").write_bytes(b"other")
    with pytest.raises(ValueError, match="SHA-256"):
        bundle.onnx_bytes()


@pytest.mark.parametrize("name", ["model.onnx", "model.json"])
def test_a_missing_file_is_named(bundle_folder: Path, name: str) -> None:
    (bundle_folder / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"no {name}"):
        read_bundle(bundle_folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema_version": 2}, "schema_version 2, this program reads 1"),
        ({"schema_version": None}, "schema_version None"),
        ({"onnx_file": "../../../etc/passwd"}, "'onnx_file' is not a setting"),
        ({"folder": "/etc"}, "names a folder"),
        ({"model_id": ""}, "model_id is empty"),
        ({"model_id": 3}, "model_id must be a text"),
        ({"classes": []}, "no stuff class"),
        ({"classes": [{"class_id": 1, "name": "a", "is_thing": False, "color_rgb": [0, 0, 0]}]}, "must be 0, 1, 2"),
        ({"classes": [{"class_id": 0, "name": "a", "is_thing": True, "color_rgb": [0, 0, 0]}]}, "no stuff class"),
        ({"classes": [{"class_id": 0, "name": "a", "is_thing": False, "color_rgb": [0, 0, 300]}]}, "0..255"),
        ({"classes": [{"class_id": 0, "name": "a", "is_thing": "no", "color_rgb": [0, 0, 0]}]}, "true or false"),
        ({"input": {"height": 0, "width": 4}}, "at least 1×1"),
        ({"input": {"height": 4, "width": 4, "resize": "crop"}}, "'letterbox' or 'stretch'"),
        ({"input": {"height": 4, "width": 4, "depth": 3}}, "'input.depth' is not a setting"),
        ({"merge": {"score_threshold": 1.5}}, "score_threshold must be in 0..1"),
        ({"merge": {"max_detections": 251}}, "exceed 255 labels"),
        ({"tracker": {"coast_frames": 9, "memory_frames": 3}}, "coast_frames <= memory_frames"),
        ({"tracker": {"association": {"iou_weight": -1}}}, "iou_weight must be >= 0"),
    ],
)
def test_what_is_wrong_is_said_with_the_file_name(bundle_folder: Path, changes: dict, message: str) -> None:
    edit(bundle_folder, changes)
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        read_bundle(bundle_folder)
    assert "model.json" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("key", ["model_id", "classes", "input", "onnx_sha256"])
def test_a_missing_key_is_named(bundle_folder: Path, key: str) -> None:
    path = bundle_folder / "model.json"
    raw = json.loads(path.read_text())
    del raw[key]
    path.write_text(json.dumps(raw))
    with pytest.raises(ValueError, match=f"lacks {key}"):
        read_bundle(bundle_folder)


@pytest.mark.parametrize(("text", "message"), [("{", "no JSON"), ("[1]", "JSON object"), ("", "no JSON")])
def test_a_broken_description_is_refused(bundle_folder: Path, text: str, message: str) -> None:
    (bundle_folder / "model.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_bundle(bundle_folder)


def test_two_classes_of_one_name_are_refused(standin_bundle: ModelBundle) -> None:
    first = standin_bundle.classes[0]
    twin = type(first)(1, first.name, True, (0, 0, 0))
    with pytest.raises(ValueError, match="class names must differ"):
        ModelBundle(Path(), "m", (first, twin), InputSpec(4, 4), "0")


def test_the_committed_graph_is_what_the_builder_makes(standin_bundle: ModelBundle) -> None:
    pytest.importorskip("onnx", reason="the builder needs the onnx package, which only the training environment has")
    from videocups.standin.graph import build_standin_onnx

    assert build_standin_onnx(256, 512) == standin_bundle.onnx_bytes()
