"""The commands of docs/pretrain.md and docs/weights.md are understood as they are written."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

import videocups.model.imports.commands
import videocups.pretrain.commands
import videocups.semantics.commands
from videocups.cli import main
from videocups.pretrain.config import PretrainConfig

ROOT = Path(__file__).parents[3]
PAGES = ("pretrain", "weights")


def commands(page):
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    lines = [line for block in re.findall(r"```bash\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("videocups ")]


@pytest.mark.parametrize("words", [words for page in PAGES for words in commands(page)], ids=" ".join)
def test_commands(words, monkeypatch):
    monkeypatch.chdir(ROOT)
    done = []
    monkeypatch.setattr(
        videocups.pretrain.commands, "run", lambda options, config: done.append((options.clips, config)) or 0
    )
    monkeypatch.setattr(videocups.model.imports.commands, "convert_file", lambda options: done.append(options) or 0)
    monkeypatch.setattr(videocups.semantics.commands, "show", lambda folder: done.append(folder) or 0)
    monkeypatch.setattr(videocups.semantics.commands, "fetch", lambda name, *rest: done.append(name) or 0)
    assert main(words) == 0
    assert len(done) == 1
    if words[0] == "pretrain":
        assert done[0][0] == [Path("clips")]
        assert done[0][1] != PretrainConfig()


def test_there_are_commands_on_both_pages():
    assert [len(commands(page)) for page in PAGES] == [2, 3]


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#]+\.md)[^)]*\)", text)
    assert links
    assert [link for link in links if not (ROOT / "docs" / link).is_file()] == []
