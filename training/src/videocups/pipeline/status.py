"""What is done, what failed and why, and what it takes on disk."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from videocups.pipeline.manifest import read_rows
from videocups.pipeline.plan import Planner, Verdict
from videocups.pipeline.stage import Stages
from videocups.pipeline.workspace import Workspace, item_name


@dataclass
class StageStatus:
    """One stage: items by verdict, bytes on disk, and the reasons of failures and omissions, most frequent first."""

    name: str
    final: bool
    items: int = 0
    verdicts: Counter[Verdict] = field(default_factory=Counter)
    stored_bytes: int = 0
    failures: list[str] = field(default_factory=list)
    omissions: Counter[str] = field(default_factory=Counter)

    @property
    def done(self) -> int:
        """Items that need nothing: done, also where their files were cleaned."""
        return self.verdicts[Verdict.DONE] + self.verdicts[Verdict.GONE]


def status_of(stages: Stages, workspace: Workspace) -> list[StageStatus]:
    """Return how every stage stands; nothing is changed."""
    planner = Planner(stages, workspace)
    planner.look_at_frames()
    planner.refresh_all()
    return [_stage_status(planner, name) for name in stages.by_name]


def _stage_status(planner: Planner, name: str) -> StageStatus:
    stage = planner.stages.by_name[name]
    status = StageStatus(name, stage.final)
    for place in planner.workspace.places(stage):
        for (row_stage, _), row in read_rows(place).items():
            if row_stage == name:
                status.stored_bytes += sum(mark.size for path, mark in row.files.items() if (place / path).exists())
        for item in planner.items[name, place].values():
            newest = planner.row(item)
            status.items += 1
            status.verdicts[item.verdict] += 1
            if item.verdict is Verdict.FAILED and newest is not None:
                status.failures.append(f"{place.name} {item_name(item.number)}: {newest.error}")
            if item.verdict is Verdict.LEFT_OUT:
                is_own = newest is not None and newest.outcome == "left out" and newest.key == item.key
                status.omissions[newest.error if newest and is_own else "what it reads is not there"] += 1
    return status


def clean(stages: Stages, workspace: Workspace) -> int:
    """Remove the artefacts of all stages that are not final; return the bytes freed.

    Manifests stay: the next run knows what was done and makes again only what something new needs.
    """
    freed = 0
    with workspace.lock():
        for stage in stages.all:
            for place in () if stage.final else workspace.places(stage):
                for output in stage.outputs:
                    named = place.glob(f"{output.kind}{output.suffix}")
                    for path in [*named, *place.glob(f"{output.kind}/[0-9]*{output.suffix}")]:
                        freed += path.stat().st_size
                        path.unlink()
                    folder = place / output.kind
                    if folder.is_dir() and not any(folder.iterdir()):
                        folder.rmdir()
    return freed
