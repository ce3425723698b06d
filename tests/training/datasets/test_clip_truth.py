"""Our own panoptic clips as truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from videocups.evaluate.datasets import LayoutError, open_dataset
from videocups_core.panoptic.storage import PanopticClipWriter
from videocups_core.types import ClassInfo, PanopticFrame, Segment

CLASSES = (ClassInfo(0, "road", False, (1, 2, 3)), ClassInfo(1, "car", True, (4, 5, 6)))


def write_clip(folder: Path, classes: tuple[ClassInfo, ...] = CLASSES) -> None:
    ids = np.array([[1, 1, 2], [3, 4, 0]], np.uint16)
    rows = (
        Segment(1, 0, False),
        Segment(2, 1, True, track_id=70_000),
        Segment(3, 1, True, track_id=9, ignore=True),  # a crowd of cars
        Segment(4, 0, False, ignore=True),  # road that nobody is sure of
    )
    with PanopticClipWriter(folder, classes) as writer:
        for stamp_ns in (0, 100):
            writer.append(PanopticFrame(stamp_ns, ids, rows))


@pytest.mark.parametrize("root_is_the_clip", [False, True])
def test_ignored_things_are_crowd_and_ignored_stuff_is_void(tmp_path: Path, root_is_the_clip: bool) -> None:
    write_clip(tmp_path / "a_clip")
    dataset = open_dataset("clips", tmp_path / "a_clip" if root_is_the_clip else tmp_path)
    (sequence,) = dataset.sequences()
    assert sequence.key == "a_clip"
    assert len(sequence.frames) == 2
    class_map, ids = dataset.truth(sequence, sequence.frames[1])
    assert class_map.tolist() == [[0, 0, 1], [1, 255, 255]]
    assert ids.tolist() == [[0, 0, 70_000], [0, 0, 0]]


def test_clips_with_different_classes_are_refused(tmp_path: Path) -> None:
    write_clip(tmp_path / "a")
    write_clip(tmp_path / "b", (*CLASSES, ClassInfo(2, "sky", False, (7, 8, 9))))
    with pytest.raises(LayoutError, match="different classes"):
        open_dataset("clips", tmp_path)


def test_a_track_id_beyond_31_bits_is_refused(tmp_path: Path) -> None:
    with PanopticClipWriter(tmp_path / "a", CLASSES) as writer:
        writer.append(PanopticFrame(0, np.ones((1, 1), np.uint16), (Segment(1, 1, True, track_id=2**31),)))
    dataset = open_dataset("clips", tmp_path)
    sequence = dataset.sequences()[0]
    with pytest.raises(ValueError, match="2147483648"):
        dataset.truth(sequence, sequence.frames[0])
