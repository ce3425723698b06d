"""What became of a source: clips, frames, and everything that was left out, by cause."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class IngestReport:
    """What one source gave."""

    source: str
    clips: list[str] = field(default_factory=list)
    frames: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    broken: Counter[str] = field(default_factory=Counter)
    damage: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0
    was_done: bool = False

    @property
    def lost(self) -> bool:
        """Whether something recorded could not be recovered."""
        return bool(self.damage or self.broken)


def summary_table(reports: list[IngestReport]) -> str:
    """Return the closing table of an ingest: one line a source, then what was left out or lost and why."""
    rows: list[list[str]] = [["source", "clips", "frames", "left out", "broken", "frames/s"]]
    for report in reports:
        rate = "done before" if report.was_done else f"{report.frames / report.seconds:.1f}" if report.seconds else "-"
        counts = (len(report.clips), report.frames, report.skipped.total(), report.broken.total())
        rows.append([report.source, *map(str, counts), rate])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for name, *numbers in rows:
        cells = [name.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(numbers, widths[1:], strict=True))]
        lines.append("  ".join(cells))
    for report in reports:
        lines += [f"{report.source}: left out {count} × {cause}" for cause, count in report.skipped.most_common()]
        lines += [f"{report.source}: broken {count} × {cause}" for cause, count in report.broken.most_common()]
        lines += [f"{report.source}: LOST: {cause}" for cause in report.damage]
        lines += [f"{report.source}: note: {note}" for note in report.notes]
    return "\n".join(line.rstrip() for line in lines)
