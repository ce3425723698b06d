from __future__ import annotations

import cv2
import numpy as np
import pytest

from videocups.cli import main
from videocups_core.clip import ClipInfo, write_clip_info
from videocups_core.labels import default_classes
from videocups_core.panoptic.frames import panoptic_from_maps
from videocups_core.panoptic.storage import PanopticClipWriter


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
    assert "4 frames of 1 clips" in capsys.readouterr().out
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
