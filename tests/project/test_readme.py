"""The first page keeps its word: its links lead somewhere, its commands and their options exist."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")
LINK = re.compile(r"\]\((?!https?:)([^)#]+)|src=\"([^\"]+)\"")
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = sorted(set(re.findall(r"`videocups ([a-z][^`]*)`", README)))


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_files(page: str) -> None:
    targets = [first or second for first, second in LINK.findall((ROOT / page).read_text(encoding="utf-8"))]
    assert not [target for target in targets if not (ROOT / target).exists()]


def test_the_readme_is_read() -> None:
    assert len(COMMANDS) >= 5
    assert README.index("./demo.sh") < README.index("./test.sh") < README.index("## ")


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_and_options_exist(command: str) -> None:
    words = command.split()
    depth = 2 if words[0] in ("bag", "train", "weights") else 1
    result = subprocess.run(
        [Path(sys.executable).with_name("videocups"), *words[:depth], "--help"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    options = [word.partition("=")[0] for word in words if word.startswith("--")]
    assert not [option for option in options if not re.search(rf"(?<![\w-]){option}(?![\w-])", result.stdout)]


@pytest.mark.parametrize("script", ["setup.sh", "test.sh", "demo.sh"])
def test_scripts_explain_themselves(script: str) -> None:
    result = subprocess.run(["bash", str(ROOT / script), "--help"], capture_output=True, text=True, check=True)
    assert result.stdout.startswith(f"usage: ./{script}")
