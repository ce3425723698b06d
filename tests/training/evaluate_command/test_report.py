"""The HTML page: whole, escaped, with pictures, and nothing fetched from outside."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from videocups.cli import main

VOID_TAGS = {"meta", "img", "br"}


class Page(HTMLParser):
    """Collects tags, text per tag and attributes; fails on a tag that closes another one."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: dict[str, list[str]] = {}
        self.feed(text)
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID_TAGS:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and data.strip():
            self.text.setdefault(self.open[-1], []).append(data)


@pytest.fixture
def page(world: Any, damage: Any) -> tuple[Page, str]:
    out = world.root / "report.html"
    prediction = world.step(world.root / "a <b> & c", damage)
    arguments = ["--prediction", str(prediction), "--truth", str(world.truth), "--dataset", "rendered"]
    assert main(["evaluate", *arguments, "--html", str(out)]) == 0
    text = out.read_text(encoding="utf-8")
    return Page(text), text


def test_every_section_is_there(page: tuple[Page, str]) -> None:
    sections = page[0].text["h2"]
    assert sections == ["Classes", "Confusion", "Matching", "Diagnostics", "Sequences", "Where it goes wrong"]
    assert page[0].text["h1"] == ["Rendered world"]


def test_pictures_are_inline_and_four_a_clip(page: tuple[Page, str]) -> None:
    images = [attributes for tag, attributes in page[0].tags if tag == "img"]
    assert [image["alt"] for image in images] == ["image", "prediction", "truth", "difference"] * 2
    assert all(str(image["src"]).startswith("data:image/jpeg;base64,/9j/") for image in images)


def test_nothing_comes_from_outside(page: tuple[Page, str]) -> None:
    tags, text = page[0].tags, page[1]
    assert not {tag for tag, _ in tags} & {"script", "link", "iframe", "object"}
    assert not [a for _, attributes in tags for name, a in attributes.items() if name == "href"]
    assert "http" not in text
    assert "@import" not in text
    assert "url(" not in text


def test_paths_are_escaped(page: tuple[Page, str]) -> None:
    assert "a &lt;b&gt; &amp; c" in page[1]


def test_both_colour_schemes(page: tuple[Page, str]) -> None:
    style = page[0].text["style"][0]
    light, dark = re.findall(r"--page: (#\w+);", style)
    assert int(light[1:3], 16) > 0xE0
    assert int(dark[1:3], 16) < 0x30


def test_worst_sequence_comes_first(page: tuple[Page, str]) -> None:
    titles = [text.strip() for text in page[0].text["h3"]]
    assert titles == ["south", "north"]


def test_without_pictures_the_page_still_shows_labels(world: Any, tmp_path: Path) -> None:
    for picture in world.truth.rglob("frames/*.png"):
        picture.unlink()
    out = tmp_path / "report.html"
    arguments = [
        "--prediction",
        str(world.step(tmp_path / "pred")),
        "--truth",
        str(world.truth),
        "--dataset",
        "rendered",
    ]
    assert main(["evaluate", *arguments, "--html", str(out)]) == 0
    images = [attributes["alt"] for tag, attributes in Page(out.read_text()).tags if tag == "img"]
    assert images == ["prediction", "truth", "difference"] * 2
