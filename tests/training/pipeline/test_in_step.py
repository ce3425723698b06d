"""Items in step: their calls meet, whatever else they do."""

from __future__ import annotations

import time
from collections.abc import Sequence

import pytest

from videocups.pipeline.in_step import run_in_step, together


def test_calls_of_items_meet_until_the_last_one_ends() -> None:
    asked: list[list[int]] = []

    def many(arguments: Sequence[tuple[int]]) -> list[int]:
        asked.append([number for (number,) in arguments])
        return [10 * number for (number,) in arguments]

    double = together(lambda number: 2 * number, many)

    def item(number: int) -> int:
        total = 0
        for _ in range(number):  # one call for item 1, three for item 3
            time.sleep(0.01 * (3 - number))
            total += double(number)
        return total

    assert run_in_step(item, [3, 1, 2]) == [90, 10, 40]
    assert asked == [[3, 1, 2], [3, 2], [3]]  # in the order of the items, whichever was first
    assert double(4) == 8  # nobody else is there


def test_different_calls_do_not_mix() -> None:
    first = together(str, lambda asked: [("first", len(asked))] * len(asked))
    second = together(str, lambda asked: [("second", len(asked))] * len(asked))
    found = run_in_step(lambda number: (first if number % 2 else second)(number), range(5))
    assert found == [("second", 3), ("first", 2), ("second", 3), ("first", 2), ("second", 3)]


def test_an_error_of_the_call_or_of_an_item_ends_the_run() -> None:
    def broken(asked: Sequence[tuple[int]]) -> list[int]:
        raise ArithmeticError("no network answers")

    with pytest.raises(ArithmeticError, match="no network"):
        run_in_step(together(abs, broken), [1, 2])

    calm = together(abs, lambda asked: [abs(number) for (number,) in asked])

    def item(number: int) -> int:
        if number == 2:
            raise KeyError("only this one")
        return calm(number)

    with pytest.raises(KeyError, match="only this one"):
        run_in_step(item, [1, 2, -3])
