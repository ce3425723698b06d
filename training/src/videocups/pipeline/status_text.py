"""The status of a workspace as lines of text."""

from __future__ import annotations

from collections.abc import Iterable

from videocups.pipeline.plan import Verdict
from videocups.pipeline.status import StageStatus

SHOWN_FAILURES = 3


def status_lines(stages: Iterable[StageStatus], *, all_failures: bool) -> list[str]:
    """Return a table, then failures and omissions with their reasons."""
    lines = [f"{'stage':<12}{'items':>8}{'done':>8}{'failed':>8}{'left out':>10}{'to do':>8}{'MB':>10}"]
    notes: list[str] = []
    for stage in stages:
        counts = stage.verdicts
        mark = "" if not counts[Verdict.GONE] else f"  {counts[Verdict.GONE]} cleaned"
        lines.append(
            f"{stage.name:<12}{stage.items:>8}{stage.done:>8}{counts[Verdict.FAILED]:>8}{counts[Verdict.LEFT_OUT]:>10}"
            f"{counts[Verdict.TODO]:>8}{stage.stored_bytes / 1e6:>10.1f}{mark}"
        )
        shown = stage.failures if all_failures else stage.failures[:SHOWN_FAILURES]
        notes += [f"failed    {stage.name}: {failure}" for failure in shown]
        if len(shown) < len(stage.failures):
            notes.append(f"failed    {stage.name}: {len(stage.failures) - len(shown)} more; --failures lists all")
        for reason, count in stage.omissions.most_common():
            notes.append(f"left out  {stage.name}: {count} because {reason}")
    return lines + notes
