"""The commands of panoptic training: other classes, own labels, predictions with checkpoints and bundles."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from tests.training.train.conftest import TINY
from tests.training.train.film import CLASSES, draw, write_film

from videocups.cli import main
from videocups.model.imports.convert import Imported
from videocups.model.imports.report import ImportReport
from videocups.model.imports.writing import write_imported
from videocups.model.load import load_network
from videocups.train.checkpoint import read_checkpoint
from videocups.train.config_file import read_config
from videocups.train.panoptic_config import PanopticTraining, SelfTraining
from videocups.train.predict import open_stream, predict_clips, seen
from videocups_core.clip import ClipInfo, write_clip_info
from videocups_core.labels import default_classes
from videocups_core.panoptic.frames import panoptic_from_maps
from videocups_core.panoptic.storage import PanopticClip, PanopticClipWriter
from videocups_core.standin import StandInWorld

CONFIGS = Path(__file__).parents[3] / "training" / "configs"
STANDIN = Path(__file__).parents[2] / "data" / "standin"


@pytest.mark.parametrize("name", ["panoptic", "panoptic_tiny", "panoptic_small", "finetune"])
def test_configs_load_and_keep_the_papers_optimizer(name):
    config = read_config(PanopticTraining, CONFIGS / f"{name}.yaml")
    assert config != PanopticTraining()
    assert config.loop.optimizer == "adamw"
    assert config.loop.tensorboard


def test_self_training_keeps_its_own_defaults_where_a_group_is_named():
    config = read_config(SelfTraining, CONFIGS / "selftrain.yaml", ["droploss.iou=0.4", "paste.memory=3"])
    assert (config.loop.learning_rate, config.loop.steps, config.loop.ema) == (1e-5, 1500, 0.999)
    assert not config.droploss.enabled
    assert config.paste.own_from == -1


@pytest.mark.parametrize(
    ("command", "listed"),
    [
        (["train", "panoptic"], "paste.own_score = 0.75"),
        (["selftrain"], "teacher.decay = 0.999"),
        (["finetune"], "droploss.iou = 0.5"),
        (["predict"], "--score S"),
    ],
)
def test_help_needs_no_torch(command, listed):
    code = (
        "import sys; from videocups.cli import main\n"
        f"try: main([*{command}, '--help'])\nfinally: assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert listed in done.stdout


@pytest.fixture(scope="module")
def trained(tmp_path_factory, films):
    """Return a run of two steps."""
    out = tmp_path_factory.mktemp("runs") / "trained"
    settings = [
        f"--set={change}" for change in (*TINY, "loop.steps=2", "loop.tensorboard=true", "loop.picture_every=1")
    ]
    assert main(["train", "panoptic", str(films[0].parent), "--out", str(out), "--device", "cpu", *settings]) == 0
    return out


def test_a_run_leaves_what_a_person_looks_for(trained):
    checkpoint = read_checkpoint(trained, "panoptic")
    assert [row["name"] for row in checkpoint.config["classes"]] == [info.name for info in CLASSES]
    assert checkpoint.metrics["step"] == 1
    assert checkpoint.metrics["loss"] > 0
    assert set(checkpoint.versions) == {"videocups", "git", "torch"}
    events = [file.read_bytes() for file in (trained / "tensorboard").iterdir()]
    assert any(b"cascade1_class" in content and b"labels, predictions" in content for content in events)


def test_finetuning_takes_everything_but_the_classes_own(tmp_path, trained, capsys):
    classes = default_classes([False, False, False, True])
    film = write_film(tmp_path / "film", 5)
    shutil.rmtree(film / "panoptic")
    with PanopticClipWriter(film, classes) as writer:
        for frame in range(4):
            _, kinds, tracks = draw(frame, 5, 64, 128, 3)
            kinds = np.where(tracks > 0, 3, kinds).astype(np.uint8)
            writer.append(panoptic_from_maps(kinds, tracks, classes, frame))
    plain = ["paste.enabled=false", "loop.tensorboard=false", "loop.picture_every=0", "loop.steps=1"]
    settings = [f"--set={change}" for change in (*plain, "loop.learning_rate=0")]
    out = tmp_path / "tuned"
    assert main(["finetune", str(trained), str(film), "--out", str(out), "--device", "cpu", *settings]) == 0
    assert "8 of the classes' own, which begin anew" in capsys.readouterr().out
    # sizes and changes of images, and what fits into the memory, are the checkpoint's where nothing else is said
    config = read_checkpoint(out).config
    assert (config["loop"]["batch_size"], config["paste"]["min_side_px"]) == (2, 8)
    assert (config["data"]["height"], config["data"]["min_area_px"], config["augment"]["blur"]) == (64, 16, 0)
    before, after = load_network(trained).state_dict(), load_network(out).state_dict()
    # three stages and the semantic head, weight and bias each; all else is as it was
    differing = {name for name in after if before[name].shape != after[name].shape}
    own = {f"cascade.stages.{stage}.classify" for stage in range(3)} | {"semantic_head.predict"}
    assert {name.rpartition(".")[0] for name in differing} <= own
    same = [name for name in after if name.rpartition(".")[0] not in own]
    assert all(torch.equal(before[name], after[name]) for name in same)
    assert len(after) - len(same) == 8


def test_imported_weights_can_be_tuned_and_predict_where_the_size_is_given(tmp_path, trained, films, capsys):
    network = load_network(trained)
    imported = Imported(network.config, network.classes, dict(network.state_dict()), ImportReport())
    folder = write_imported(imported, tmp_path / "imported", {}).folder
    predict = ["predict", str(folder), str(films[0]), "--out", str(tmp_path / "found"), "--device", "cpu"]
    assert main(predict) == 1
    assert "does not say for which size it was trained; give --size HxW" in capsys.readouterr().err
    assert main([*predict, "--size", "64x128"]) == 0
    own = [change for change in TINY if not change.startswith("model.")]
    settings = [f"--set={change}" for change in (*own, "loop.steps=1")]
    assert main(["finetune", str(folder), str(films[0]), "--out", str(tmp_path / "tuned"), *settings]) == 0
    assert f"begins with all weights of {folder}" in capsys.readouterr().out


def test_self_training_moves_the_heads_alone_and_resumes(tmp_path, trained, films):
    plain = [change for change in TINY if not change.startswith(("model.", "loop="))]
    loop = "loop={batch_size: 2, steps: 4, tensorboard: false, checkpoint_every: 2, learning_rate: 1.0e-3}"
    settings = [f"--set={change}" for change in (*plain, loop, "teacher.score=0.0", "teacher.scales=[1.0]")]
    command = ["selftrain", str(trained), *map(str, films), "--device", "cpu", *settings]
    assert main([*command, "--out", str(tmp_path / "whole")]) == 0
    before = load_network(trained).state_dict()
    after = read_checkpoint(tmp_path / "whole")
    network = load_network(trained)
    after.load_trained(network)
    moved = {name.split(".")[0] for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert moved <= {"rpn", "cascade", "mask_head", "semantic_head", "track_head"}
    assert {"cascade", "semantic_head"} <= moved
    shutil.copytree(tmp_path / "whole", tmp_path / "parts")
    shutil.rmtree(tmp_path / "parts" / "step_0000004")
    assert main([*command, "--out", str(tmp_path / "parts")]) == 0
    again = load_network(trained)
    read_checkpoint(tmp_path / "parts").load_trained(again)
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in network.state_dict().items())


def test_predictions_are_finished_clips_and_stay(tmp_path, trained, films, capsys):
    out = tmp_path / "found"
    command = ["predict", str(trained), str(films[0].parent), "--out", str(out), "--device", "cpu", "--score", "0.0"]
    assert main(command) == 0
    clip = PanopticClip(out / "film_1")
    assert clip.complete
    assert len(clip) == 4
    assert clip.frame(0).segment_ids.shape == (64, 128)
    written = (out / "film_1" / "panoptic" / "segments.json").stat().st_mtime_ns
    shutil.rmtree(out / "film_2")
    assert main(command) == 0
    assert (out / "film_1" / "panoptic" / "segments.json").stat().st_mtime_ns == written
    assert (out / "film_2" / "panoptic" / "segments.json").is_file()
    capsys.readouterr()
    for model, score, what in ((trained, "0.5", "score"), (STANDIN, "0.0", "weights, size")):
        other = ["predict", str(model), str(films[0].parent), "--out", str(out), "--device", "cpu", "--score", score]
        assert main(other) == 1
        assert f"film_1 was predicted before with other {what}; give another --out" in capsys.readouterr().err


def test_bundles_predict_as_well(tmp_path, films, monkeypatch):
    """Also where torch has a GPU and ONNX Runtime has none: auto is each one's own."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    out = tmp_path / "found"
    assert main(["predict", str(STANDIN), str(films[0]), "--out", str(out)]) == 0
    assert len(PanopticClip(out / "film_1")) == 4
    assert main(["predict", str(STANDIN), str(films[0]), "--out", str(out), "--size", "64x128"]) == 1


def test_tracks_that_are_waited_for_are_no_labels(tmp_path):
    """Shown a frame and then nothing, the stand-in waits for its objects: the vehicle says so, a label does not."""
    world = StandInWorld()
    stream = open_stream(STANDIN, "cpu")
    stream.step(world.image_rgb(0), 0)
    waiting = stream.step(np.zeros_like(world.image_rgb(0)), 1)
    assert any(row.area_px == 0 for row in waiting.segments)
    assert seen(waiting).segments
    assert all(row.area_px for row in seen(waiting).segments)
    folder = tmp_path / "clip"
    (folder / "frames").mkdir(parents=True)
    write_clip_info(folder, ClipInfo("clip", "camera", world.width, world.height, (0, 1), image_suffix=".png"))
    for index, image in enumerate((world.image_rgb(0), np.zeros_like(world.image_rgb(0)))):
        cv2.imwrite(str(folder / "frames" / f"{index:06d}.png"), image[:, :, ::-1])
    predict_clips(stream, [(folder, "clip")], tmp_path / "found")
    first, second = PanopticClip(tmp_path / "found" / "clip")
    assert any(row.is_thing for row in first.segments)
    assert all(row.area_px for row in second.segments)


def test_what_cannot_be_done_is_said(tmp_path, trained, films, capsys):
    assert main(["predict", str(tmp_path), str(films[0]), "--out", str(tmp_path / "x")]) == 1
    assert "holds no checkpoint" in capsys.readouterr().err
    doubled = [str(films[0]), str(films[0])]
    assert main(["predict", str(trained), *doubled, "--out", str(tmp_path / "x"), "--device", "cpu"]) == 1
    assert "several clips are called film_1" in capsys.readouterr().err
    bad = ["--set=data.height=100"]
    assert main(["train", "panoptic", str(films[0]), "--out", str(tmp_path / "y"), *bad]) == 1
    assert "multiple of 32, got 100" in capsys.readouterr().err


def test_a_checkpoint_says_where_its_metrics_are(trained):
    rows = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [0, 1]
    assert {"loss", "wait_s", "step_s", "finish_s", "gradient_norm", "semantic"} <= set(rows[0])
