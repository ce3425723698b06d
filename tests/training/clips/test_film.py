from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from videocups.cli import main
from videocups_core.clip import ClipInfo, write_clip_info
from videocups_core.labels import default_classes
from videocups_core.panoptic.frames import panoptic_from_maps
from videocups_core.panoptic.storage import PanopticClipWriter

STANDIN = Path(__file__).parents[2] / "data" / "standin"


def write_clip(folder, frames=4, labels=4):
    """A flat grey clip at 20 Hz whose lower half is a thing."""
    (folder / "frames").mkdir(parents=True)
    stamps_ns = tuple(index * 50_000_000 for index in range(frames))
    write_clip_info(folder, ClipInfo("flat", "camera", 64, 48, stamps_ns))
    for index in range(frames):
        cv2.imwrite(str(folder / "frames" / f"{index:06d}.jpg"), np.full((48, 64, 3), 128, np.uint8))
    classes = default_classes([False, True])
    class_map = np.zeros((48, 64), np.uint8)
    class_map[24:] = 1
    with PanopticClipWriter(folder, classes) as writer:
        for stamp_ns in stamps_ns[:labels]:
            writer.append(panoptic_from_maps(class_map, (class_map * 7).astype(np.uint16), classes, stamp_ns=stamp_ns))


def test_a_film_shows_the_frame_and_its_labels(tmp_path, capsys):
    write_clip(tmp_path / "clip")
    assert main(["film", str(tmp_path / "clip"), "--out", str(tmp_path / "film.mp4")]) == 0
    assert "4 frames of 1 clip\n" in capsys.readouterr().out
    video = cv2.VideoCapture(str(tmp_path / "film.mp4"))
    assert video.get(cv2.CAP_PROP_FPS) == pytest.approx(20)
    frames = []
    while (read := video.read())[0]:
        frames.append(read[1].astype(int))
    assert len(frames) == 4
    above, below = frames[0][4:44, 4:60], frames[0][52:92, 4:60]
    assert np.abs(above - 128).max() < 12
    assert np.abs(below[30:] - 128).max() > 30  # the thing is coloured


def test_unfinished_labels_are_refused(tmp_path, capsys):
    write_clip(tmp_path / "clip", labels=2)
    assert main(["film", str(tmp_path / "clip"), "--out", str(tmp_path / "film.mp4")]) == 1
    assert "4 frames but 2 labels" in capsys.readouterr().err


def test_a_prediction_is_filmed_over_the_clips_it_was_made_of(tmp_path, capsys):
    write_clip(tmp_path / "clips" / "town" / "one", frames=2)
    shutil.rmtree(tmp_path / "clips" / "town" / "one" / "panoptic")
    predicted, film = tmp_path / "found", tmp_path / "film.mp4"
    assert main(["predict", str(STANDIN), str(tmp_path / "clips"), "--out", str(predicted), "--device", "cpu"]) == 0
    assert main(["film", str(tmp_path / "clips"), "--prediction", str(predicted), "--out", str(film)]) == 0
    assert "2 frames of 1 clip\n" in capsys.readouterr().out
    assert cv2.VideoCapture(str(film)).get(cv2.CAP_PROP_FRAME_COUNT) == 2
    shutil.rmtree(predicted / "town")
    assert main(["film", str(tmp_path / "clips"), "--prediction", str(predicted), "--out", str(film)]) == 1
    assert "town/one/panoptic is no panoptic clip" in capsys.readouterr().err


def test_what_has_no_frames_says_where_they_are(tmp_path, capsys):
    write_clip(tmp_path / "clip", frames=2)
    (tmp_path / "clip" / "clip.json").unlink()
    assert main(["film", str(tmp_path), "--out", str(tmp_path / "film.mp4")]) == 1
    assert f"give the clips they were made of, and --prediction {tmp_path}" in capsys.readouterr().err
    shutil.rmtree(tmp_path / "clip")
    assert main(["film", str(tmp_path), "--out", str(tmp_path / "film.mp4")]) == 1
    assert "videocups ingest" in capsys.readouterr().err
