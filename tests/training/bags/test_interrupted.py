"""An ingest that is killed or interrupted leaves whole clips only, and a second run finishes it."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from videocups.cli import main
from videocups.clips.store import LEDGER_FOLDER
from videocups_core.clip import Clip, read_clip_info

FRAMES, LENGTH = 60, 5


@pytest.fixture
def slow_bag(recordings):
    """Noise as PNG takes its time."""
    random = np.random.default_rng(0)
    messages = recordings.images(FRAMES, height=360, width=640)
    for _, _, image in messages:
        image.data = random.integers(0, 256, image.data.size, dtype=np.uint8)
    return recordings.bag("drive", messages)


@pytest.mark.parametrize("kind", [signal.SIGKILL, signal.SIGINT])
def test_only_whole_clips_are_left(recordings, slow_bag, kind):
    out = recordings.folder / "clips"
    arguments = ["ingest", str(slow_bag), "--out", str(out), "--png", "--clip-length", str(LENGTH)]
    process = subprocess.Popen([sys.executable, "-m", "videocups.cli", *arguments], stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 30
    while not list(out.glob("drive_cam_0002")):
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(kind)
    _, text = process.communicate(timeout=30)
    assert process.returncode == (-signal.SIGKILL if kind == signal.SIGKILL else 130)
    if kind == signal.SIGINT:
        assert "interrupted" in text
        assert not list((out / LEDGER_FOLDER).glob("partial-*"))
    whole = sorted(path for path in out.iterdir() if path.name != LEDGER_FOLDER)
    assert 3 <= len(whole) < FRAMES // LENGTH
    for folder in whole:
        assert len(read_clip_info(folder)) == len(list((folder / "frames").iterdir())) == LENGTH
    stamps = {folder: (folder / "clip.json").stat().st_mtime_ns for folder in whole}
    assert main(arguments) == 0
    assert {folder: (folder / "clip.json").stat().st_mtime_ns for folder in whole} == stamps
    clips = [Clip(path) for path in sorted(out.iterdir()) if path.name != LEDGER_FOLDER]
    assert sum(map(len, clips)) == FRAMES
    assert not list((out / LEDGER_FOLDER).glob("partial-*"))


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["ingest", "--png"], "make room below"),
        (["bag", "cut"], "cannot write"),
        (["bag", "cut", "--storage", "db3"], "cannot write"),
    ],
)
def test_a_full_disk_leaves_nothing_half_and_a_sentence(recordings, slow_bag, command, words):
    """A limit on the size of files stands for the full disk: writing fails the same way."""
    out = recordings.folder / "out"
    code = (
        "import resource, sys; from videocups.cli import main;"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)); sys.exit(main(sys.argv[1:]))"
    )
    arguments = [*command, str(slow_bag), "--out", str(out)]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert words in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert [path.name for path in recordings.folder.iterdir()] == ["drive"]
