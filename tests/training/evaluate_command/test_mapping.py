"""``videocups mapping``: show, rename, set, unset, change kinds, export for the vehicle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from videocups.cli import main
from videocups.evaluate import ClassMapping
from videocups_core.labels import read_classes


@pytest.fixture
def file(world: Any) -> Path:
    out: Path = world.root / "mapping.json"
    arguments = ["--prediction", str(world.step(world.root / "pred")), "--truth", str(world.truth)]
    assert main(["evaluate", *arguments, "--dataset", "rendered", "--save-mapping", str(out)]) == 0
    return out


def test_show_changes_nothing(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = file.read_bytes()
    capsys.readouterr()
    assert main(["mapping", str(file)]) == 0
    assert file.read_bytes() == before
    shown = capsys.readouterr().out
    assert "pedestrian" in shown
    assert ClassMapping.load(file).fingerprint in shown


def test_rename_and_export(file: Path) -> None:
    labels = file.with_name("labels.json")
    assert main(["mapping", str(file), "--name", "1=van", "--labels", str(labels)]) == 0
    assert ClassMapping.load(file).pseudo_names[1] == "van"
    by_id = {info.class_id: info for info in read_classes(labels)}
    assert (by_id[1].name, by_id[1].is_thing) == ("van", True)
    assert by_id[0].name == "road"
    assert by_id[6].name == "road 2"  # names are unique on the vehicle


def test_numbered_names_stay_unique(file: Path) -> None:
    """Two roads become "road" and "road 2", unless another class has that name already."""
    labels = file.with_name("labels.json")
    assert main(["mapping", str(file), "--name", "3=road 2", "--labels", str(labels)]) == 0
    names = [info.name for info in read_classes(labels)]
    assert {"road", "road 2", "road 3"} <= set(names)
    assert len(set(names)) == len(names)


def test_names_with_brackets_are_shown_as_they_are(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["mapping", str(file), "--name", "1=[/]", "--name", "4=[red]van"]) == 0
    shown = capsys.readouterr().out
    assert "[/]" in shown
    assert "[red]van" in shown


def test_set_and_unset(file: Path) -> None:
    assert main(["mapping", str(file), "--set", "1=pedestrian", "--unset", "4"]) == 0
    mapping = ClassMapping.load(file)
    assert mapping.targets[1] == mapping.class_names.index("pedestrian")
    assert mapping.targets[4] == mapping.void
    assert mapping.methods[1] == "manual"


def test_a_kind_changes_only_with_its_target(file: Path) -> None:
    assert main(["mapping", str(file), "--stuff", "1"]) == 0
    assert ClassMapping.load(file).targets[1] == 255
    assert main(["mapping", str(file), "--thing", "1", "--set", "1=car"]) == 0
    mapping = ClassMapping.load(file)
    assert 1 in mapping.pseudo_things
    assert mapping.class_names[mapping.targets[1]] == "car"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--set", "1=road"], "things stay things"),
        (["--set", "1=boat"], "no class 'boat'; classes are sky, road, car, pedestrian, void"),
        (["--set", "99=car"], "no pseudo-class 99"),
        (["--name", "car"], "--name needs a form like 7=van"),
        (["--thing", "0", "--stuff", "0"], "cannot be --thing and --stuff at once"),
        (["--thing", "99"], "no pseudo-class 99"),
    ],
)
def test_a_wrong_edit_leaves_the_file_alone(
    file: Path, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = file.read_bytes()
    assert main(["mapping", str(file), *options]) == 1
    assert message in capsys.readouterr().err
    assert file.read_bytes() == before
    assert not list(file.parent.glob("*.tmp"))


def test_a_file_edited_by_hand_is_refused(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(file.read_text().replace('"manual"', '"none"').replace('"car"', '"cart"'))
    assert main(["mapping", str(file)]) == 1
    assert "was changed after it was written" in capsys.readouterr().err
