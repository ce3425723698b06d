"""Arguments that cannot be meant are refused at once; nothing of them reaches a clip."""

from __future__ import annotations

import pytest

from videocups.cli import main


@pytest.mark.parametrize(
    "arguments",
    [
        *(f"{option} nan" for option in ("--start", "--end", "--rate", "--max-gap", "--min-motion", "--fps")),
        "--stereo-tolerance -1",
        "--baseline -0.5",
        "--baseline 0",
        "--baseline nan",  # would stand in clip.json, which is no JSON then
        "--threads -1",
        "--rate inf",
    ],
)
def test_numbers_that_are_none(recordings, capsys, arguments):
    path, out = recordings.bag("drive", recordings.images(3)), recordings.folder / "clips"
    with pytest.raises(SystemExit) as stopped:
        main(["ingest", str(path), "--out", str(out), *arguments.split()])
    assert stopped.value.code == 2
    assert f"argument {arguments.split()[0]}: must" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("--clip-length nans", "frames (60) or seconds (10s), got 'nans'"),
        ("--clip-length infs", "frames (60) or seconds (10s), got 'infs'"),
        ("--name a/b", "first part of folder names, got 'a/b'"),
        ("--name ..", "first part of folder names, got '..'"),
    ],
)
def test_words_that_mean_nothing(recordings, capsys, arguments, sentence):
    path, out = recordings.bag("drive", recordings.images(3)), recordings.folder / "clips"
    assert main(["ingest", str(path), "--out", str(out), *arguments.split()]) == 1
    assert sentence in capsys.readouterr().err
    assert not out.exists()


def test_a_cut_from_nowhere(recordings, capsys):
    path, out = recordings.bag("drive", recordings.images(3)), recordings.folder / "part"
    with pytest.raises(SystemExit):
        main(["bag", "cut", str(path), "--out", str(out), "--start", "nan"])
    assert "--start: must be a number" in capsys.readouterr().err
    assert not out.exists()


def test_brackets_in_a_name_protect_clips_too(recordings, capsys):
    """Clips of other options were looked for with the name as a pattern, not found, and replaced."""
    path, out = recordings.bag("drive[1]", recordings.images(6)), recordings.folder / "clips"
    assert main(["ingest", str(path), "--out", str(out)]) == 0
    assert main(["ingest", str(path), "--out", str(out), "--rate", "5"]) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert len(list((out / "drive[1]_cam_0000" / "frames").iterdir())) == 6
