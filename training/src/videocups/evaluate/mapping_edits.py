"""Look at a class mapping and change it by hand, with every change checked."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain, count
from pathlib import Path
from typing import IO

from videocups.evaluate.class_mapping import ClassMapping
from videocups_core.clip import write_atomically
from videocups_core.labels import classes_to_json
from videocups_core.palette import class_colors
from videocups_core.types import ClassInfo


@dataclass(frozen=True)
class Edits:
    """Changes as the command line gives them: ``names`` "7=van", ``targets`` "7=car" and lists of pseudo-classes."""

    names: Sequence[str] = ()
    targets: Sequence[str] = ()
    unset: Sequence[int] = ()
    things: Sequence[int] = ()
    stuff: Sequence[int] = ()


def edit(mapping: ClassMapping, edits: Edits) -> ClassMapping:
    """Return the changed mapping. Kinds change first, then targets, then names, so that one call can do all three.

    A pseudo-class whose kind changes loses its target unless a new one is set.
    """
    if both := sorted(set(edits.things) & set(edits.stuff)):
        raise ValueError(f"pseudo-class {both[0]} cannot be --thing and --stuff at once")
    for pseudo in edits.things:
        mapping = with_kind(mapping, pseudo, is_thing=True)
    for pseudo in edits.stuff:
        mapping = with_kind(mapping, pseudo, is_thing=False)
    for pseudo in edits.unset:
        mapping = mapping.with_target(pseudo, mapping.void)
    for text in edits.targets:
        pseudo, target = _split(text, "--set", "7=car")
        mapping = mapping.with_target(pseudo, class_id(mapping, target))
    for text in edits.names:
        pseudo, name = _split(text, "--name", "7=van")
        mapping = mapping.with_name(pseudo, name)
    return mapping


def with_kind(mapping: ClassMapping, pseudo: int, *, is_thing: bool) -> ClassMapping:
    """Return a copy in which ``pseudo`` is a thing or stuff; a target of the other kind becomes void."""
    if not 0 <= pseudo < mapping.num_pseudo:
        raise ValueError(f"no pseudo-class {pseudo}; this mapping has 0..{mapping.num_pseudo - 1}")
    if (pseudo in mapping.pseudo_things) == is_thing:
        return mapping
    cleared = mapping.with_target(pseudo, mapping.void)
    return replace(cleared, pseudo_things=mapping.pseudo_things ^ {pseudo})


def class_id(mapping: ClassMapping, text: str) -> int:
    """Return the class of a name or number; ``void`` is void."""
    if text == "void":
        return mapping.void
    if text in mapping.class_names:
        return mapping.class_names.index(text)
    if text.isdecimal() and int(text) < mapping.num_classes:
        return int(text)
    raise ValueError(f"no class {text!r}; classes are {', '.join(mapping.class_names)}, void")


def labels(mapping: ClassMapping) -> tuple[ClassInfo, ...]:
    """Return the pseudo-classes under their names, for the vehicle; equal names are numbered ("car", "car 2")."""
    colors = class_colors(mapping.num_pseudo).tolist()
    taken: set[str] = set()
    rows = []
    for pseudo, (name, (red, green, blue)) in enumerate(zip(mapping.pseudo_names, colors, strict=True)):
        numbered = (f"{name} {number}" for number in count(2))
        unique = next(text for text in chain([name], numbered) if text not in taken)
        taken.add(unique)
        rows.append(ClassInfo(pseudo, unique, pseudo in mapping.pseudo_things, (red, green, blue)))
    return tuple(rows)


def write_labels(mapping: ClassMapping, path: Path) -> None:
    """Write the vehicle's class names, in the JSON form of ``videocups_core.labels``."""
    write_atomically(path, (json.dumps(classes_to_json(labels(mapping)), indent=1, ensure_ascii=False) + "\n").encode())


def print_mapping(mapping: ClassMapping, stream: IO[str] | None = None) -> None:
    """Print one row a pseudo-class: its kind, name, class, how it was found, and the share of pixels it agrees on."""
    from rich.console import Console
    from rich.table import Table

    title = f"{mapping.num_pseudo} pseudo-classes, fingerprint {mapping.fingerprint}"
    table = Table(title=title, title_justify="left")
    table.add_column("pseudo", justify="right")
    for column in ("kind", "name", "class", "found by"):
        table.add_column(column)
    table.add_column("agrees", justify="right")
    for pseudo, (target, name, method) in enumerate(
        zip(mapping.targets, mapping.pseudo_names, mapping.methods, strict=True)
    ):
        kind = "thing" if pseudo in mapping.pseudo_things else "stuff"
        means = "void" if target == mapping.void else mapping.class_names[target]
        table.add_row(str(pseudo), kind, name, means, method, share(mapping, pseudo))
    console = Console(file=stream, highlight=False, markup=False)  # a name may hold brackets
    console.print(table)
    if lost := [mapping.class_names[c] for c in mapping.unmatched_classes]:
        console.print(f"classes without a pseudo-class: {', '.join(lost)}")


def share(mapping: ClassMapping, pseudo: int) -> str:
    """Return which part of a pseudo-class lies on the class it maps to, as text."""
    row = mapping.overlap_px[pseudo] if mapping.overlap_px else ()
    target = mapping.targets[pseudo]
    return f"{100 * row[target] / sum(row):.0f} %" if sum(row) and target != mapping.void else "–"


def _split(text: str, option: str, example: str) -> tuple[int, str]:
    number, separator, value = text.partition("=")
    if not separator or not number.isdecimal() or not value.strip():
        raise ValueError(f"{option} needs a form like {example}, got {text!r}")
    return int(number), value.strip()
