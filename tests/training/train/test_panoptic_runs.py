"""Runs of the panoptic training: killed and resumed, shared by processes, continued with other classes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from videocups.train.checkpoint import read_checkpoint
from videocups.train.distributed import Ranks
from videocups.train.loop import run_training
from videocups.train.panoptic_task import PanopticTask

PASTING = ("paste={objects: [1, 3], min_side_px: 4, own_from: 2, own_score: 0.0, memory: 8}",)
CHANGING = "augment={flip: 0.5, crop_area: [0.7, 1], scales: [0.5, 1.5], blur: 0.5, blur_sigma_px: [0.1, 1]}"


def weights(folder):
    return load_file(read_checkpoint(folder).folder / "model.safetensors")


def test_a_run_does_not_go_on_with_other_clips_or_labels(tmp_path, films, tiny):
    """Nor is a finished one passed off as one of them."""
    settings, out = tiny("loop.steps=1"), tmp_path / "run"
    copies = [Path(shutil.copytree(film, tmp_path / "moved" / film.name)) for film in films]
    run_training(PanopticTask(films, settings), settings.loop, out)
    run_training(PanopticTask(copies, settings), settings.loop, out)  # where they lie says nothing
    table = copies[0] / "panoptic" / "segments.json"
    table.write_text(table.read_text().replace('"ignore": false', '"ignore": true', 1))
    for other in (copies, films[::-1]):
        with pytest.raises(ValueError, match=r"other settings \(the clips or their labels\); give another --out"):
            run_training(PanopticTask(other, settings), settings.loop, out)
    checkpoint = read_checkpoint(out).folder / "checkpoint.json"
    old = json.loads(checkpoint.read_text())
    del old["config"]["learned_from"]  # as checkpoints were before
    checkpoint.write_text(json.dumps(old))
    run_training(PanopticTask(copies, settings), settings.loop, out)


def test_a_killed_run_goes_on_as_if_nothing_had_happened(tmp_path, films, tiny):
    settings = tiny(*PASTING, CHANGING, "loop.checkpoint_every=4", "loop.ema=0.5")
    whole = PanopticTask(films, settings)
    run_training(whole, settings.loop, tmp_path / "whole")
    run_training(PanopticTask(films, settings), settings.loop, tmp_path / "parts", stop_at=5)
    newest = tmp_path / "parts" / "step_0000005"
    (newest / "checkpoint.json").unlink()  # as a kill in the middle of writing leaves it
    rest = PanopticTask(films, settings)
    run_training(rest, settings.loop, tmp_path / "parts")
    for name, value in weights(tmp_path / "whole").items():
        assert torch.equal(value, weights(tmp_path / "parts")[name]), name
    done, again = read_checkpoint(tmp_path / "whole"), read_checkpoint(tmp_path / "parts")
    assert all(torch.equal(value, again.average()[name]) for name, value in done.average().items())
    assert all(torch.equal(value, again.state()[name]) for name, value in done.state().items())
    assert whole.memory.count("labels") == rest.memory.count("labels") == 8
    assert whole.memory.count("own") == rest.memory.count("own") > 0


def test_workers_and_accumulation_change_nothing(tmp_path, films, tiny):
    settings = tiny("paste.enabled=true", "loop.steps=2", "loop.batch_size=4", "loop.learning_rate=1.0e-4")
    once = run_training(PanopticTask(films, settings), settings.loop, tmp_path / "once")
    other = tiny(
        *("paste.enabled=true", "loop.steps=2", "loop.batch_size=4", "loop.learning_rate=1.0e-4"),
        *("loop.workers=1", "loop.accumulate=2"),
    )
    pieces = run_training(PanopticTask(films, other), other.loop, tmp_path / "pieces")
    # the same sums in another order; AdamW can turn a rounding error of a gradient near 0 into a part of a step
    assert once.metrics["loss"] == pytest.approx(pieces.metrics["loss"], rel=1e-4)
    assert once.metrics["gradient_norm"] == pytest.approx(pieces.metrics["gradient_norm"], rel=1e-3)


def test_two_processes_do_what_one_does(tmp_path, films, tiny):
    changes = [
        *("paste={objects: [1, 3], min_side_px: 4, own_from: 1, own_score: 0.0}", CHANGING),
        *("loop.steps=4", "loop.batch_size=4", "loop.learning_rate=1.0e-4"),
    ]
    settings = tiny(*changes)
    run_training(PanopticTask(films, settings), settings.loop, tmp_path / "one")
    from tests.training.train.conftest import TINY

    arguments = [f"--set={change}" for change in (*TINY, *changes)]
    command = ["train", "panoptic", *map(str, films), "--out", str(tmp_path / "two"), "--device", "cpu", *arguments]
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "videocups.cli"]
    done = subprocess.run(
        [sys.executable, *launcher, *command],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "2 processes" in done.stdout
    one, two = (
        [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        for name in ("one", "two")
    )
    assert [row["step"] for row in two] == [0, 1, 2, 3]
    for ours, theirs in zip(one, two, strict=True):
        for name in ("loss", "gradient_norm", "semantic", "mask", "cascade1_class", "rpn_objectness", "track"):
            assert theirs[name] == pytest.approx(ours[name], rel=2e-3, abs=1e-5), (ours["step"], name)


def test_parts_of_a_batch_are_the_batch(films, tiny):
    settings = tiny(CHANGING, "loop.batch_size=4")
    task = PanopticTask(films, settings)
    whole = task.part(3, 7, Ranks(0, 1))
    halves = [task.part(3, 7, Ranks(rank, 2)) for rank in range(2)]
    for name in ("images", "semantic", "seed"):
        assert torch.equal(whole[name], torch.cat([half[name] for half in halves])), name
    with pytest.raises(ValueError, match=r"loop.batch_size = 4 cannot be shared by 3 processes"):
        task.part(3, 7, Ranks(0, 3))


def test_every_pair_comes_once_in_a_pass(films, tiny):
    task = PanopticTask(films, tiny("loop.batch_size=3"))
    seen = [task.part(0, step, Ranks())["images"] for step in range(2)]
    distinct = {image.numpy().tobytes() for batch in seen for image in batch}
    assert len(distinct) == 6


def test_pictures_show_labels_and_predictions(films, tiny):
    task = PanopticTask(films, tiny())
    batch = task.part(0, 0, Ranks())
    picture = task.picture(batch)
    assert picture.shape == (128, 256, 3)
    assert picture.dtype == np.uint8
    # the labels are drawn over the left half: there it is not the image
    assert (picture[:64, :128] != batch["images"][0, 0].numpy()).any()
    assert task.model.training
