"""Runs: they learn, resume to the bit, and give features and a start for the detector."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from videocups.cli import main
from videocups.model.classes import ClassTable
from videocups.model.config import BackboneConfig, ModelConfig
from videocups.model.load import initialize_backbone
from videocups.model.network import PanopticNetwork
from videocups.pretrain.config import PretrainConfig
from videocups.pretrain.features import load_self_trained
from videocups.pretrain.task import PretrainTask, normalized
from videocups.train.config_file import read_config
from videocups.train.loop import run_training
from videocups_core.types import ClassInfo

CONFIGS = Path(__file__).parents[3] / "training" / "configs"


@pytest.fixture(scope="module")
def trained(street, tmp_path_factory):
    """A finished run of six steps and its task."""
    from videocups_core.config import from_mapping

    from .conftest import SMALL

    config = from_mapping(PretrainConfig, SMALL, "test")
    task = PretrainTask([street], config)
    out = tmp_path_factory.mktemp("run")
    return run_training(task, config.loop, out), task, out


def test_a_run_that_stopped_ends_with_the_same_weights(small, street, trained, tmp_path):
    # it stops where the guides have just handed over to the teacher
    config = small()
    run_training(PretrainTask([street], config), config.loop, tmp_path, stop_at=4)
    resumed = run_training(PretrainTask([street], config), config.loop, tmp_path)
    one, other = (load_file(folder / "model.safetensors") for folder in (trained[0].folder, resumed.folder))
    assert one.keys() == other.keys()
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


def test_training_lowers_both_terms(small, street, tmp_path):
    # towards guides and a teacher that stay as they are
    config = small(
        pixel={"guided": 1.0},
        image={"center_momentum": 1.0},
        schedule={"momentum": 1.0},
        loop={"steps": 50, "batch_size": 4, "learning_rate": 0.01, "checkpoint_every": 50},
    )
    run_training(PretrainTask([street], config), config.loop, tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    for name in ("pixel", "image"):
        first, last = (np.mean([row[name] for row in part]) for part in (rows[:5], rows[-5:]))
        assert last < 0.8 * first, name


def test_features_are_the_teachers_cells(trained):
    checkpoint, task, out = trained
    features = load_self_trained(out)
    rgb = task.pairs.frame(2)
    with torch.no_grad():
        expected = task.model.teacher.encoder(normalized(torch.from_numpy(rgb).permute(2, 0, 1)[None]))[1][0]
    np.testing.assert_allclose(features.extract(rgb), expected.permute(1, 2, 0).numpy(), atol=1e-5)
    assert (features.dim, features.stride, features.windowed) == (8, 4, False)
    assert np.square(features.weights).sum() == pytest.approx(1)
    assert features.extract(rgb[:45, :70]).shape == (12, 18, 8)
    assert load_self_trained(checkpoint.folder).name == features.name


def test_another_run_has_another_name(small, street, trained, tmp_path):
    config = small(loop={"steps": 2, "seed": 1})
    run_training(PretrainTask([street], config), config.loop, tmp_path)
    assert load_self_trained(tmp_path).name != load_self_trained(trained[2]).name


def test_a_transformer_trains_and_gives_features(small, street, tmp_path):
    config = small(encoder={"kind": "vit", "vit": {"dim": 12, "heads": 3, "depth": 2}}, loop={"steps": 4})
    run_training(PretrainTask([street], config), config.loop, tmp_path)
    features = load_self_trained(tmp_path)
    assert features.extract(np.zeros((60, 90, 3), np.uint8)).shape == (8, 12, 8)


@pytest.mark.parametrize(("image", "pixel"), [(0.0, 1.0), (1.0, 0.0)])
def test_each_term_trains_alone(small, street, tmp_path, image, pixel):
    config = small(image={"weight": image}, pixel={"weight": pixel}, views={"locals": 0}, loop={"steps": 5})
    run_training(PretrainTask([street], config), config.loop, tmp_path)
    row = json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[-1])
    assert ("image" in row, "pixel" in row) == (image > 0, pixel > 0)
    assert row["skipped_steps"] == 0


def test_the_detector_starts_from_it(trained):
    _, task, out = trained
    road, car = ClassInfo(0, "road", False, (0, 0, 0)), ClassInfo(1, "car", True, (9, 9, 9))
    config = ModelConfig(backbone=BackboneConfig("resnet18", 0.125), fpn_channels=8)
    network = PanopticNetwork(config, ClassTable.of([road, car]))
    initialize_backbone(network, out)
    for name, value in network.backbone.state_dict().items():
        assert torch.equal(value, task.model.backbone.state_dict()[name]) or name.endswith("num_batches_tracked"), name


def test_what_is_no_pretraining_is_refused(trained, tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no checkpoint"):
        load_self_trained(tmp_path)
    table = trained[0].folder / "checkpoint.json"
    changed = tmp_path / "step_0000006"
    changed.mkdir()
    (changed / "checkpoint.json").write_text(table.read_text().replace('"dim": 8', '"dim": 9'))
    (changed / "model.safetensors").write_bytes((trained[0].folder / "model.safetensors").read_bytes())
    with pytest.raises(ValueError, match="does not fit its settings"):
        load_self_trained(tmp_path)


@pytest.mark.parametrize("name", ["pretrain", "pretrain_tiny"])
def test_configs_load(name):
    assert read_config(PretrainConfig, CONFIGS / f"{name}.yaml") != PretrainConfig()


@pytest.mark.parametrize(
    ("part", "changes", "message"),
    [
        ("views", {"crop_region": [0.9, 0.5]}, "crop_region must be"),
        ("views", {"crop": 34}, "multiple of the encoder's stride 4"),
        ("image", {"weight": 0}, "nothing is left"),
    ],
)
def test_settings_that_cannot_work_are_refused(small, part, changes, message):
    pixel = {"pixel": {"weight": 0}} if part == "image" else {}
    with pytest.raises(ValueError, match=message):
        small(**{part: changes}, **pixel)


def test_the_command_trains(street, tmp_path, capsys):
    sizes = ["encoder.resnet.kind=resnet18", "encoder.resnet.width=0.125", "views.height=64", "views.width=96"]
    sizes += ["views.crop=32", "views.local_crop=32", "views.locals=1", "image.prototypes=8", "image.hidden=8"]
    sizes += ["loop.steps=2", "loop.batch_size=1", "loop.workers=0", "pixel.frames=2", "pixel.classes=4"]
    arguments = [str(street), "--out", str(tmp_path), "--device", "cpu"]
    assert main(["pretrain", *arguments, *(part for size in sizes for part in ("--set", size))]) == 0
    printed = capsys.readouterr().out
    assert "5 pairs of 1 clip, 2 steps on cpu" in printed
    assert "2 steps, 0 skipped" in printed


def test_help_needs_no_torch():
    code = (
        "import sys; from videocups.pretrain.commands import pretrain\n"
        "try: pretrain(['--help'])\nfinally: assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "pixel.guided = 0.5" in done.stdout
