"""The classes of a network: stuff has a channel, things an index, and a bundle numbers both from 0."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from videocups_core.types import ClassInfo

IGNORE = 255  # of a pixel whose class nobody knows
THING = 0  # semantic channel of every thing


@dataclass(frozen=True)
class ClassTable:
    """Stuff and things in the order of their class ids, which are the clips'.

    Semantic channel 0 is "a thing", 1 + i is ``stuff[i]``. Thing index k is ``things[k]``; background comes last.
    """

    stuff: tuple[ClassInfo, ...]
    things: tuple[ClassInfo, ...]

    def __post_init__(self) -> None:
        ids = [info.class_id for info in (*self.stuff, *self.things)]
        if len(set(ids)) != len(ids):
            raise ValueError(f"a class id is given twice in {sorted(ids)}; make them unique")
        if not self.stuff or not self.things:
            raise ValueError(
                f"a network needs stuff and things, got {len(self.stuff)} stuff and {len(self.things)} thing classes; "
                "look at the clips' class tables (labels of clips in which nothing was found to move have no things)"
            )
        if any(info.is_thing for info in self.stuff) or not all(info.is_thing for info in self.things):
            raise ValueError("stuff and things are mixed up; build the table with ClassTable.of(infos)")

    @classmethod
    def of(cls, infos: Iterable[ClassInfo]) -> ClassTable:
        """Sort ``infos`` into stuff and things, each in the order of its class ids."""
        ordered = sorted(infos, key=lambda info: info.class_id)
        return cls(
            stuff=tuple(info for info in ordered if not info.is_thing),
            things=tuple(info for info in ordered if info.is_thing),
        )

    @property
    def channels(self) -> dict[int, int]:
        """Return the semantic channel of every clip's class id."""
        found = {info.class_id: 1 + index for index, info in enumerate(self.stuff)}
        return found | {info.class_id: THING for info in self.things}

    @property
    def thing_indices(self) -> dict[int, int]:
        """Return the thing index of every clip's thing class id."""
        return {info.class_id: index for index, info in enumerate(self.things)}

    @property
    def bundle_classes(self) -> tuple[ClassInfo, ...]:
        """Return the classes as a bundle numbers them: 0, 1, 2, … in the order of their class ids."""
        ordered = sorted((*self.stuff, *self.things), key=lambda info: info.class_id)
        return tuple(replace(info, class_id=index) for index, info in enumerate(ordered))

    @property
    def stuff_ids(self) -> tuple[int, ...]:
        """Return the bundle's class id of every stuff, by channel − 1."""
        return tuple(info.class_id for info in self.bundle_classes if not info.is_thing)

    @property
    def thing_ids(self) -> tuple[int, ...]:
        """Return the bundle's class id of every thing, by index."""
        return tuple(info.class_id for info in self.bundle_classes if info.is_thing)

    def renamed(self, infos: Iterable[ClassInfo]) -> ClassTable:
        """Return the table with the names and colours of ``infos``, which are its classes as a bundle numbers them."""
        ids = sorted(info.class_id for info in (*self.stuff, *self.things))
        named = sorted(infos, key=lambda info: info.class_id)
        ours = [(info.class_id, info.is_thing) for info in self.bundle_classes]
        if [(info.class_id, info.is_thing) for info in named] != ours:
            raise ValueError(
                f"names for classes 0 to {len(ours) - 1} are needed, {len(self.things)} of them things: "
                f"{list(self.thing_ids)}; got {len(named)} with things {[i.class_id for i in named if i.is_thing]}"
            )
        return ClassTable.of(replace(info, class_id=own) for own, info in zip(ids, named, strict=True))

    def to_mapping(self) -> list[dict[str, Any]]:
        """Return rows for JSON."""
        return [
            {
                "class_id": info.class_id,
                "name": info.name,
                "is_thing": info.is_thing,
                "color_rgb": list(info.color_rgb),
            }
            for info in sorted((*self.stuff, *self.things), key=lambda info: info.class_id)
        ]

    @classmethod
    def from_mapping(cls, rows: Iterable[Mapping[str, Any]]) -> ClassTable:
        """Read what ``to_mapping`` wrote."""
        return cls.of(ClassInfo(row["class_id"], row["name"], row["is_thing"], tuple(row["color_rgb"])) for row in rows)
