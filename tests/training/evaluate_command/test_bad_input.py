"""What is wrong is said at once, in a sentence that names the file: no traceback, and no score of something else."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from videocups.cli import main

Content = dict[str, Any]


def run(world: Any, prediction: Path, *more: str) -> int:
    arguments = ["--prediction", str(prediction), "--truth", str(world.truth), "--dataset", "rendered"]
    return main(["evaluate", *arguments, *more])


def no_category(content: Content) -> None:
    del content["annotations"][3]["segments_info"][0]["category_id"]


def no_segments(content: Content) -> None:
    content["annotations"][3]["segments_info"] = None


def no_name(content: Content) -> None:
    del content["categories"][0]["name"]


def same_id(content: Content) -> None:
    content["categories"].append(content["categories"][0])


def no_kind(content: Content) -> None:
    for row in content["categories"]:
        del row["isthing"]


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (no_category, "annotation 3 needs 'segments_info'"),
        (no_segments, "annotation 3 needs 'segments_info'"),
        (no_name, "'id' of its own and a 'name'"),
        (same_id, "an id twice"),
        (no_kind, "add 'isthing' to every category"),  # else every class would be stuff, and things score 0
    ],
)
def test_a_panoptic_json_that_lacks_something(
    world: Any, capsys: pytest.CaptureFixture[str], spoil: Callable[[Content], None], sentence: str
) -> None:
    table = world.coco(world.root / "pred", named=True) / "pred.json"
    content = json.loads(table.read_text())
    spoil(content)
    table.write_text(json.dumps(content))
    assert run(world, table.parent) == 1
    assert sentence in capsys.readouterr().err


def test_segments_tell_the_kinds_that_categories_do_not(world: Any) -> None:
    table = world.coco(world.root / "pred", named=True) / "pred.json"
    content = json.loads(table.read_text())
    no_kind(content)
    for row in content["annotations"]:
        for segment in row["segments_info"]:
            segment["isthing"] = segment["category_id"] in world.things
    table.write_text(json.dumps(content))
    out = world.root / "result.json"
    assert run(world, table.parent, "--json", str(out)) == 0
    assert json.loads(out.read_text())["scores"]["stq"] == 1.0


@pytest.mark.parametrize("text", ['{"annotations": [', "[1, 2]", '{"annotations": [1]}'])
def test_coco_images_are_never_taken_for_step(world: Any, capsys: pytest.CaptureFixture[str], text: str) -> None:
    """Without its table, a segment's number would be read as a class and an id, and scored."""
    table = world.coco(world.root / "pred") / "pred.json"
    table.write_text(text)
    assert run(world, table.parent) == 1
    assert str(table) in capsys.readouterr().err


def test_step_beside_another_json_when_asked_for(world: Any) -> None:
    folder = world.step(world.root / "pred")
    (folder / "notes.json").write_text("{}")
    assert run(world, folder) == 1
    assert run(world, folder, "--format", "step") == 0


def test_sixteen_bit_colour_images_are_refused(world: Any, capsys: pytest.CaptureFixture[str]) -> None:
    path = world.step(world.root / "pred") / "south/000001.png"
    assert cv2.imwrite(str(path), cv2.imread(str(path)).astype(np.uint16) * 257)
    assert run(world, path.parent.parent) == 1
    assert "8-bit" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--json", "--html", "--save-mapping"])
def test_outputs_that_cannot_be_written_stop_before_the_work(
    world: Any, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    """The prediction does not even exist; the output is looked at first."""
    (world.root / "file").write_text("")
    for target in (world.root, world.root / "file" / "result"):
        assert run(world, world.root / "none", option, str(target)) == 1
        assert str(target) in capsys.readouterr().err


def test_a_mapping_file_that_is_not_there(world: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(world, world.root / "none", "--mapping", "mapping.json") == 1
    assert "there is no file mapping.json" in capsys.readouterr().err


def test_a_mapping_of_a_smaller_model(world: Any, capsys: pytest.CaptureFixture[str]) -> None:
    saved = world.root / "mapping.json"

    def without_classes(sequence: str, frame: int, class_map: Any, ids: Any) -> Any:
        return np.full_like(class_map, 0), np.zeros_like(ids)  # pseudo-class 3 alone

    small, large = world.step(world.root / "small", without_classes), world.step(world.root / "large")
    assert run(world, small, "--save-mapping", str(saved)) == 0
    assert run(world, large, "--mapping", str(saved)) == 1
    assert "is for 4 pseudo-classes, but the predictions use class 4" in capsys.readouterr().err


def test_an_empty_list_of_sequences(world: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run(world, world.step(world.root / "pred"), "--sequences", ",")
    assert "needs a list of names" in capsys.readouterr().err


def test_truth_without_a_labeled_pixel_is_said(world: Any, capsys: pytest.CaptureFixture[str]) -> None:
    for path in world.truth.rglob("class/*.png"):
        assert cv2.imwrite(str(path), np.full_like(cv2.imread(str(path), cv2.IMREAD_UNCHANGED), 255))
    assert run(world, world.step(world.root / "pred")) == 0
    assert "no labeled pixel" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "is no valid JSON"),
        ('{"classes": 5}', "'classes' must name each class id"),
        ('{"classes": ["road"]}', "'classes' must name each class id"),
        ('{"classes": {}}', "'classes' must name each class id"),
        ('{"classes": {"road": "0"}}', "'classes' must name each class id"),
        ('{"classes": {"0": "road"}, "thing_classes": [9]}', "'thing_classes' has [9]"),
    ],
)
def test_truth_that_does_not_name_its_classes(
    world: Any, capsys: pytest.CaptureFixture[str], text: str, sentence: str
) -> None:
    described = world.truth / "north/truth/truth.json"
    described.write_text(text)
    assert run(world, world.root / "none") == 1
    said = capsys.readouterr().err
    assert sentence in said
    assert str(described) in said


def test_a_truth_json_whose_frames_have_no_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = tmp_path / "panoptic_gt_val_city_vps.json"
    table.write_text('{"annotations": [{"segments_info": []}]}')
    arguments = ["--prediction", str(tmp_path), "--truth", str(tmp_path), "--dataset", "cityscapes-vps"]
    assert main(["evaluate", *arguments]) == 1
    assert "annotation 0 needs 'image_id' and 'file_name'" in capsys.readouterr().err


def test_an_empty_list_of_objects(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for sequence in ("0002", "0005", "0009", "0011"):
        path = tmp_path / "instances_txt" / f"{sequence}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text("")
    assert main(["evaluate", "--prediction", str(tmp_path), "--truth", str(tmp_path), "--dataset", "mots"]) == 1
    assert "0002.txt lists no object" in capsys.readouterr().err


def test_an_object_whose_size_is_a_word(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "instances_txt" / "0002.txt"
    path.parent.mkdir()
    path.write_text("1 1001 1 ten 10 abc\n")
    assert main(["evaluate", "--prediction", str(tmp_path), "--truth", str(tmp_path), "--dataset", "mots"]) == 1
    assert "0002.txt:1 is no object" in capsys.readouterr().err
