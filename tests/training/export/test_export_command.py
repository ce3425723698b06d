from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import onnx
import pytest
from tests.training.export.micro import HEIGHT, WIDTH, micro_network

from videocups.cli import main
from videocups_core.bundle import read_bundle
from videocups_core.engine.onnx import OnnxConfig, OnnxEngine
from videocups_core.labels import classes_to_json
from videocups_core.standin import StandInWorld
from videocups_core.stream import Stream

QUICK = ["--set", "parity_frames=2", "--set", "loss_frames=4", "--set", "calibration_frames=3"]


def export(*arguments: Any) -> int:
    return main(["export", *map(str, arguments), *QUICK])


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_a_bundle_that_was_proven(
    precision: str, checkpoint: Path, clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "my model"
    limit = ["--set", "max_loss=60"]  # an untrained network has nothing to lose
    names = [replace(info, name=f"named {info.class_id}") for info in micro_network().classes.bundle_classes]
    labels = tmp_path / "labels.json"
    labels.write_text(json.dumps(classes_to_json(names)))
    given = ["--out", out, "--precision", precision, "--calibrate", clip, "--labels", labels]
    assert export(checkpoint.parent, *given, *limit) == 0
    printed = capsys.readouterr().out
    assert "passed" in printed
    bundle = read_bundle(out)
    assert bundle.model_id == "my model"
    assert list(bundle.classes) == names
    assert (bundle.input.height, bundle.input.width) == (HEIGHT, WIDTH)
    assert bundle.input.pad_rgb == (124, 116, 104)  # the mean that is taken off: padding is nothing to the network
    assert bundle.training_config["checkpoint"]["step"] == 7
    engine = OnnxEngine(bundle, OnnxConfig("cpu", threads=1))
    engine.load()
    expected = {"fp16": "fp32", "int8": "int8"}[precision]  # a CPU multiplies halves in fp32
    assert expected in engine.describe().precision
    frame = Stream(bundle, engine).step(StandInWorld().image_rgb(0), 0)
    assert frame.segment_ids.min() > 0
    report = json.loads((out / "export.json").read_text())
    assert report["passed"]
    assert report["onnx_bytes"] == bundle.onnx_path.stat().st_size
    assert report["static"]["unmatched"] == report["exported"]["unmatched"] == 0
    assert report["loss"]["against"] == f"the truth of {clip} (clips)"
    assert report["onnx_bytes"] < 0.8 * report["float_bytes"]
    assert (out / "export.txt").read_text() in printed
    picture = cv2.imread(str(out / "export.jpg"))
    assert picture.shape == (2 * (256 + 24), 512, 3)
    assert picture.std() > 20


@pytest.mark.usefixtures("traced")
def test_a_bundle_says_what_it_is(checkpoint: Path, tmp_path: Path) -> None:
    blind = ["--set", "merge.score_threshold=1.0"]
    assert export(checkpoint, "--out", tmp_path / "b", "--model-id", "town", *blind) == 0
    model = onnx.load(tmp_path / "b" / "model.onnx")
    assert json.loads((tmp_path / "b" / "export.json").read_text())["loss"] is None
    assert "torch shows no object in these frames; give clips" in (tmp_path / "b" / "export.txt").read_text()
    facts = {entry.key: entry.value for entry in model.metadata_props}
    assert facts["model_id"] == "town"
    assert facts["precision"] == "fp32"
    assert facts["input"].startswith(f"{HEIGHT}x{WIDTH} letterbox, uint8 RGB")
    assert facts["classes"].startswith("0:sky:stuff,1:building:stuff")
    assert "version_torch" in facts
    assert str(Path.cwd()) not in str(model.SerializeToString())  # no path of the machine that traced it


@pytest.mark.usefixtures("traced")
def test_float32_is_compared_behind_merge_and_tracker_too(checkpoint: Path, clip: Path, tmp_path: Path) -> None:
    assert export(checkpoint, "--out", tmp_path / "b", "--clips", clip) == 0
    loss = json.loads((tmp_path / "b" / "export.json").read_text())["loss"]
    assert loss["frames"] == 2  # those whose outputs are compared
    assert loss["reference"]["pq"] == pytest.approx(loss["other"]["pq"], abs=0.1)
    assert loss["reference"]["sq"] > 0
    assert "lost: 0.00 points of STQ (limit 1), 0.00 of PQ" in (tmp_path / "b" / "export.txt").read_text()


@pytest.mark.usefixtures("traced")
def test_too_great_a_loss_writes_nothing(
    checkpoint: Path, clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    limit = ["--set", "max_loss=0", "--set", "max_float_parts=0", "--truth", "none"]
    out = tmp_path / "b"
    assert export(checkpoint, "--out", out, "--precision", "int8", "--calibrate", clip, *limit) == 1
    error = capsys.readouterr().err
    assert "int8 costs" in error
    assert "nothing was written" in error
    assert not out.exists()


@pytest.mark.usefixtures("traced")
def test_a_graph_that_says_something_else_is_refused(
    checkpoint: Path, tmp_path: Path, graph: onnx.ModelProto, capsys: pytest.CaptureFixture[str]
) -> None:
    (last,) = (tensor for tensor in graph.graph.initializer if tensor.name.endswith("track_head.fc2.weight"))
    last.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(last)[::-1].copy(), last.name))
    assert export(checkpoint, "--out", tmp_path / "b") == 1
    assert "refused: ONNX Runtime: embeddings differ" in capsys.readouterr().err
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--precision", "int8"], "give clips with --calibrate"),
        (["--size", "60x128"], "multiples of 32"),
        (["--size", "big"], "must be HxW"),
        (["--set", "detections=-1"], "detections must be >= 0"),
        (["--set", "detection=1"], "did you mean"),
    ],
)
def test_bad_wishes_are_a_sentence(
    arguments: list[str], message: str, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export(checkpoint, "--out", tmp_path / "b", *arguments) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") <= 3
    assert not (tmp_path / "b").exists()
