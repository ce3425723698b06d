"""Datasets of single images: PQ and mIoU, no tracks."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np

from videocups.cli import main


def write(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.ascontiguousarray(pixels))


def test_kitti_panoptic_with_flat_step_pngs(tmp_path: Path) -> None:
    truth = np.full((8, 12), 7, np.uint16)  # road
    truth[:4] = 23  # sky
    truth[5:7, 2:6] = 26_000  # a car of 8 px
    for name in ("000000_10", "000001_10"):
        write(tmp_path / f"truth/validation/cityscapes_instance_format/{name}.png", truth)
        class_map, ids = np.where(truth == 7, 0, 10), np.zeros((8, 12))
        class_map[5:7, 2:6], ids[5:7, 2:6] = 13, 1
        if name == "000001_10":
            class_map[:4, 0] = 0  # a column of sky is taken for road
        write(tmp_path / f"pred/{name}.png", np.dstack([ids, ids * 0, class_map]).astype(np.uint8))
    out = tmp_path / "result.json"
    html = tmp_path / "result.html"
    arguments = ["--prediction", str(tmp_path / "pred"), "--truth", str(tmp_path / "truth")]
    more = ["--dataset", "kitti-panoptic", "--mapping", "identity", "--json", str(out), "--html", str(html)]
    assert main(["evaluate", *arguments, *more]) == 0
    scores = json.loads(out.read_text())["scores"]
    sky, road = 44 / 48, 40 / 44  # second image: 4 of 48 sky px are road; road has 40 px and gains 4
    assert np.isclose(scores["pq"], np.mean([(1 + sky) / 2, (1 + road) / 2, 1.0]))
    assert np.isclose(scores["miou"], np.mean([92 / 96, 80 / 84, 1.0]))
    assert "stq" not in scores
    assert "vpq" not in scores
    assert "000001_10" in html.read_text()


def test_thousands_of_segments_in_one_image(tmp_path: Path) -> None:
    """Every pixel of a 64×96 image is its own car, 6,144 of them; ids of truth and prediction differ."""
    ids = np.arange(64 * 96).reshape(64, 96)
    pixels = np.dstack([ids % 256, ids // 256, np.full_like(ids, 35), np.zeros_like(ids)])  # B, A, category, attributes
    bgra = np.dstack([pixels[..., 1], pixels[..., 3], pixels[..., 2], pixels[..., 0]]).astype(np.uint8)
    write(tmp_path / "truth/labels/pan_seg/bitmasks/val/one.png", bgra)
    other = 60_000 - ids
    step_bgr = np.dstack([other % 256, other // 256, np.full_like(ids, 13)]).astype(np.uint8)
    write(tmp_path / "pred/one.png", step_bgr)
    out = tmp_path / "result.json"
    arguments = ["--prediction", str(tmp_path / "pred"), "--truth", str(tmp_path / "truth")]
    assert main(["evaluate", *arguments, "--dataset", "bdd100k", "--mapping", "identity", "--json", str(out)]) == 0
    result = json.loads(out.read_text())
    car = next(row for row in result["per_class"] if row["name"] == "car")
    assert (car["tp"], car["fp"], car["fn"]) == (6143, 0, 0)  # id 0 is a crowd
    assert result["scores"]["pq"] == 1.0
