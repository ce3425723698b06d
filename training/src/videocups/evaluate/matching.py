"""Give pseudo-classes a meaning: match them with the true classes by the pixels that they share.

VideoCUPS §3.3: a Hungarian matching of things with things and of stuff with stuff over the whole validation set;
pseudo-classes left over go to the true class of their kind with the highest overlap.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from videocups.evaluate.class_mapping import ClassMapping
from videocups.evaluate.overlaps import Frame, PairCounts, count_pairs
from videocups_core.types import VOID_CLASS


class OverlapAccumulator:
    """Pixels that each pseudo-class shares with each true class; void on either side is left out."""

    def __init__(self, num_pseudo: int, num_classes: int, void: int = VOID_CLASS) -> None:
        self.void = void
        self.pixels: NDArray[np.int64] = np.zeros((num_pseudo, num_classes), dtype=np.int64)
        """(num_pseudo, num_classes)."""

    def update(self, sequence_key: Hashable, frame: Frame) -> None:
        """Add one frame; neither the sequence nor the order matters."""
        self.update_pairs(sequence_key, count_pairs(frame))

    def update_pairs(self, sequence_key: Hashable, pairs: PairCounts) -> None:
        """Add a frame whose pairs are already counted."""
        num_pseudo, num_classes = self.pixels.shape
        for (pseudo, _, true_class, _), pixels in pairs.items():
            if self.void in (pseudo, true_class):
                continue
            if pseudo >= num_pseudo or true_class >= num_classes:
                raise ValueError(
                    f"{sequence_key}: pseudo-class {pseudo} on true class {true_class} is outside {num_pseudo} "
                    f"pseudo-classes × {num_classes} classes; correct the numbers, or give void as {self.void}"
                )
            self.pixels[pseudo, true_class] += pixels

    def merge(self, other: OverlapAccumulator) -> None:
        """Add the counts of ``other``; exact, in any order."""
        if (other.void, other.pixels.shape) != (self.void, self.pixels.shape):
            raise ValueError(f"cannot merge overlaps of {other.pixels.shape} classes into {self.pixels.shape}")
        self.pixels += other.pixels


def match_classes(
    overlap_px: ArrayLike,
    *,
    pseudo_things: Iterable[int],
    things: Iterable[int],
    void: int = VOID_CLASS,
    class_names: Sequence[str] | None = None,
) -> ClassMapping:
    """Match pseudo-classes (rows) with true classes (columns) so that the shared pixels are most.

    Things match things and stuff matches stuff. A Hungarian pair stands even if it shares no pixel (the true class is
    then as good as unmatched). A left-over pseudo-class that shares no pixel with its kind goes to the lowest-numbered
    class of its kind; one whose kind has no true class at all becomes void. Equal overlaps are decided by SciPy's
    solver for the matching and by the lowest class number for the left-overs.
    """
    overlap = np.asarray(overlap_px)
    if overlap.ndim != 2 or overlap.dtype.kind not in "iu":
        raise ValueError(f"overlap_px must be integers (num_pseudo, num_classes), got {overlap.dtype} {overlap.shape}")
    pseudo_set, thing_set = frozenset(map(int, pseudo_things)), frozenset(map(int, things))
    num_pseudo, num_classes = overlap.shape
    targets, methods = [void] * num_pseudo, ["none"] * num_pseudo
    for kind_is_thing in (True, False):
        rows = [p for p in range(num_pseudo) if (p in pseudo_set) == kind_is_thing and p != void]
        columns = [c for c in range(num_classes) if (c in thing_set) == kind_is_thing and c != void]
        for pseudo, (target, method) in match_kind(overlap, rows, columns).items():
            targets[pseudo], methods[pseudo] = target, method
    names = tuple(class_names) if class_names is not None else tuple(f"class_{c}" for c in range(num_classes))
    return ClassMapping(
        targets=tuple(targets),
        methods=tuple(methods),
        pseudo_names=tuple(names[t] if t != void else "void" for t in targets),
        class_names=names,
        pseudo_things=pseudo_set,
        things=thing_set,
        void=void,
        overlap_px=tuple(tuple(row) for row in overlap.tolist()),
    )


def match_kind(overlap: NDArray[Any], rows: list[int], columns: list[int]) -> dict[int, tuple[int, str]]:
    """Return ``{pseudo-class: (true class, method)}`` for one kind, things or stuff."""
    if not rows or not columns:
        return {}
    from scipy.optimize import linear_sum_assignment

    shared = overlap[np.ix_(rows, columns)]
    picked_rows, picked_columns = linear_sum_assignment(shared, maximize=True)
    found = {rows[r]: (columns[c], "hungarian") for r, c in zip(picked_rows, picked_columns, strict=True)}
    for row, pseudo in enumerate(rows):
        if pseudo not in found:
            found[pseudo] = (columns[int(np.argmax(shared[row]))], "overlap")
    return found
