"""What became of a foreign file's weights, for people to read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass
class ImportReport:
    """Names on either side. ``used``: theirs -> ours; ``unused``: theirs -> why not; ``missing``: ours, left fresh."""

    used: dict[str, str] = field(default_factory=dict)
    unused: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def drop(self, theirs: Iterable[str], reason: str) -> None:
        """Note that these were not used after all."""
        for name in theirs:
            self.used.pop(name, None)
            self.unused[name] = reason

    def lines(self) -> list[str]:
        """Return the report, longest lists last."""
        text = [f"used {len(self.used)} tensors, not used {len(self.unused)}, left fresh {len(self.missing)}"]
        text += [f"note: {note}" for note in self.notes]
        text += _section("not used", [f"{name}: {reason}" for name, reason in sorted(self.unused.items())])
        text += _section("left fresh (train before use)", sorted(self.missing))
        return text + _section("used", [f"{theirs} -> {ours}" for theirs, ours in sorted(self.used.items())])


def _section(title: str, rows: list[str]) -> list[str]:
    return ["", f"{title}:", *(f"  {row}" for row in rows)] if rows else []
