"""The command on official layouts, with scores worked out by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from videocups.cli import main
from videocups_core.panoptic.storage import PanopticClipWriter, panoptic_from_maps
from videocups_core.types import ClassInfo


def write(path: Path, rgb_or_grey: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = rgb_or_grey if rgb_or_grey.ndim == 2 else rgb_or_grey[..., ::-1]
    assert cv2.imwrite(str(path), np.ascontiguousarray(pixels))


def scores(root: Path, dataset: str, *more: str) -> dict[str, Any]:
    out = root / "result.json"
    arguments = ["--prediction", str(root / "pred"), "--truth", str(root / "truth"), "--dataset", dataset]
    assert main(["evaluate", *arguments, "--json", str(out), *more]) == 0
    found: dict[str, Any] = json.loads(out.read_text())
    return found


def write_step(path: Path, class_map: np.ndarray, ids: np.ndarray) -> None:
    write(path, np.dstack([class_map, ids // 256, ids % 256]).astype(np.uint8))


@pytest.mark.parametrize(("dataset", "sq"), [("mots", (64 / 72 + 8 / 16) / 2), ("mots-background-ignored", 1.0)])
def test_the_two_readings_of_mots(tmp_path: Path, dataset: str, sq: float) -> None:
    """A person of 8 px is found and 8 of 72 background pixels are taken for a second one."""
    truth = np.zeros((8, 10), np.uint16)
    truth[2:4, 1:5] = 2004
    pred = truth // 1000 == 2
    alarm = np.zeros_like(pred)
    alarm[5:7, 5:9] = True
    for key in ("0002", "0005", "0009", "0011"):
        write(tmp_path / f"truth/instances/{key}/000001.png", truth)
        write_step(tmp_path / f"pred/{key}/000001.png", (pred | alarm).astype(int), pred * 3 + alarm * 9)
    result = scores(tmp_path, dataset, "--mapping", "identity")["scores"]
    assert result["sq"] == pytest.approx(sq)
    assert result["aq"] == 1.0  # the found person is whole; AQ asks true tubes only


def test_kitti_step_scores_trucks_without_their_ids(tmp_path: Path) -> None:
    """Trucks carry no ids in the truth: predicted trucks are one region, however many tracks they have."""
    class_map = np.zeros((4, 6), int)
    class_map[:, 2:4], class_map[:, 5] = 14, 13
    ids = np.where(class_map == 13, 7, 0)
    ids_pred = ids + np.where(class_map == 14, np.arange(6), 0)
    write_step(tmp_path / "truth/panoptic_maps/val/0002/000000.png", class_map, ids)
    write_step(tmp_path / "pred/0002/000000.png", class_map, ids_pred)
    found = scores(tmp_path, "kitti-step", "--mapping", "identity", "--sequences", "0002")
    assert (found["scores"]["stq"], found["scores"]["pq"]) == (1.0, 1.0)
    assert found["dataset"]["things"] == [11, 13]


def vps_maps(frame: int) -> tuple[np.ndarray, np.ndarray]:
    class_map = np.full((6, 40), 0, np.uint8)
    class_map[2:4, frame : frame + 4] = 13
    return class_map, (class_map == 13) * np.uint64(5)


@pytest.fixture
def vps(tmp_path: Path) -> Path:
    """Write one clip of 30 frames, every fifth labeled, in the layout of Cityscapes-VPS."""
    annotations = []
    for frame in range(30):
        name = f"0005_{frame:04d}_frankfurt_000000_{1700 + frame:06d}"
        write(tmp_path / f"truth/val/img_all/{name}_newImg8bit.png", np.zeros((6, 40, 3), np.uint8))
        if frame % 5 == 0:
            ids = np.where(vps_maps(frame)[0] == 13, 800, 900)
            file = f"{name}_final_mask.png"
            write(
                tmp_path / "truth/val/panoptic_video" / file,
                np.dstack([ids % 256, ids // 256, ids * 0]).astype(np.uint8),
            )
            rows = [{"id": 800, "category_id": 13, "iscrowd": 0}, {"id": 900, "category_id": 0, "iscrowd": 0}]
            annotations.append({"image_id": name, "file_name": file, "segments_info": rows})
    (tmp_path / "truth/panoptic_gt_val_city_vps.json").write_text(json.dumps({"annotations": annotations}))
    return tmp_path


@pytest.mark.parametrize("switch_at", [None, 15])
def test_cityscapes_vps_runs_on_thirty_frames_and_scores_six(vps: Path, switch_at: int | None) -> None:
    classes = [ClassInfo(0, "road", False, (9, 9, 9)), ClassInfo(13, "car", True, (1, 2, 3))]
    with PanopticClipWriter(vps / "pred/0005", classes) as writer:
        for frame in range(30):
            class_map, ids = vps_maps(frame)
            if switch_at is not None and frame >= switch_at:
                ids *= np.uint64(2)
            writer.append(panoptic_from_maps(class_map, ids, classes, frame))
    found = scores(vps, "cityscapes-vps", "--mapping", "identity")
    assert (found["prediction"]["frames"], found["prediction"]["frames_without_truth"]) == (6, 24)
    result = found["scores"]
    assert result["pq"] == 1.0
    if switch_at is None:
        assert (result["stq"], result["vpq"]) == (1.0, 1.0)
        return
    # three labeled frames under one id, three under another: each half covers half of the tube
    assert result["aq"] == pytest.approx(0.5)
    # windows of two: four of five are whole, one is cut into halves (IoU .5, no match): car 4 / (4 + 1 / 2 + 2 / 2)
    assert result["vpq_2"] == pytest.approx((4 / 5.5 + 1) / 2)
    assert found["diagnostics"]["tracking"]["id_switches"] == 1
