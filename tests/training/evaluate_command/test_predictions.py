"""How predictions are found: by name, by sequence and name, or by place in the recording."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from videocups.evaluate.datasets import Frame, Sequence
from videocups.evaluate.predictions import open_predictions
from videocups_core.panoptic.storage import PanopticClipWriter
from videocups_core.types import ClassInfo, PanopticFrame, Segment

CLASSES = (ClassInfo(0, "class_00", False, (1, 2, 3)), ClassInfo(1, "class_01", True, (4, 5, 6)))


def write_clip(folder: Path, frames: int, classes: tuple[ClassInfo, ...] = CLASSES) -> None:
    """Frame n holds track n + 1, so that a frame shows which one it is."""
    with PanopticClipWriter(folder, classes) as writer:
        for index in range(frames):
            rows = (Segment(7, 1, True, track_id=index + 1),)
            writer.append(PanopticFrame(index, np.full((2, 3), 7, np.uint16), rows))


def write_step(path: Path, class_id: int, object_id: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.full((2, 3, 3), (object_id % 256, object_id // 256, class_id), np.uint8))


def sequence(key: str, names: list[str], indices: list[int | None]) -> Sequence:
    return Sequence(key, tuple(Frame(name, index) for name, index in zip(names, indices, strict=True)))


def track(predictions: object, of: Sequence, frame: int) -> int:
    place = predictions.locate(of, of.frames[frame])
    assert place is not None
    return int(predictions.read(place)[1].max())


def test_six_labeled_of_thirty_frames_by_place(tmp_path: Path) -> None:
    write_clip(tmp_path / "0005", 30)
    labeled = sequence("0005", [f"0005_{n}" for n in range(0, 30, 5)], list(range(0, 30, 5)))
    predictions = open_predictions(tmp_path, [labeled])
    assert predictions.format == "clip"
    assert [track(predictions, labeled, n) for n in range(6)] == [1, 6, 11, 16, 21, 26]
    assert predictions.count() == 30


def test_the_labeled_frame_of_a_cityscapes_clip(tmp_path: Path) -> None:
    """A clip may hold all 30 frames, the 20th being labeled, or that one alone."""
    labeled = [sequence(key, [key], [19]) for key in ("ulm_000000_000019", "ulm_000001_000019")]
    write_clip(tmp_path / "ulm_000000_000019", 30)
    write_clip(tmp_path / "ulm_000001_000019", 1)
    predictions = open_predictions(tmp_path, labeled)
    assert [track(predictions, one, 0) for one in labeled] == [20, 1]


def test_a_clip_too_short_lacks_frames(tmp_path: Path) -> None:
    write_clip(tmp_path / "0005", 10)
    labeled = sequence("0005", ["a", "b"], [5, 10])
    predictions = open_predictions(tmp_path, [labeled])
    assert predictions.locate(labeled, labeled.frames[0]) is not None
    assert predictions.locate(labeled, labeled.frames[1]) is None


def test_unknown_places_need_the_same_length(tmp_path: Path) -> None:
    write_clip(tmp_path / "0005", 3)
    labeled = sequence("0005", ["a", "b", "c"], [None, None, None])
    predictions = open_predictions(tmp_path, [labeled])
    assert [track(predictions, labeled, n) for n in range(3)] == [1, 2, 3]
    shorter = sequence("0005", ["a", "b"], [None, None])
    with pytest.raises(ValueError, match="does not tell where these lie"):
        predictions.locate(shorter, shorter.frames[0])


def test_a_single_clip_serves_a_single_sequence_whatever_its_name(tmp_path: Path) -> None:
    write_clip(tmp_path / "my_run", 2)
    only, other = sequence("0005", ["a", "b"], [0, 1]), sequence("0006", ["a", "b"], [0, 1])
    assert track(open_predictions(tmp_path / "my_run", [only]), only, 1) == 2
    assert open_predictions(tmp_path, [only, other]).locate(only, only.frames[0]) is None


def test_of_two_clips_of_one_name_the_one_at_the_sequences_place_is_taken_or_none(tmp_path: Path) -> None:
    for place, length in (("north/0005", 2), ("south/0005", 3)):
        write_clip(tmp_path / place, length)
    below = sequence("south/0005", ["a", "b", "c"], [0, 1, 2])
    assert track(open_predictions(tmp_path, [below]), below, 2) == 3
    bare = sequence("0005", ["a"], [0])
    with pytest.raises(ValueError, match="may both be the prediction of 0005; give the folder of one of them"):
        open_predictions(tmp_path, [bare]).locate(bare, bare.frames[0])


def test_clips_of_different_models_are_refused(tmp_path: Path) -> None:
    write_clip(tmp_path / "a", 1)
    write_clip(tmp_path / "b", 1, (*CLASSES, ClassInfo(2, "class_02", True, (7, 8, 9))))
    with pytest.raises(ValueError, match="different classes"):
        _ = open_predictions(tmp_path, []).classes


def test_frame_names_shared_by_sequences_need_the_sequence(tmp_path: Path) -> None:
    both = [sequence("0002", ["000000"], [0]), sequence("0006", ["000000"], [0])]
    write_step(tmp_path / "0002/000000.png", 1, 2)
    write_step(tmp_path / "0006/000000.png", 1, 6)
    predictions = open_predictions(tmp_path, both)
    assert [track(predictions, one, 0) & 0xFFFF for one in both] == [2, 6]
    (tmp_path / "0006/000000.png").unlink()
    assert open_predictions(tmp_path, both).locate(both[1], both[1].frames[0]) is None


def test_the_same_step_number_in_two_classes_is_two_objects(tmp_path: Path) -> None:
    one = sequence("a", ["a"], [None])
    ids = set()
    for class_id in (11, 13):
        write_step(tmp_path / "a.png", class_id, 300)
        ids.add(track(open_predictions(tmp_path, [one]), one, 0))
    assert len(ids) == 2


@pytest.mark.parametrize("image_id", ["000000", "0002/000000", "0002_000000"])
def test_coco_image_ids(tmp_path: Path, image_id: str) -> None:
    write_step(tmp_path / "segments/x.png", 70_000 % 256, 0)
    ids = np.full((2, 3), 70_000)
    assert cv2.imwrite(
        str(tmp_path / "segments/x.png"), np.dstack([ids >> 16, ids >> 8 & 255, ids & 255]).astype(np.uint8)
    )
    rows = [{"id": 70_000, "category_id": 13}]
    content = {"annotations": [{"image_id": image_id, "file_name": "x.png", "segments_info": rows}]}
    (tmp_path / "pred.json").write_text(json.dumps(content))
    one = sequence("0002", ["000000"], [0])
    predictions = open_predictions(tmp_path, [one])
    assert predictions.format == "coco"
    assert track(predictions, one, 0) == 70_000


def test_a_coco_png_that_is_missing_is_a_missing_frame(tmp_path: Path) -> None:
    content = {"annotations": [{"image_id": "a", "file_name": "a.png", "segments_info": []}]}
    (tmp_path / "pred.json").write_text(json.dumps(content))
    one = sequence("a", ["a"], [None])
    assert open_predictions(tmp_path, [one]).locate(one, one.frames[0]) is None


def test_two_panoptic_jsons_are_ambiguous(tmp_path: Path) -> None:
    content = {"annotations": [{"image_id": "a", "file_name": "a.png", "segments_info": []}]}
    for name in ("one.json", "two.json"):
        (tmp_path / name).write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"several panoptic JSONs \(one.json, two.json\)"):
        open_predictions(tmp_path, [])
    assert open_predictions(tmp_path / "one.json", []).format == "coco"


def test_a_format_that_is_not_there(tmp_path: Path) -> None:
    write_clip(tmp_path / "a", 1)
    with pytest.raises(ValueError, match="holds no coco predictions"):
        open_predictions(tmp_path, [], "coco")
