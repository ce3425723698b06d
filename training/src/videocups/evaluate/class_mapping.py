"""The table from a model's pseudo-classes to named classes: applied to maps, saved as JSON, edited by hand."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from videocups.evaluate.overlaps import PairCounts
from videocups_core.types import VOID_CLASS

METHODS = ("hungarian", "overlap", "identity", "manual", "none")
"""How a target was found; ``none``: void, as no true class of the kind exists."""
_FORMAT = "videocups.class_mapping/1"


@dataclass(frozen=True)
class ClassMapping:
    """One row per pseudo-class: ``targets[p]`` (a class, or ``void``), ``methods[p]`` and ``pseudo_names[p]``.

    ``overlap_px``: (num_pseudo, num_classes) pixels behind a matching, empty where none was counted.
    Things map to things and stuff to stuff, always.
    """

    targets: tuple[int, ...]
    methods: tuple[str, ...]
    pseudo_names: tuple[str, ...]
    class_names: tuple[str, ...]
    pseudo_things: frozenset[int]
    things: frozenset[int]
    void: int = VOID_CLASS
    overlap_px: tuple[tuple[int, ...], ...] = ()

    def __post_init__(self) -> None:
        lengths = {len(self.targets), len(self.methods), len(self.pseudo_names)}
        if len(lengths) != 1:
            raise ValueError(f"targets, methods and pseudo_names must be of one length, got {sorted(lengths)}")
        if self.overlap_px and (len(self.overlap_px), len(self.overlap_px[0])) != (self.num_pseudo, self.num_classes):
            raise ValueError(f"overlap_px must be {self.num_pseudo} × {self.num_classes}, one row a pseudo-class")
        for values, count, name in (
            (self.pseudo_things, self.num_pseudo, "pseudo_things"),
            (self.things, self.num_classes, "things"),
        ):
            if any(not 0 <= value < count or value == self.void for value in values):
                raise ValueError(f"{name} must lie in 0..{count - 1}, without void ({self.void}), got {sorted(values)}")
        for pseudo, (target, method) in enumerate(zip(self.targets, self.methods, strict=True)):
            self._check_row(pseudo, target, method)

    @classmethod
    def identity(
        cls,
        *,
        things: Iterable[int],
        num_classes: int,
        void: int = VOID_CLASS,
        class_names: Sequence[str] | None = None,
    ) -> ClassMapping:
        """Return the mapping of a supervised model: every class means itself."""
        names = tuple(class_names) if class_names is not None else tuple(f"class_{c}" for c in range(num_classes))
        classes = tuple(range(num_classes))
        thing_set = frozenset(map(int, things))
        return cls(classes, ("identity",) * num_classes, names, names, thing_set, thing_set, void)

    @property
    def num_pseudo(self) -> int:
        """Number of pseudo-classes."""
        return len(self.targets)

    @property
    def num_classes(self) -> int:
        """Number of true classes."""
        return len(self.class_names)

    @property
    def unmatched_classes(self) -> tuple[int, ...]:
        """True classes that no pseudo-class maps to; they can only score 0."""
        return tuple(c for c in range(self.num_classes) if c not in self.targets and c != self.void)

    @property
    def without_overlap(self) -> tuple[int, ...]:
        """Pseudo-classes whose target shares no pixel with them, so that the match says nothing."""
        if not self.overlap_px:
            return ()
        rows = enumerate(zip(self.overlap_px, self.targets, strict=True))
        return tuple(p for p, (row, target) in rows if target == self.void or row[target] == 0)

    @property
    def fingerprint(self) -> str:
        """Sixteen hex digits that change with anything in the table."""
        return hashlib.sha256(json.dumps(self._content(), sort_keys=True).encode()).hexdigest()[:16]

    def apply(self, pseudo_class: ArrayLike) -> NDArray[Any]:
        """Return the class map of a pseudo-class map of any shape; void stays void, ids are not touched."""
        values = np.asarray(pseudo_class)
        table = np.full(max(self.num_pseudo, self.void + 1), -1, dtype=np.int64)
        table[: self.num_pseudo] = self.targets
        table[self.void] = self.void
        if values.size and (values.min() < 0 or values.max() >= table.size or (table[values] < 0).any()):
            known = np.isin(values, np.flatnonzero(table >= 0))
            raise ValueError(
                f"pseudo-classes {np.unique(values[~known])[:5].tolist()} are not in this mapping of {self.num_pseudo} "
                f"(void {self.void}); use the mapping that belongs to this model"
            )
        dtype = np.uint8 if max(self.void, self.num_classes - 1) <= 255 else np.int32
        mapped: NDArray[Any] = table.astype(dtype)[values]
        return mapped

    def apply_pairs(self, pairs: PairCounts) -> PairCounts:
        """Return pair counts as if the map had been applied before counting."""
        mapped: PairCounts = {}
        for (pseudo, pred_id, true_class, true_id), pixels in pairs.items():
            if pseudo != self.void:
                self._check_pseudo(pseudo)
            pair = (pseudo if pseudo == self.void else self.targets[pseudo], pred_id, true_class, true_id)
            mapped[pair] = mapped.get(pair, 0) + pixels
        return mapped

    def with_target(self, pseudo: int, target: int) -> ClassMapping:
        """Return a copy in which ``pseudo`` means ``target`` (or void) and takes its name."""
        self._check_pseudo(pseudo)
        self._check_row(pseudo, target, "manual")
        name = "void" if target == self.void else self.class_names[target]
        return replace(
            self,
            targets=_replaced(self.targets, pseudo, target),
            methods=_replaced(self.methods, pseudo, "manual"),
            pseudo_names=_replaced(self.pseudo_names, pseudo, name),
        )

    def with_name(self, pseudo: int, name: str) -> ClassMapping:
        """Return a copy in which ``pseudo`` is called ``name``: what the vehicle's LabelInfo will say."""
        self._check_pseudo(pseudo)
        if not name.strip():
            raise ValueError(f"pseudo-class {pseudo} needs a name that is not empty")
        return replace(self, pseudo_names=_replaced(self.pseudo_names, pseudo, name))

    def save(self, path: str | Path) -> None:
        """Write JSON, atomically."""
        from videocups_core.clip import write_atomically  # brings in OpenCV, which scoring does not need

        text = json.dumps({"format": _FORMAT, **self._content(), "fingerprint": self.fingerprint}, indent=1)
        write_atomically(Path(path), (text + "\n").encode())

    @classmethod
    def load(cls, path: str | Path) -> ClassMapping:
        """Read what ``save`` wrote. Edit by ``videocups mapping``: the fingerprint tells of any other change."""
        from videocups.evaluate.datasets.panoptic_json import read_json  # brings in OpenCV too

        document = read_json(Path(path))
        if not isinstance(document, dict) or document.get("format") != _FORMAT:
            raise ValueError(f"{path} is no class mapping ({_FORMAT}); 'videocups evaluate --mapping auto' makes one")
        fields = {key: value for key, value in document.items() if key not in ("format", "fingerprint")}
        if fields.keys() != set(cls.__dataclass_fields__):
            odd = sorted(fields.keys() ^ set(cls.__dataclass_fields__))
            raise ValueError(f"{path}: keys {odd} are missing or unknown; make the file anew")
        fields["pseudo_things"], fields["things"] = frozenset(fields["pseudo_things"]), frozenset(fields["things"])
        for key in ("targets", "methods", "pseudo_names", "class_names"):
            fields[key] = tuple(fields[key])
        fields["overlap_px"] = tuple(tuple(row) for row in fields["overlap_px"])
        mapping = cls(**fields)
        if mapping.fingerprint != document.get("fingerprint"):
            raise ValueError(f"{path} was changed after it was written; edit it with 'videocups mapping'")
        return mapping

    def _content(self) -> dict[str, Any]:
        return {
            "targets": self.targets,
            "methods": self.methods,
            "pseudo_names": self.pseudo_names,
            "class_names": self.class_names,
            "pseudo_things": sorted(self.pseudo_things),
            "things": sorted(self.things),
            "void": self.void,
            "overlap_px": self.overlap_px,
        }

    def _check_pseudo(self, pseudo: int) -> None:
        if not 0 <= pseudo < self.num_pseudo:
            raise ValueError(f"no pseudo-class {pseudo}; this mapping has 0..{self.num_pseudo - 1}")

    def _check_row(self, pseudo: int, target: int, method: str) -> None:
        if method not in METHODS:
            raise ValueError(f"method of pseudo-class {pseudo} must be one of {METHODS}, got {method!r}")
        if target == self.void:
            return
        if not 0 <= target < self.num_classes:
            raise ValueError(f"target of pseudo-class {pseudo} must be in 0..{self.num_classes - 1}, got {target}")
        if (pseudo in self.pseudo_things) != (target in self.things):
            kinds = " but ".join(
                f"{name} is {'a thing' if is_thing else 'stuff'}"
                for name, is_thing in (
                    (f"pseudo-class {pseudo}", pseudo in self.pseudo_things),
                    (f"class {target}", target in self.things),
                )
            )
            raise ValueError(f"{kinds}; things stay things and stuff stays stuff")


def _replaced(values: tuple[Any, ...], index: int, value: object) -> tuple[Any, ...]:
    return (*values[:index], value, *values[index + 1 :])
