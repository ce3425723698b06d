from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from videocups.cli import main
from videocups.export.run import ExportConfig

PAGE = (Path(__file__).parents[3] / "docs" / "export.md").read_text(encoding="utf-8")
COMMANDS = sorted(set(re.findall(r"^videocups (.+?)(?:  +#.*)?$", PAGE, re.MULTILINE)))


def help_of(command: str, capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as left:
        main([command, "--help"])
    assert left.value.code == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_of_the_page_has_its_options(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    command, *rest = line.split()
    known = help_of(command, capsys)
    assert all(option in known for option in rest if option.startswith("--"))


def test_every_setting_of_the_page_exists() -> None:
    named = set(re.findall(r"--set (\w+)=", PAGE)) | {"max_float_parts"}
    assert named >= {"max_loss", "detections", "proposals", "pre_nms"}
    assert named <= {field.name for field in fields(ExportConfig)}


def test_the_page_is_about_all_three_commands() -> None:
    assert {line.split()[0] for line in COMMANDS} == {"export", "engine", "bench"}
