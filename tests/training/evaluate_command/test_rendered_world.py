"""Render a street, predict it with shuffled class numbers, and score it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from videocups.cli import main
from videocups_core.labels import default_classes
from videocups_core.panoptic.frames import panoptic_from_maps
from videocups_core.panoptic.storage import PanopticClipWriter

FRAMES = 5


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("worlds")
    out = str(root / "one")
    assert main(["render", "--out", out, "--frames", str(FRAMES), "--size", "160x80", "--seed", "1003"]) == 0
    return root


def predict(world: Path, folder: Path, *, swap_ids: bool) -> None:
    """Write STEP PNGs: classes permuted; from the third frame on every object gets a new id if wanted."""
    number = np.random.default_rng(5).permutation(20)
    (folder / "one").mkdir(parents=True)
    for frame in range(FRAMES):
        name = f"{frame:06d}.png"
        class_map = cv2.imread(str(world / "one/truth/class" / name), cv2.IMREAD_UNCHANGED)
        ids = cv2.imread(str(world / "one/truth/track" / name), cv2.IMREAD_UNCHANGED).astype(np.int64)
        ids = np.where((ids > 0) & (frame >= 2) & swap_ids, ids + 500, ids)
        pseudo = number[np.where(class_map == 255, 0, class_map)]
        assert cv2.imwrite(str(folder / "one" / name), np.dstack([ids % 256, ids // 256, pseudo]).astype(np.uint8))


@pytest.mark.parametrize("swap_ids", [False, True])
def test_only_broken_tracks_cost(
    world: Path, tmp_path: Path, swap_ids: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    predict(world, tmp_path / "pred", swap_ids=swap_ids)
    out, page = tmp_path / "result.json", tmp_path / "result.html"
    arguments = ["--prediction", str(tmp_path / "pred"), "--truth", str(world), "--dataset", "rendered"]
    assert main(["evaluate", *arguments, "--mapping", "auto", "--json", str(out), "--html", str(page)]) == 0
    scores = json.loads(out.read_text())["scores"]
    assert scores["sq"] == 1.0
    assert scores["pq"] == 1.0
    if swap_ids:
        assert 0.3 < scores["aq"] < 0.9
        assert scores["stq"] == pytest.approx(np.sqrt(scores["aq"]))
    else:
        assert scores["stq"] == 1.0
    assert "data:image/jpeg" in page.read_text()
    told = capsys.readouterr().out.splitlines()
    assert any("  broken tracks 0   mostly followed " in line for line in told)  # no name is parted from its number
    assert max(map(len, told)) <= 80


def test_truth_is_no_labels_and_the_name_of_the_right_dataset_is_told(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    predict(world, tmp_path / "pred", swap_ids=False)
    arguments = ["--prediction", str(tmp_path / "pred"), "--truth", str(world)]
    assert main(["evaluate", *arguments, "--dataset", "clips"]) == 1
    assert "does not hold Panoptic clips, split 'all', but what --dataset rendered reads" in capsys.readouterr().err


def test_labels_beside_the_truth_do_not_replace_its_classes(world: Path, tmp_path: Path) -> None:
    """Pseudo-labels are written into the clip itself: the same folder is prediction and truth."""
    clip = tmp_path / "clips" / "one"
    shutil.copytree(world / "one", clip)
    classes = default_classes([False] * 20 + [True] * 20)
    with PanopticClipWriter(clip, classes) as writer:
        for frame in range(FRAMES):
            name = f"{frame:06d}.png"
            class_map = cv2.imread(str(clip / "truth/class" / name), cv2.IMREAD_UNCHANGED)
            ids = cv2.imread(str(clip / "truth/track" / name), cv2.IMREAD_UNCHANGED)
            pseudo = (class_map + 20 * (ids > 0)).astype(np.uint8)  # things get classes of their own
            writer.append(panoptic_from_maps(pseudo, ids, classes, stamp_ns=frame))
    out = tmp_path / "result.json"
    arguments = ["--prediction", str(tmp_path / "clips"), "--truth", str(tmp_path / "clips"), "--dataset", "rendered"]
    assert main(["evaluate", *arguments, "--mapping", "auto", "--json", str(out)]) == 0
    assert json.loads(out.read_text())["scores"]["stq"] == 1.0
