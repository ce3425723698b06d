"""Numbers on the command line: what cannot be meant is refused where it is typed, not written into a clip."""

from __future__ import annotations

from argparse import ArgumentTypeError
from math import isfinite


def finite(text: str) -> float:
    """Return a number; NaN and infinity are none."""
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not isfinite(value):
        raise ArgumentTypeError(f"must be a number, got {text!r}")
    return value


def above_zero(text: str) -> float:
    """Return a number above 0."""
    if (value := finite(text)) <= 0:
        raise ArgumentTypeError(f"must be above 0, got {text}")
    return value


def not_negative(text: str) -> float:
    """Return a number that is 0 or more."""
    if (value := finite(text)) < 0:
        raise ArgumentTypeError(f"must not be negative, got {text}")
    return value


def count(text: str) -> int:
    """Return a whole number that is 0 or more."""
    if not text.isdecimal():
        raise ArgumentTypeError(f"must be a whole number of 0 or more, got {text!r}")
    return int(text)
