"""From recordings to a bundle: the commands one after the other, each skipped where nothing it depends on changed.

OUT/
  clips/            the recordings as clips, with labels beside the frames; those of recordings that are not named any
                    more lie in clips/.left_out/
  train/KEY/        the training's run; another setting or recording is another run, the older ones stay
  selftrain/KEY/    the same for self-training, where it is asked for
  bundle/           what goes into the vehicle
  .run/             settings as they were given to each command, and what is done
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from videocups.pipeline.other_clips import ASIDE, keep_named
from videocups_core.clip import write_atomically
from videocups_core.config import from_mapping, setting

Call = Callable[[str, list[str]], int]
"""runs a command of ``videocups`` with its arguments; returns its exit status."""
DAMAGED = 3
"""exit status of ``ingest`` where a part of a recording is lost: the rest is there."""
MARKS = ".run"


@dataclass(frozen=True)
class RunSettings:
    """The file given with --config: a group for each command."""

    # options of 'videocups ingest' by their names, such as topic: /camera/image or undistort: true
    ingest: dict[str, Any] = setting({}, "options of 'videocups ingest' by their names")
    # the content of a label.yaml
    label: dict[str, Any] = setting({}, "settings of 'videocups label'")
    # options of 'videocups label', such as workers: 8
    label_options: dict[str, Any] = setting({}, "options of 'videocups label' by their names; they change no result")
    # the content of a panoptic.yaml
    train: dict[str, Any] = setting({}, "settings of 'videocups train panoptic'")
    # the content of a selftrain.yaml; null leaves self-training out
    selftrain: dict[str, Any] | None = setting(None, "settings of 'videocups selftrain'; null leaves it out")
    # options of 'videocups export' by their names, such as precision: int8
    export: dict[str, Any] = setting({}, "options of 'videocups export' by their names")


@dataclass(frozen=True)
class Part:
    """One command of the way. ``key``: of all that decides what comes out; ``made``: what must be there afterwards."""

    name: str
    command: str
    arguments: list[str]
    key: str
    made: Path


@dataclass
class Standing:
    """How a part stands: "to do", "running", "done", "as it was" or "failed"; ``note``: what else to say of it."""

    part: Part
    state: str = "to do"
    seconds: float = 0.0
    note: str = ""


@dataclass(frozen=True)
class WholeRun:
    """All parts of a run into ``out``."""

    sources: tuple[Path, ...]
    out: Path
    settings: RunSettings = field(default_factory=RunSettings)

    def parts(self) -> list[Part]:
        """Return the parts in order; each key holds those before it."""
        clips, settings = self.out / "clips", self.settings
        ingest = _key("ingest", [mark_of(source) for source in self.sources], settings.ingest)
        names = [str(source) for source in self.sources]
        parts = [Part("ingest", "ingest", [*names, "--out", str(clips), *options(settings.ingest)], ingest, clips)]
        label = _key("label", ingest, settings.label)
        arguments = [str(clips), *self._config("label", settings.label), *options(settings.label_options)]
        parts.append(Part("label", "label", arguments, label, clips / "data_set" / "thing_stuff.json"))
        train = _key("train", label, settings.train)
        run = self.out / "train" / train[:8]
        arguments = ["panoptic", str(clips), "--out", str(run), *self._config("train", settings.train)]
        parts.append(Part("train", "train", arguments, train, run))
        last = train
        if settings.selftrain is not None:
            last = _key("selftrain", train, settings.selftrain)
            run, begin = self.out / "selftrain" / last[:8], run
            named = self._config("selftrain", settings.selftrain)
            arguments = [str(begin), str(clips), "--out", str(run), *named]
            parts.append(Part("selftrain", "selftrain", arguments, last, run))
        bundle = self.out / "bundle"
        chosen = options({"calibrate": str(clips), **settings.export})
        key = _key("export", last, settings.export)
        parts.append(Part("export", "export", [str(run), "--out", str(bundle), *chosen], key, bundle / "model.json"))
        return parts

    def _config(self, name: str, content: Mapping[str, Any]) -> list[str]:
        return ["--config", str(self.out / MARKS / f"{name}.yaml")] if content else []

    def write_configs(self) -> None:
        """Write the settings of each command to the files that are named to it."""
        import yaml

        for name in ("label", "train", "selftrain"):
            content = getattr(self.settings, name)
            if content:
                text = yaml.safe_dump(content, sort_keys=False)
                write_atomically(self.out / MARKS / f"{name}.yaml", text.encode())

    def go(self, call: Call, show: Callable[[Sequence[Standing]], None], until: str | None = None) -> list[Standing]:
        """Run what is to do, in order, up to the part ``until``; ``show`` is told whenever a part's standing changes.

        ValueError where a part fails: nothing after it was tried, and the next run goes on there.
        """
        table = [Standing(part) for part in self.parts()]
        names = [standing.part.name for standing in table]
        if until is not None and until not in names:
            raise ValueError(f"--until names a part, one of {', '.join(names)}; got {until!r}")
        self.write_configs()
        for standing in table[: names.index(until) + 1 if until else None]:
            part = standing.part
            if self.is_done(part):
                standing.state = "as it was"
                continue
            standing.state, begin = "running", time.monotonic()
            self._mark(part).unlink(missing_ok=True)  # until it is done again, whatever happens meanwhile
            if part.name == "ingest" and (names_out := keep_named(part.made, part.arguments)):
                standing.note = (
                    f"set aside in {part.made / ASIDE}, their recordings are not named: {', '.join(names_out)}"
                )
            show(table)
            status = call(part.command, part.arguments)
            standing.seconds = time.monotonic() - begin
            if status not in (0, DAMAGED if part.name == "ingest" else 0) or not part.made.exists():
                standing.state = "failed"
                show(table)
                raise ValueError(
                    f"'videocups {part.command}' failed; mend the cause above and give the same command again (its "
                    f"options and settings stand in the file of --config, in the group {part.name!r})"
                )
            standing.state = "done"
            mark = {"key": part.key, "seconds": round(standing.seconds, 1), "arguments": part.arguments}
            write_atomically(self._mark(part), (json.dumps(mark, indent=1) + "\n").encode())
        show(table)
        return table

    def is_done(self, part: Part) -> bool:
        """Tell whether a part was done with all that it depends on as it is now, and its result is still there."""
        try:
            mark = json.loads(self._mark(part).read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            return False
        return bool(mark.get("key") == part.key) and part.made.exists()

    def _mark(self, part: Part) -> Path:
        return self.out / MARKS / f"{part.name}.json"


def read_settings(path: Path | None) -> RunSettings:
    """Read the YAML file; None is all defaults."""
    if path is None:
        return RunSettings()
    from videocups.train.config_file import read_yaml

    return from_mapping(RunSettings, read_yaml(path), str(path))


def options(values: Mapping[str, Any]) -> list[str]:
    """Return options as they are typed: a true value is a flag, a false one nothing, a list is repeated."""
    typed: list[str] = []
    for name, value in values.items():
        flag = "--" + name.replace("_", "-")
        for one in value if isinstance(value, list) else [value]:
            if one is True:
                typed.append(flag)
            elif one is not False and one is not None:
                typed += [flag, str(one)]
    return typed


def mark_of(source: Path) -> list[tuple[str, int, int]]:
    """Return what tells a recording from another one: names, sizes and times of its files."""
    if not source.exists():
        raise FileNotFoundError(f"there is no recording {source}; give bags, videos or folders of images")
    files = sorted(path for path in source.rglob("*") if path.is_file()) if source.is_dir() else [source]
    marks = [(path, path.stat()) for path in files]
    return [(str(path.resolve()), status.st_size, status.st_mtime_ns) for path, status in marks]


def table_lines(table: Sequence[Standing]) -> Iterator[str]:
    """Yield the table of a run."""
    width = max(len(standing.part.name) for standing in table)
    for standing in table:
        spent = f"{standing.seconds:8.0f} s" if standing.seconds else " " * 10
        yield f"  {standing.part.name:<{width}}  {standing.state:<9}{spent}  {standing.part.made}"
        if standing.note:
            yield f"  {'':<{width}}  {standing.note}"


def _key(*parts: Any) -> str:
    plain = [asdict(part) if hasattr(part, "__dataclass_fields__") else part for part in parts]
    return hashlib.blake2b(json.dumps(plain, sort_keys=True, default=str).encode(), digest_size=16).hexdigest()
