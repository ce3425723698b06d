"""docs/evaluate.md names every dataset, and its commands are commands that parse."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from videocups.evaluate.commands import evaluate_parser, mapping_parser
from videocups.evaluate.datasets import dataset_names

PAGE = (Path(__file__).parents[3] / "docs" / "evaluate.md").read_text(encoding="utf-8")


def test_every_dataset_is_in_the_table() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| `")]
    named = {name for row in rows for name in re.findall(r"`([a-z0-9-]+)`", row.split("|")[1])}
    assert set(dataset_names()) <= named


def test_the_commands_parse() -> None:
    blocks = re.findall(r"```bash\n(.*?)```", PAGE, flags=re.DOTALL)
    commands = [line for block in blocks for line in block.replace("\\\n", " ").splitlines() if line.strip()]
    assert len(commands) == 3
    for command in commands:
        program, name, *arguments = shlex.split(command)
        assert program == "videocups"
        {"evaluate": evaluate_parser, "mapping": mapping_parser}[name]().parse_args(arguments)


def test_every_option_is_explained() -> None:
    options = [text for action in evaluate_parser()._actions for text in action.option_strings if text.startswith("--")]
    unexplained = [text for text in options if text not in PAGE and text not in ("--help", "--workers")]
    assert unexplained == []
