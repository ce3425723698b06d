"""Requirements are pinned once, manifests agree with each other."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
REQUIREMENTS = ROOT / "requirements"
PIN = re.compile(
    r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)={2,3}(?P<version>[0-9][0-9A-Za-z.+]*)(; (?P<marker>[^#]+?))?(  #.*)?"
)
# lists that are installed together; a system's ROS 2 sets other bounds and stands alone
TOGETHER = ["base", "build", "constraints", "dev", "test", "training", "vehicle"]


def lines_of(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines() if line.strip() and not line.startswith("#")]


def pins_of(path: Path) -> list[re.Match[str]]:
    matches = {line: PIN.fullmatch(line) for line in lines_of(path) if not line.startswith("-r ")}
    unpinned = [line for line, match in matches.items() if match is None]
    assert not unpinned, f"{path.name} has lines that pin no version"
    return [match for match in matches.values() if match]


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize("path", sorted(REQUIREMENTS.glob("*.txt")), ids=lambda path: path.name)
def test_every_requirement_is_pinned(path: Path) -> None:
    assert pins_of(path) or path.name == "vehicle.txt"
    for line in lines_of(path):
        if line.startswith("-r "):
            assert (REQUIREMENTS / line.removeprefix("-r ")).exists()


@pytest.mark.parametrize("names", [TOGETHER, ["ros-kilted"], ["ros-jazzy"]], ids=lambda names: names[-1])
def test_no_package_is_pinned_twice(names: list[str]) -> None:
    seen = Counter(
        (canonical(pin["name"]), pin["marker"]) for name in names for pin in pins_of(REQUIREMENTS / f"{name}.txt")
    )
    assert not [key for key, count in seen.items() if count > 1]
    unconditional = {name for name, marker in seen if marker is None}
    assert not unconditional & {name for name, marker in seen if marker is not None}


def test_torch_is_the_registrys_own_build() -> None:
    assert "torch===" in (REQUIREMENTS / "training.txt").read_text()


def test_the_light_base_of_videocups_is_in_every_environment() -> None:
    tomllib = pytest.importorskip("tomllib", reason="needs Python 3.11")
    manifest = tomllib.loads((ROOT / "training/pyproject.toml").read_text())
    wanted = {canonical(re.split(r"[<>=;]", line)[0]) for line in manifest["project"]["dependencies"]}
    held = {canonical(pin["name"]) for pin in pins_of(REQUIREMENTS / "base.txt")}
    assert wanted - {"videocups-core"} <= held
    heavy = {canonical(re.split(r"[<>=;]", line)[0]) for line in manifest["project"]["optional-dependencies"]["train"]}
    assert heavy <= held | {canonical(pin["name"]) for pin in pins_of(REQUIREMENTS / "training.txt")}
    assert "torch" not in held


def test_all_packages_have_one_version() -> None:
    versions = {}
    for path in sorted((ROOT / "ros2_ws/src").glob("*/package.xml")):
        versions[path.parent.name] = ElementTree.parse(path).findtext("version")
    for path in [*(ROOT / "ros2_ws/src").glob("*/setup.py"), ROOT / "training/pyproject.toml"]:
        found = re.search(r'^\s*version ?= ?"([^"]+)"', path.read_text(), re.MULTILINE)
        versions[f"{path.parent.name}/{path.name}"] = found and found[1]
    for path in [*(ROOT / "ros2_ws/src").glob("*/*/__init__.py"), ROOT / "training/src/videocups/__init__.py"]:
        if found := re.search(r'^__version__ = "([^"]+)"', path.read_text(), re.MULTILINE):
            versions[f"{path.parent.name}/__init__.py"] = found[1]
    assert len(versions) >= 9
    assert len(set(versions.values())) == 1, versions
    changelog = (ROOT / "CHANGELOG.md").read_text()
    assert "## Unreleased" in changelog or f"## {versions['videocups_core']}" in changelog


def test_every_entry_point_of_the_nodes_is_a_module_with_a_main() -> None:
    package = ROOT / "ros2_ws/src/videocups_perception"
    names = re.search(r"for node in \(([^)]*)\)", (package / "setup.py").read_text())
    assert names
    for name in re.findall(r'"(\w+)"', names[1]):
        source = (package / "videocups_perception" / f"{name}.py").read_text()
        assert re.search(r"^def main\(|^from .* import .*\bmain\b", source, re.MULTILINE), name


@pytest.mark.parametrize("path", sorted((ROOT / "ros2_ws/src").glob("*/msg/*.msg")), ids=lambda path: path.stem)
def test_every_message_field_is_documented(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert lines[0].startswith("# ")
    for before, line in pairwise(lines):
        is_field = line and not line.startswith("#")
        follows_field = before and not before.startswith("#")
        assert not is_field or "#" in line or before.startswith("#") or follows_field, f"{path.name}: {line}"
