"""``videocups evaluate`` from end to end, on a world small enough to know the answer."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from videocups.cli import main
from videocups.evaluate import pq, stq, vpq
from videocups.evaluate.datasets import open_dataset


def run(world: Any, prediction: Path, *more: str, dataset: str = "rendered") -> tuple[int, dict[str, Any]]:
    out = world.root / "result.json"
    arguments = ["--prediction", str(prediction), "--truth", str(world.truth), "--dataset", dataset, "--json", str(out)]
    status = main(["evaluate", *arguments, *more])
    return status, json.loads(out.read_text()) if out.exists() else {}


@pytest.mark.parametrize("form", ["step", "coco", "clips"])
def test_permuted_truth_scores_one(world: Any, form: str) -> None:
    prediction = getattr(world, form)(world.root / "pred")
    status, result = run(world, prediction, "--mapping", "auto")
    assert status == 0
    assert result["prediction"]["format"] == {"step": "step", "coco": "coco", "clips": "clip"}[form]
    assert result["scores"]["stq"] == 1.0
    assert result["scores"]["vpq"] == 1.0
    assert result["scores"]["pq"] == 1.0
    assert result["dataset"]["classes"] == ["sky", "road", "car", "pedestrian"]  # markings are road
    targets = {row["pseudo"]: row["target"] for row in result["mapping"]["rows"]}
    assert {pseudo: targets[pseudo] for pseudo in (3, 6, 0, 1, 4)} == {3: 0, 6: 1, 0: 1, 1: 2, 4: 3}
    assert result["diagnostics"]["tracking"]["id_switches"] == 0
    assert result["diagnostics"]["tracking"]["tubes"] == 6


@pytest.mark.parametrize("form", ["step", "coco", "clips"])
def test_a_damaged_prediction_scores_what_the_python_entry_points_say(world: Any, damage: Any, form: str) -> None:
    prediction = getattr(world, form)(world.root / "pred", damage)
    status, result = run(world, prediction)
    assert status == 0
    class_of = {3: 0, 6: 1, 0: 1, 1: 2, 4: 3}
    dataset = open_dataset("rendered", world.truth)
    videos = []
    for sequence in dataset.sequences():
        video = []
        for index, frame in enumerate(sequence.frames):
            pseudo, ids = world.predicted(sequence.key, index, damage)
            video.append((np.vectorize(class_of.__getitem__)(pseudo), ids, *dataset.truth(sequence, frame)))
        videos.append(video)
    space: dict[str, Any] = {"things": (2, 3), "num_classes": 4}
    expected = stq(videos, **space)
    assert 0.3 < expected.stq < 0.95
    assert result["scores"]["stq"] == pytest.approx(expected.stq, abs=1e-12)
    assert result["scores"]["aq"] == pytest.approx(expected.aq, abs=1e-12)
    assert result["scores"]["sq"] == pytest.approx(expected.sq, abs=1e-12)
    assert result["scores"]["pq"] == pytest.approx(pq(videos, **space).pq, abs=1e-12)
    assert result["scores"]["vpq"] == pytest.approx(vpq(videos, **space).vpq, abs=1e-12)
    assert result["confusion"]["pixels"] == expected.confusion.tolist()
    worst = min(result["per_sequence"], key=lambda row: row["stq"])
    assert worst["key"] == "south"
    assert result["diagnostics"]["tracking"]["id_switches"] == 2


def test_two_processes_give_the_same_numbers(world: Any, damage: Any) -> None:
    prediction = world.step(world.root / "pred", damage)
    _, alone = run(world, prediction, "--workers", "1")
    _, together = run(world, prediction, "--workers", "2")
    for result in (alone, together):
        del result["created_utc"]
    assert alone == together


def test_the_result_tells_where_it_came_from(world: Any) -> None:
    _, result = run(world, world.step(world.root / "pred"))
    assert result["format"] == "videocups.evaluation/1"
    assert set(result["versions"]) == {"videocups", "videocups_core", "python", "numpy", "opencv"}
    assert len(result["mapping"]["fingerprint"]) == 16
    assert {row["name"]: row["true_px"] for row in result["per_class"]}["pedestrian"] == 2 * 4 * 21
    assert result["dataset"]["frames"] == 8


def test_identity_by_name(world: Any, damage: Any) -> None:
    status, result = run(world, world.coco(world.root / "pred", damage, named=True), "--mapping", "identity")
    assert status == 0
    assert {row["method"] for row in result["mapping"]["rows"]} == {"identity", "none"}
    _, automatic = run(world, world.root / "pred", "--mapping", "auto")
    assert result["scores"] == automatic["scores"]


def test_identity_by_number_uses_the_truths_own_numbers(world: Any) -> None:
    from dataclasses import replace

    same = replace(world, pseudo_of={c: c for c in range(5)})
    status, result = run(world, same.step(world.root / "pred"), "--mapping", "identity")
    assert (status, result["scores"]["stq"]) == (0, 1.0)


def test_identity_refuses_pseudo_classes(world: Any, capsys: pytest.CaptureFixture[str]) -> None:
    status, _ = run(world, world.step(world.root / "pred"), "--mapping", "identity")
    assert status == 1
    assert "predicted class 6 is no class of rendered" in capsys.readouterr().err


def test_coco_without_kinds_cannot_be_matched(world: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(world, world.coco(world.root / "pred", kinds=False))[0] == 1
    assert "add 'isthing' to every category" in capsys.readouterr().err


def test_a_saved_mapping_is_used_again(world: Any, damage: Any) -> None:
    prediction, file = world.step(world.root / "pred"), world.root / "mapping.json"
    _, first = run(world, prediction, "--save-mapping", str(file))
    _, second = run(world, world.step(world.root / "other", damage), "--mapping", str(file))
    assert second["mapping"]["fingerprint"] == first["mapping"]["fingerprint"]
    assert second["mapping"]["mode"] == str(file)
    assert second["scores"]["stq"] < 1.0


def test_a_mapping_for_other_classes_is_refused(world: Any, capsys: pytest.CaptureFixture[str]) -> None:
    prediction, file = world.step(world.root / "pred"), world.root / "mapping.json"
    run(world, prediction, "--save-mapping", str(file))
    truth = world.truth / "north/truth/truth.json"
    for path in (truth, world.truth / "south/truth/truth.json"):
        path.write_text(path.read_text().replace("sky", "heaven"))
    assert run(world, prediction, "--mapping", str(file))[0] == 1
    assert "is for the classes sky, road, car, pedestrian" in capsys.readouterr().err


def test_missing_frames_are_named_and_fail(world: Any, capsys: pytest.CaptureFixture[str]) -> None:
    prediction = world.step(world.root / "pred")
    for frame in (1, 2):
        (prediction / f"south/00000{frame}.png").unlink()
    status, result = run(world, prediction)
    assert (status, result) == (1, {})
    assert "2 of 8 labeled frames have no prediction: south/000001, south/000002;" in capsys.readouterr().err


def test_the_only_clip_that_is_predicted_is_not_taken_for_another(
    world: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    prediction = world.clips(world.root / "pred")
    shutil.rmtree(prediction / "north")
    assert run(world, prediction, "--sequences", "north")[0] == 1
    assert "4 of 4 labeled frames have no prediction" in capsys.readouterr().err
    assert run(world, prediction / "south", "--sequences", "south")[0] == 0


def test_a_missing_clip_is_named(world: Any, capsys: pytest.CaptureFixture[str]) -> None:
    prediction = world.clips(world.root / "pred")
    shutil.rmtree(prediction / "north")
    assert run(world, prediction)[0] == 1
    told = capsys.readouterr().err
    assert "4 of 8 labeled frames have no prediction: north/000000" in told
    assert told.endswith(f"or pick --sequences; {prediction} holds south\n")
    assert run(world, prediction, "--sequences", "south")[0] == 0


def test_extra_frames_are_reported(world: Any, capsys: pytest.CaptureFixture[str]) -> None:
    prediction = world.step(world.root / "pred")
    for name in ("000004", "000005"):
        shutil.copy(prediction / "south/000000.png", prediction / f"south/{name}.png")
    status, result = run(world, prediction)
    assert (status, result["prediction"]["frames_without_truth"]) == (0, 2)
    assert "2 predicted frames have no truth" in capsys.readouterr().out


def halve(folder: Path) -> None:
    for path in folder.rglob("*.png"):
        pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        assert cv2.imwrite(str(path), pixels[::2, ::2])


def test_another_size_is_an_error_unless_resized(world: Any, capsys: pytest.CaptureFixture[str]) -> None:
    prediction = world.step(world.root / "pred")
    halve(prediction)
    assert run(world, prediction)[0] == 1
    assert "prediction and truth differ in size, 20×12 and 40×24 px" in capsys.readouterr().err
    status, result = run(world, prediction, "--resize")
    assert status == 0
    assert 0.5 < result["scores"]["stq"] < 1.0
    assert result["prediction"]["resized"] is True


def test_things_can_be_chosen(world: Any, damage: Any) -> None:
    prediction = world.step(world.root / "pred", damage)
    _, result = run(world, prediction, "--things", "pedestrian")
    assert result["dataset"]["things"] == [3]
    assert result["scores"]["aq"] == 1.0  # only the cars swapped their ids


def test_a_class_that_no_prediction_means_scores_zero_and_is_reported(
    world: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    def no_person(sequence: str, frame: int, class_map: Any, ids: Any) -> Any:
        ids[class_map == 4] = 0
        class_map[class_map == 4] = 1
        return class_map, ids

    _, result = run(world, world.step(world.root / "pred", no_person))
    assert result["mapping"]["unmatched_classes"] == ["pedestrian"]
    assert {row["name"]: row["iou"] for row in result["per_class"]}["pedestrian"] == 0.0
    assert "no predicted class maps to pedestrian" in capsys.readouterr().out


def test_predicted_void_is_a_class_with_iou_zero(world: Any) -> None:
    prediction = world.step(world.root / "pred")
    path = prediction / "north/000000.png"
    pixels = cv2.imread(str(path))
    pixels[0, 20] = (0, 0, 255)  # class 255, one pixel
    assert cv2.imwrite(str(path), pixels)
    _, result = run(world, prediction)
    assert result["predicted_void_px"] == 1
    sky = (2 * 4 * 10 * 38 - 2 * 4 * 2 * 3 - 1) / (2 * 4 * 10 * 38 - 2 * 4 * 2 * 3)
    assert result["scores"]["sq"] == pytest.approx((sky + 3) / 5)  # four classes and void


def test_stability_counts_flicker(world: Any) -> None:
    def flicker(sequence: str, frame: int, class_map: Any, ids: Any) -> Any:
        class_map[:3, 2:] = 1 if frame % 2 else 0  # three rows of sky turn to road and back
        return class_map, ids

    _, steady = run(world, world.step(world.root / "pred"), "--stability")
    _, restless = run(world, world.step(world.root / "other", flicker), "--stability")
    assert steady["diagnostics"]["stability"]["change_rate"] < 0.02
    assert restless["diagnostics"]["stability"]["change_rate"] > 0.1


def test_stability_needs_pictures(world: Any, capsys: pytest.CaptureFixture[str]) -> None:
    for sequence in ("north", "south"):
        shutil.rmtree(world.truth / sequence / "frames")
    assert run(world, world.step(world.root / "pred"), "--stability")[0] == 1
    assert "--stability needs the camera images" in capsys.readouterr().err


def test_a_folder_without_predictions_says_what_was_expected(world: Any, capsys: pytest.CaptureFixture[str]) -> None:
    (world.root / "empty").mkdir()
    assert run(world, world.root / "empty")[0] == 1
    assert "DIR/<sequence>/panoptic/segments.json" in capsys.readouterr().err


def test_a_wrong_truth_shows_the_tree(world: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(world, world.step(world.root / "pred"), dataset="kitti-step")[0] == 1
    assert "panoptic_maps/val/0002/000000.png" in capsys.readouterr().err
