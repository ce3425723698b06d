"""The label space that a metric works in: which classes exist, which are things, which value means void."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from operator import index

from videocups.evaluate.overlaps import PairCounts
from videocups_core.types import VOID_CLASS


@dataclass(frozen=True)
class LabelSpace:
    """Classes are ``0 .. num_classes - 1``; ``void`` may be one of them or lie outside, and is never scored."""

    things: frozenset[int]
    num_classes: int
    void: int = VOID_CLASS

    def __post_init__(self) -> None:
        if self.num_classes < 1:
            raise ValueError(f"num_classes must be at least 1, got {self.num_classes}")
        if self.void < 0:
            raise ValueError(f"void must be a class value >= 0, got {self.void}; label maps hold no negative values")
        outside = sorted(c for c in self.things if not 0 <= c < self.num_classes or c == self.void)
        if outside:
            raise ValueError(
                f"things must be classes in 0..{self.num_classes - 1} other than void ({self.void}), got {outside}; "
                "correct things or num_classes"
            )

    @classmethod
    def of(cls, things: Iterable[int], num_classes: int, void: int = VOID_CLASS) -> LabelSpace:
        """Build from any iterable of thing classes (NumPy integers welcome)."""
        if not isinstance(things, Iterable):
            raise TypeError(f"things must be an iterable of classes, got {things!r}; write things=[{things!r}]")
        return cls(
            frozenset(whole(c, "things") for c in things), whole(num_classes, "num_classes"), whole(void, "void")
        )

    def is_crowd(self, true_class: int, true_id: int) -> bool:
        """Return whether a true pixel lies in a region of things that nobody told apart."""
        return true_id == 0 and true_class in self.things

    def checked(self, pairs: PairCounts) -> PairCounts:
        """Return ``pairs`` unchanged; ValueError where a class is neither in range nor void."""
        for side, position in (("predicted", 0), ("true", 2)):
            for value in {pair[position] for pair in pairs}:
                if value >= self.num_classes and value != self.void:
                    raise ValueError(
                        f"{side} class {value} is neither in 0..{self.num_classes - 1} nor void ({self.void}); "
                        "map the labels first, or correct num_classes"
                    )
        return pairs


def whole(value: object, name: str) -> int:
    """Return ``value`` as an int; TypeError where it is none, so that nothing is rounded on the quiet."""
    try:
        return index(value)  # type: ignore[arg-type]
    except TypeError as error:
        raise TypeError(f"{name} must be whole numbers, got {value!r}; convert it to int") from error
