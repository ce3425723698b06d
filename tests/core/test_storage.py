"""Panoptic clips: written as a stream, read back equal, readable after a kill, never believed when damaged."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap

import cv2
import numpy as np
import pytest

from videocups_core.panoptic.storage import PanopticClip, PanopticClipError, PanopticClipWriter, panoptic_from_maps
from videocups_core.types import ClassInfo, PanopticFrame, Segment, SegmentState

CLASSES = (ClassInfo(0, "road", False, (1, 2, 3)), ClassInfo(2, "car", True, (7, 8, 9)))


def make_frame(index: int) -> PanopticFrame:
    class_map = np.zeros((6, 8), np.uint8)
    class_map[1:4, index % 4 : index % 4 + 3] = 2
    track_map = np.where(class_map == 2, 7, 0)
    return panoptic_from_maps(class_map, track_map, CLASSES, 1_000 + index, frame_index=index, track_epoch=1)


def assert_same(left: PanopticFrame, right: PanopticFrame) -> None:
    np.testing.assert_array_equal(left.segment_ids, right.segment_ids)
    assert left.segments == right.segments
    assert (left.stamp_ns, left.frame_index, left.track_epoch) == (right.stamp_ns, right.frame_index, right.track_epoch)


@pytest.fixture
def clip_folder(tmp_path):
    with PanopticClipWriter(tmp_path, CLASSES) as writer:
        for index in range(3):
            writer.append(make_frame(index))
    return tmp_path


def test_what_is_written_is_read(clip_folder):
    clip = PanopticClip(clip_folder)
    assert (len(clip), clip.complete, clip.classes, clip.stamps_ns) == (3, True, CLASSES, (1_000, 1_001, 1_002))
    for index, frame in enumerate(clip):
        assert_same(frame, make_frame(index))
    assert clip.segments(1) == make_frame(1).segments


def test_files_are_ordinary(clip_folder):
    folder = clip_folder / "panoptic"
    assert sorted(path.name for path in folder.iterdir()) == ["000000.png", "000001.png", "000002.png", "segments.json"]
    table = json.loads((folder / "segments.json").read_text())
    assert table["schema_version"] == 1
    assert table["frames"][2]["segments"][1]["track_id"] == 7
    image = cv2.imread(str(folder / "000002.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(image, make_frame(2).segment_ids)


def test_every_field_of_a_row_survives(tmp_path):
    rows = (
        Segment(65_535, 2, True, (1 << 64) - 1, 0.123456789, SegmentState.NEW, 5, 4, (0, 0, 2, 2)),
        Segment(9, 2, True, 3, 0.25, SegmentState.LOST, 12, 0, (1, 2, 3, 4)),
        Segment(4, 2, True, 0, ignore=True),
        Segment(1, 0, False, state=SegmentState.COASTED),
    )
    frame = PanopticFrame(-5, np.array([[65_535, 1, 4, 0]], np.uint16), rows, 8, 3)
    with PanopticClipWriter(tmp_path, CLASSES, kind="truth/panoptic") as writer:
        writer.append(frame)
    assert_same(PanopticClip(tmp_path, kind="truth/panoptic").frame(0), frame)


def test_frames_without_segments_and_clips_without_frames(tmp_path):
    void = PanopticFrame(1, np.zeros((2, 2), np.uint16), ())
    with PanopticClipWriter(tmp_path, CLASSES) as writer:
        writer.append(void)
    assert_same(PanopticClip(tmp_path).frame(0), void)
    with PanopticClipWriter(tmp_path, [], kind="none"):
        pass
    assert (len(PanopticClip(tmp_path, kind="none")), list(PanopticClip(tmp_path, kind="none"))) == (0, [])


def test_an_exception_leaves_a_readable_incomplete_prefix(tmp_path):
    def write_until_the_camera_breaks():
        with PanopticClipWriter(tmp_path, CLASSES) as writer:
            writer.append(make_frame(0))
            raise RuntimeError("camera broke")

    with pytest.raises(RuntimeError, match="camera broke"):
        write_until_the_camera_breaks()
    clip = PanopticClip(tmp_path)
    assert (len(clip), clip.complete) == (1, False)
    assert_same(clip.frame(0), make_frame(0))


def test_a_killed_writer_leaves_a_readable_prefix(tmp_path):
    program = f"""
        import os, signal
        import numpy as np
        from videocups_core.panoptic.storage import PanopticClipWriter, panoptic_from_maps
        from videocups_core.types import ClassInfo
        classes = [ClassInfo(0, "road", False, (1, 2, 3))]
        writer = PanopticClipWriter({str(tmp_path)!r}, classes)
        for stamp in (10, 20):
            writer.append(panoptic_from_maps(np.zeros((4, 4), np.uint8), np.zeros((4, 4), int), classes, stamp))
        os.kill(os.getpid(), signal.SIGKILL)
    """
    killed = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], env=os.environ, check=False)
    assert killed.returncode == -signal.SIGKILL
    clip = PanopticClip(tmp_path)
    assert (clip.stamps_ns, clip.complete) == ((10, 20), False)
    assert len(list(clip)) == 2


def test_every_cut_of_the_journal_gives_a_prefix_or_a_sentence(tmp_path):
    writer = PanopticClipWriter(tmp_path, CLASSES)
    for index in range(3):
        writer.append(make_frame(index))
    writer.abort()
    journal = tmp_path / "panoptic" / "segments.jsonl"
    whole = journal.read_bytes()
    ends = [position + 1 for position in range(len(whole)) if whole[position : position + 1] == b"\n"]
    for length in range(0, len(whole) + 1, 11):
        journal.write_bytes(whole[:length])
        if length < ends[0]:
            with pytest.raises(PanopticClipError, match="is damaged"):
                PanopticClip(tmp_path)
            continue
        clip = PanopticClip(tmp_path)
        assert len(clip) == sum(end <= length for end in ends) - 1
        for index, frame in enumerate(clip):
            assert_same(frame, make_frame(index))


def test_an_existing_clip_is_not_overwritten_by_accident(clip_folder):
    with pytest.raises(FileExistsError, match="overwrite=True"):
        PanopticClipWriter(clip_folder, CLASSES)
    assert len(PanopticClip(clip_folder)) == 3
    with PanopticClipWriter(clip_folder, CLASSES, overwrite=True) as writer:
        writer.append(make_frame(5))
    assert sorted(path.name for path in (clip_folder / "panoptic").iterdir()) == ["000000.png", "segments.json"]


def test_the_writer_refuses_what_a_reader_could_not_trust(tmp_path):
    with PanopticClipWriter(tmp_path, CLASSES) as writer:
        with pytest.raises(ValueError, match="segment_id 3 is in the image but has no row"):
            writer.append(PanopticFrame(0, np.full((2, 2), 3, np.uint16), ()))
        with pytest.raises(PanopticClipError, match="class 1, which the clip's classes lack"):
            writer.append(PanopticFrame(0, np.full((2, 2), 3, np.uint16), (Segment(3, 1, False),)))
        assert len(writer) == 0
    writer.close()
    with pytest.raises(PanopticClipError, match="is closed"):
        writer.append(make_frame(0))


def damage_table(folder, change):
    path = folder / "panoptic" / "segments.json"
    table = json.loads(path.read_text())
    change(table)
    path.write_text(json.dumps(table))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda table: table.update(schema_version=99), "schema_version 99, this program reads 1"),
        (lambda table: table.pop("frames"), "is damaged"),
        (lambda table: table.pop("classes"), "classes must be a list"),
        (lambda table: table["frames"][1].pop("stamp_ns"), "is damaged"),
        (lambda table: table["frames"].__setitem__(1, 4), "is damaged"),
    ],
)
def test_a_damaged_table_is_named_when_the_clip_is_opened(clip_folder, change, words):
    damage_table(clip_folder, change)
    with pytest.raises(PanopticClipError, match=words):
        PanopticClip(clip_folder)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda rows: rows.pop(), "has no row"),
        (lambda rows: rows[1].update(score=7), "score of segment"),
        (lambda rows: rows[1].update(state="ASLEEP"), "ASLEEP"),
        (lambda rows: rows[1].pop("class_id"), "class_id"),
        (lambda rows: rows[1].update(colour=1), "colour"),
        (lambda rows: rows[1].update(segment_id=1), "same segment_id twice"),
        (lambda rows: rows[1].update(segment_id="x"), "damaged"),
    ],
)
def test_damaged_rows_are_named_when_the_frame_is_read(clip_folder, change, words):
    damage_table(clip_folder, lambda table: change(table["frames"][1]["segments"]))
    clip = PanopticClip(clip_folder)
    assert_same(clip.frame(0), make_frame(0))
    with pytest.raises(PanopticClipError, match=words):
        clip.frame(1)


def test_a_missing_or_damaged_image_is_named(clip_folder):
    (clip_folder / "panoptic" / "000001.png").unlink()
    path = clip_folder / "panoptic" / "000002.png"
    path.write_bytes(path.read_bytes()[:-9])
    clip = PanopticClip(clip_folder)
    with pytest.raises(PanopticClipError, match=r"000001\.png is missing"):
        clip.frame(1)
    with pytest.raises(PanopticClipError, match=r"000002\.png or its rows are damaged"):
        clip.frame(2)
    with pytest.raises(IndexError, match="has 3 frames, frame 3"):
        clip.frame(3)


def test_a_folder_without_a_clip_is_named(tmp_path):
    with pytest.raises(PanopticClipError, match="is no panoptic clip"):
        PanopticClip(tmp_path)
