from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.training.pipeline.artefacts import artefacts, runs
from tests.training.pipeline.conftest import ClipMaker
from tests.training.pipeline.killing import check_readable, kill_and_resume
from tests.training.pipeline.toy_stages import toy_stages

from videocups.pipeline.run import RunConfig, run_stages
from videocups.pipeline.workspace import Workspace

ITEMS = 11 + 6 + 12 + 7 + 2 + 1 + 12 + 7


def killed_run(make_clips: ClipMaker, executor: str, workers: int, kills: int, seed: int, *, whole_group: bool) -> None:
    calm, root = make_clips(12, 7, name="calm"), make_clips(12, 7, name="killed")
    run_stages(toy_stages(), Workspace.open(calm), RunConfig(executor="inline"))
    log = root.parent / "runs.log"
    command = [
        sys.executable,
        "-m",
        "tests.training.pipeline.toy_run",
        str(root),
        executor,
        str(workers),
        str(log),
        "0.01",
    ]
    hits = kill_and_resume(
        command,
        kills,
        random.Random(seed),
        watch=log,
        longest_s=0.02 * ITEMS / kills / workers,
        after_kill=lambda: check_readable(root),
        whole_group=whole_group,
    )
    begun = runs(log)
    assert hits >= kills // 2
    assert len(begun) == ITEMS
    assert begun.total() - ITEMS <= hits * workers  # what was begun and not noted: at most one item a worker
    assert artefacts(root) == artefacts(calm)
    assert not list(Path(root).rglob("*.tmp"))


def test_ten_kills_leave_what_an_undisturbed_run_leaves(make_clips: ClipMaker) -> None:
    killed_run(make_clips, "inline", 1, 10, seed=1, whole_group=True)


@pytest.mark.parametrize("whole_group", [True, False])
def test_a_pool_is_killed_with_and_without_its_workers(make_clips: ClipMaker, whole_group: bool) -> None:
    killed_run(make_clips, "processes", 2, 3, seed=2, whole_group=whole_group)


def test_an_interrupt_ends_the_run_quietly_and_is_resumed(make_clips: ClipMaker) -> None:
    root, log = make_clips(12), make_clips(1, name="log") / "runs.log"
    command = [sys.executable, "-m", "tests.training.pipeline.toy_run", str(root), "processes", "2", str(log), "0.1"]
    process = subprocess.Popen(command, start_new_session=True, stderr=subprocess.PIPE, text=True)
    while not log.exists():
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    error = process.communicate(timeout=30)[1]
    assert process.returncode != 0
    assert "in obey" not in error  # no item was torn: workers let them end
    subprocess.run(command, check=True)
    assert max(runs(log).values()) == 1
    assert len(runs(log)) == 11 + 12 + 1 + 1 + 12


@pytest.mark.slow
def test_fifty_kills_of_a_pool(make_clips: ClipMaker) -> None:
    killed_run(make_clips, "processes", 2, 50, seed=3, whole_group=True)
