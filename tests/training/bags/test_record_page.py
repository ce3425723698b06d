"""The commands of docs/record.md run, in their order, and its tables name real options."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from videocups.bags.ingest_command import parser
from videocups.cli import main
from videocups_core.clip import Clip, find_clips

PAGE = Path(__file__).parents[3] / "docs" / "record.md"


def test_the_commands_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```sh\n(.*?)```", PAGE.read_text(), re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    assert len(lines) >= 5
    for line in lines:
        program, *arguments = shlex.split(line.replace("--frames 40", "--frames 15 --size 64x48"))
        assert program == "videocups"
        assert main(arguments) == 0, line
    assert len(Clip(find_clips(tmp_path / "clips")[0])) == 15
    assert Clip(find_clips(tmp_path / "stereo_clips")[0]).info.stereo_baseline_m


def test_the_options_exist():
    known = {option for action in parser()._actions for option in action.option_strings}
    known |= {"--frames", "--stereo", "--topics", "--clips"}  # of videocups bag
    named = set(re.findall(r"--[a-z][a-z-]+", PAGE.read_text()))
    assert len(named) > 15
    assert named <= known, named - known
