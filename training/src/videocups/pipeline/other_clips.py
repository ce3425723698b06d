"""Clips of recordings that are not named any more: they are set aside, and come back with their recording."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

ASIDE = ".left_out"
"""the folder beside the clips; what is hidden is no clip to any command."""


def keep_named(clips: Path, ingest: Sequence[str]) -> list[str]:
    """Leave below ``clips`` those only that ``videocups ingest`` with these arguments makes; returns what it set aside.

    Their labels go with them: when a recording is named again, nothing of it is made twice.
    """
    here, aside = _by_key(clips, "*"), _by_key(clips / ASIDE, "*/*")
    if not here and not aside:
        return []
    named = _named_keys(ingest)
    for key in named:
        for folder in aside.get(key, []):
            if not (clips / folder.name).exists():
                folder.rename(clips / folder.name)
    left_out = [folder for key, folders in here.items() if key not in named for folder in folders]
    for folder in left_out:
        target = clips / ASIDE / _key(folder)[:16] / folder.name
        target.parent.mkdir(parents=True, exist_ok=True)
        folder.rename(target)
    return sorted(folder.name for folder in left_out)


def _named_keys(ingest: Sequence[str]) -> set[str]:
    from videocups.bags.ingest_command import cut_config, open_source, parser, store_config
    from videocups.clips.ingest import ingest_key

    options = parser().parse_args(list(ingest))
    keys = set()
    for path in options.sources:
        source = open_source(path, options)
        try:
            keys.add(ingest_key(source, cut_config(options), store_config(options)))
        finally:
            source.close()
    return keys


def _by_key(folder: Path, pattern: str) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for origin in sorted(folder.glob(f"{pattern}/ingest.json")):
        found.setdefault(_key(origin.parent), []).append(origin.parent)
    return found


def _key(clip: Path) -> str:
    return str(json.loads((clip / "ingest.json").read_text())["key"])
