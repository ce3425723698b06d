"""How many failures a run bears."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from videocups.pipeline.manifest import Row
from videocups.pipeline.plan import Planner, Verdict
from videocups.pipeline.workspace import item_name


class TooManyFailuresError(ValueError):
    """A stage failed on more items than is allowed."""


class Tally:
    """Counts failures of every stage and stops the run where they are too many."""

    def __init__(self, planner: Planner, max_share: float) -> None:
        self._max_share = max_share
        self._total: Counter[str] = Counter()
        self._failed: Counter[str] = Counter()
        self._first: dict[str, str] = {}
        for (name, place), items in planner.items.items():
            self._total[name] += len(items)
            for item in items.values():
                row = planner.row(item)
                if item.verdict is Verdict.FAILED and row is not None:
                    self.add(place, row)
                elif item.verdict is Verdict.FAILED:
                    self._failed[name] += 1
                    self._first.setdefault(name, f"{place.name} {item_name(item.number)}: the image cannot be read")

    def add(self, place: Path, row: Row) -> None:
        """Count a failed item."""
        self._failed[row.stage] += 1
        self._first.setdefault(row.stage, f"{place.name} {row.item}: {row.error}")

    def check(self) -> None:
        """Raise TooManyFailuresError where a stage failed on too large a share of its items."""
        for name, failed in self._failed.items():
            if failed > self._max_share * self._total[name]:
                raise TooManyFailuresError(
                    f"stage {name!r} failed on {failed} of {self._total[name]} items, more than "
                    f"{self._max_share:.0%}; the first: {self._first[name]}; mend the cause and run again with "
                    "--retry-failed ('videocups status' lists all failures)"
                )
