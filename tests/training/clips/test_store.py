"""Clip folders appear whole or not at all."""

from __future__ import annotations

import pytest

from videocups.clips.report import IngestReport, summary_table
from videocups.clips.store import LEDGER_FOLDER, LEFT, ClipStore, ClipStoreError
from videocups_core.clip import ClipInfo, find_clips, write_clip_info


def info(name):
    return ClipInfo(name, "cam", 4, 4, (1, 2), image_suffix=".jpg")


def write(store, name, frames=2):
    clip = store.new_clip(name, stereo=False)
    for index in range(frames):
        clip.write_image(LEFT, index, ".jpg", b"data")
    return clip


def test_a_clip_is_invisible_until_it_is_finished(tmp_path):
    store = ClipStore(tmp_path, "k" * 64)
    clip = write(store, "drive_0000")
    assert [path.name for path in tmp_path.iterdir()] == [LEDGER_FOLDER]
    assert not store.has("drive_0000")
    write_clip_info(clip.folder, info("drive_0000"))  # killed just before it would have appeared
    with pytest.raises(FileNotFoundError, match="no clip"):
        find_clips(tmp_path)
    clip.finish(info("drive_0000"), {"rate": 10})
    assert store.has("drive_0000")
    assert not ClipStore(tmp_path, "other").has("drive_0000")
    (tmp_path / "drive_0000" / LEFT / "000001.jpg").unlink()
    assert not store.has("drive_0000")


def test_what_a_killed_run_left_is_swept(tmp_path):
    write(ClipStore(tmp_path, "k" * 64), "drive_0000")
    store = ClipStore(tmp_path, "k" * 64)
    assert list((tmp_path / LEDGER_FOLDER).iterdir()) == []
    store.discard()
    assert list(tmp_path.iterdir()) == []


def test_the_ledger_is_believed_only_while_its_clips_are_there(tmp_path):
    store = ClipStore(tmp_path, "k" * 64)
    write(store, "drive_0000").finish(info("drive_0000"), {})
    assert store.finished() is None
    store.finish(IngestReport("drive", ["drive_0000"], 2))
    assert store.finished()["frames"] == 2
    (tmp_path / "drive_0000" / "clip.json").unlink()
    assert store.finished() is None


def test_foreign_clips_are_in_the_way(tmp_path):
    write(ClipStore(tmp_path, "a" * 64), "drive_0000").finish(info("drive_0000"), {})
    write(ClipStore(tmp_path, "a" * 64), "drive_2_0000").finish(info("drive_2_0000"), {})
    store = ClipStore(tmp_path, "b" * 64)
    with pytest.raises(ClipStoreError, match="--overwrite"):
        store.clear_way("drive", overwrite=False)
    store.clear_way("drive", overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == [LEDGER_FOLDER, "drive_2_0000"]


def test_the_summary_names_everything(tmp_path):
    report = IngestReport("drive", ["a", "b"], 30, seconds=2.0, damage=["the end is missing"], notes=["no CameraInfo"])
    report.skipped["repeated stamp"] = 3
    report.broken["JPEG is cut off"] = 2
    lines = summary_table([report, IngestReport("other", ["c"], 5, was_done=True)]).splitlines()
    assert lines[0].split() == ["source", "clips", "frames", "left", "out", "broken", "frames/s"]
    assert lines[1].split() == ["drive", "2", "30", "3", "2", "15.0"]
    assert lines[2].split() == ["other", "1", "5", "0", "0", "done", "before"]
    assert lines[3:] == [
        "drive: left out 3 × repeated stamp",
        "drive: broken 2 × JPEG is cut off",
        "drive: LOST: the end is missing",
        "drive: note: no CameraInfo",
    ]
