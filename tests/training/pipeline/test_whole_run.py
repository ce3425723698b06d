"""The way from recordings to a bundle: what is run, skipped, gone on with; once for real in the slow test."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from videocups.bags.render import RenderOptions, render_bag
from videocups.cli import main
from videocups.pipeline.label_config import label_config
from videocups.pipeline.run_command import run_parser
from videocups.pipeline.whole_run import RunSettings, Standing, WholeRun, options, read_settings, table_lines
from videocups.synthetic import WorldConfig
from videocups.train.panoptic_config import PanopticTraining, SelfTraining
from videocups_core.bundle import read_bundle
from videocups_core.clip import find_clips
from videocups_core.config import ConfigError, from_mapping

ROOT = Path(__file__).parents[3]
TINY = ROOT / "training" / "configs" / "run_tiny.yaml"


class Commands:
    """Stands in for the commands: writes what each is expected to leave, and fails where told to."""

    def __init__(self, *failing: str, status: int = 0) -> None:
        self.called: list[tuple[str, list[str]]] = []
        self.failing, self.status = failing, status

    def __call__(self, name: str, arguments: list[str]) -> int:
        self.called.append((name, arguments))
        if name in self.failing:
            return 1
        out = Path(arguments[arguments.index("--out") + 1]) if "--out" in arguments else Path(arguments[0])
        (out / "data_set").mkdir(parents=True, exist_ok=True)
        (out / "data_set" / "thing_stuff.json").write_text("{}")
        (out / "model.json").write_text("{}")
        return self.status if name == "ingest" else 0

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.called]


@pytest.fixture
def whole(tmp_path: Path) -> WholeRun:
    (tmp_path / "drive.mcap").write_bytes(b"a recording")
    return WholeRun((tmp_path / "drive.mcap",), tmp_path / "out", RunSettings(train={"loop": {"steps": 3}}))


def go(whole: WholeRun, *failing: str, until: str | None = None, status: int = 0) -> tuple[Commands, list[Standing]]:
    commands = Commands(*failing, status=status)
    return commands, whole.go(commands, lambda table: None, until)


def test_parts_run_once_and_in_order(whole: WholeRun) -> None:
    commands, table = go(whole)
    assert commands.names == ["ingest", "label", "train", "export"]
    clips, run = str(whole.out / "clips"), commands.called[3][1][0]
    assert commands.called[0][1] == [str(whole.sources[0]), "--out", clips]
    assert commands.called[1][1] == [clips]
    assert commands.called[2][1][:4] == ["panoptic", clips, "--out", run]
    assert commands.called[3][1] == [run, "--out", str(whole.out / "bundle"), "--calibrate", clips]
    assert [standing.state for standing in table] == ["done"] * 4
    commands, table = go(whole)
    assert commands.called == []
    assert [standing.state for standing in table] == ["as it was"] * 4
    assert next(line.split()[:3] for line in table_lines(table)) == ["ingest", "as", "it"]


def test_a_change_runs_what_depends_on_it_into_a_run_of_its_own(whole: WholeRun) -> None:
    first = go(whole)[0].called[2][1][3]
    changed = replace(whole, settings=replace(whole.settings, train={"loop": {"steps": 4}}))
    commands, _ = go(changed)
    assert commands.names == ["train", "export"]
    assert commands.called[0][1][3] != first
    assert Path(first).is_dir()
    faster = replace(whole, settings=replace(whole.settings, label_options={"workers": 3}))
    assert go(faster)[0].names == ["train", "export"]  # back to the first training; workers change no result
    os.utime(whole.sources[0], ns=(1, 1))
    assert go(whole)[0].names == ["ingest", "label", "train", "export"]


def test_selftraining_stands_between_training_and_export(whole: WholeRun) -> None:
    go(whole)
    commands, _ = go(replace(whole, settings=replace(whole.settings, selftrain={})))
    assert commands.names == ["selftrain", "export"]
    arguments = commands.called[0][1]
    assert "train" in Path(arguments[0]).parts
    assert commands.called[1][1][0] == arguments[arguments.index("--out") + 1]


def test_a_part_that_fails_stops_the_run_which_goes_on_there(whole: WholeRun) -> None:
    shown: list[list[str]] = []

    def show(table: Sequence[Standing]) -> None:
        shown.append([standing.state for standing in table])

    with pytest.raises(ValueError, match=r"'videocups train' failed; mend the cause.*in the group 'train'\)"):
        whole.go(Commands("train"), show)
    assert shown[-1] == ["done", "done", "failed", "to do"]
    assert go(whole)[0].names == ["train", "export"]
    (whole.out / "bundle" / "model.json").unlink()
    assert go(whole)[0].names == ["export"]


def test_a_recording_with_damage_goes_on_but_other_commands_must_succeed(whole: WholeRun) -> None:
    assert go(whole, until="label", status=3)[0].names == ["ingest", "label"]
    with pytest.raises(ValueError, match="one of ingest, label, train, export; got 'evaluate'"):
        go(whole, until="evaluate")
    missing = replace(whole, sources=(whole.out / "nothing",))
    with pytest.raises(FileNotFoundError, match="there is no recording"):
        go(missing)


def test_settings_reach_the_commands(tmp_path: Path, whole: WholeRun) -> None:
    assert options({"clip_length": 12, "undistort": True, "png": False, "set": ["a=1", "b=2"]}) == [
        *("--clip-length", "12", "--undistort", "--set", "a=1", "--set", "b=2")
    ]
    go(whole)
    assert json.loads((whole.out / ".run" / "train.json").read_text())["arguments"][-1].endswith(".run/train.yaml")
    assert (whole.out / ".run" / "train.yaml").read_text() == "loop:\n  steps: 3\n"
    path = tmp_path / "run.yaml"
    path.write_text("trian: {}\n")
    with pytest.raises(ConfigError, match="did you mean 'train'"):
        read_settings(path)


def test_the_tiny_settings_fit_their_commands() -> None:
    settings = read_settings(TINY)
    label_config(settings.label, "run_tiny.yaml")
    from_mapping(PanopticTraining, settings.train, "run_tiny.yaml")
    from_mapping(SelfTraining, settings.selftrain, "run_tiny.yaml")
    run_parser().parse_args(["a.mcap", "--out", "out", "--config", str(TINY)])


class StandingRender(RenderOptions):
    """A street whose camera stands: what moves there is found even in a small picture."""

    def world_config(self) -> WorldConfig:
        return replace(super().world_config(), scenario="stand")


def record(folder: Path, seed: int) -> Path:
    bag = folder / f"drive_{seed}"
    render_bag(bag, StandingRender(frames=8, seed=seed, size="128x64", truth=False))
    return bag


def clips_below(folder: Path) -> list[str]:
    return [clip.name for clip in find_clips(folder)]


def test_clips_of_recordings_that_are_not_named_any_more_are_set_aside(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = record(tmp_path, 8), record(tmp_path, 9)
    clips = tmp_path / "out" / "clips"

    def run(*bags: Path) -> list[str]:
        assert main(["run", *map(str, bags), "--out", str(tmp_path / "out"), "--until", "ingest"]) == 0
        return capsys.readouterr().err.splitlines()

    run(first, second)
    both = clips_below(clips)
    assert len(both) == 2
    (clips / both[0] / "labels.txt").write_text("took hours")
    told = run(second)
    assert clips_below(clips) == both[1:]
    assert f"set aside in {clips}/.left_out, their recordings are not named: {both[0]}" in [row.strip() for row in told]
    assert run(second)[0].split()[:4] == ["ingest", "as", "it", "was"]
    run(first, second)
    assert clips_below(clips) == both
    assert (clips / both[0] / "labels.txt").read_text() == "took hours"


@pytest.mark.slow
def test_from_a_bag_to_a_bundle(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = record(tmp_path, 8), record(tmp_path, 9)
    arguments = ["--out", str(tmp_path / "out"), "--config", str(TINY)]
    assert main(["run", str(first), str(second), *arguments]) == 0, capsys.readouterr().err
    bundle = read_bundle(tmp_path / "out" / "bundle")
    assert bundle.classes
    assert len(list((tmp_path / "out" / "selftrain").iterdir())) == 1
    capsys.readouterr()
    assert main(["run", str(first), str(second), *arguments]) == 0
    assert capsys.readouterr().err.count("as it was") == 5
    assert main(["run", str(second), *arguments, "--until", "label"]) == 0
    assert len(clips_below(tmp_path / "out" / "clips")) == 1
