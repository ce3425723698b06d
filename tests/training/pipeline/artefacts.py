"""What tests look at: the artefacts of a workspace and how often items ran."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path


def artefacts(root: Path, kinds: tuple[str, ...] = ()) -> dict[str, str]:
    """Return path -> hash of everything stages wrote below ``root``, without manifests."""
    found = {}
    for path in sorted(root.rglob("*")):
        relative = path.relative_to(root)
        is_ours = not {".label", "frames", "truth", "clip.json"} & set(relative.parts)
        if path.is_file() and is_ours and (not kinds or set(kinds) & set(relative.parts)):
            found[relative.as_posix()] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def runs(log: Path) -> Counter[str]:
    """Return how often each item ran, by 'stage clip number'."""
    return Counter(log.read_text().splitlines()) if log.exists() else Counter()


def runs_by_stage(log: Path) -> Counter[str]:
    return Counter(line.split()[0] for line in runs(log).elements())
