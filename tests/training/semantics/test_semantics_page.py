"""The example of docs/semantics.md runs, and its commands parse."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from videocups.cli import main
from videocups.cues.flow import FlowPair
from videocups_core.panoptic.storage import PanopticClip

PAGE = (Path(__file__).parents[3] / "docs" / "semantics.md").read_text(encoding="utf-8")


def street(t):
    """Sky, ground, and a red box that moves 2 px a frame."""
    rgb = np.full((48, 64, 3), (200, 220, 250), np.uint8)
    rgb[24:] = (90, 90, 90)
    track = np.zeros((48, 64), np.int32)
    rgb[28:40, 10 + 2 * t : 30 + 2 * t], track[28:40, 10 + 2 * t : 30 + 2 * t] = (200, 30, 30), 1
    return rgb, track


def test_the_example_gives_a_panoptic_clip(tmp_path):
    flow = np.zeros((48, 64, 2), np.float32)
    flow[..., 0] = 2
    seen = np.ones((48, 64), bool)
    frames, tracks = zip(*[street(t) for t in range(3)], strict=True)
    names = {
        "frames": frames,
        "tracks": tracks,
        "depths": [np.full((48, 64), 10, np.float32)] * 3,
        "flows": [FlowPair(flow, -flow, seen, seen)] * 2,
        "stamps_ns": [0, 100, 200],
        "folder": tmp_path,
    }
    (example,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(compile(example, "docs/semantics.md", "exec"), names)
    frame = PanopticClip(tmp_path).frame(1)
    things = [row for row in frame.segments if row.track_id == 1]
    assert [row.area_px for row in things] == [240]
    sky, ground = frame.class_map()[5, 5], frame.class_map()[45, 60]
    assert len({sky, ground, things[0].class_id}) == 3


def test_the_commands_parse(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("VIDEOCUPS_WEIGHTS", str(tmp_path))
    monkeypatch.setattr("videocups.semantics.commands.fetch", lambda *arguments: 0)
    (block,) = re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)
    for line in block.splitlines():
        program, *arguments = shlex.split(line)
        assert program == "videocups"
        assert main(arguments) == 0
    assert "dino-vits8: not fetched" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["weights", "--help"])
