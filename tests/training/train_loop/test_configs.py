"""Every YAML of the trainings loads, and help lists what can be set without importing torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from videocups.cues.dynamo.config import DynamoConfig
from videocups.cues.refined.config import RefinedConfig
from videocups.cues.smurf.config import SmurfConfig
from videocups.train.config_file import read_config

CONFIGS = Path(__file__).parents[3] / "training" / "configs"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("flow", SmurfConfig),
        ("flow_tiny", SmurfConfig),
        ("flow_refined", RefinedConfig),
        ("depth", DynamoConfig),
        ("depth_tiny", DynamoConfig),
        ("depth_small", DynamoConfig),
    ],
)
def test_configs_load(name, kind):
    assert read_config(kind, CONFIGS / f"{name}.yaml") != kind()


@pytest.mark.parametrize(("name", "listed"), [("flow", "loss.student_crop = 64"), ("depth", "loss.d_ground = 0.1")])
def test_help_needs_no_torch(name, listed):
    code = (
        "import sys; from videocups.cli import main\n"
        f"try: main(['train', '{name}', '--help'])\nfinally: assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert listed in done.stdout
