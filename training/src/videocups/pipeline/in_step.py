"""Items in step: code for one item, run for several at once, whose calls of a network become one call.

Every item runs in a thread of its own. Where it calls the network it waits until all others wait as well or have ended;
then one of them asks for all. So a batch is always the same, whichever thread was faster.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from threading import Condition, Thread
from typing import Any, TypeVar

Result = TypeVar("Result")
Item = TypeVar("Item")
Many = Callable[[list[tuple[Any, ...]]], Sequence[Any]]


class Meeting:
    """Where items wait for each other."""

    def __init__(self, items: int) -> None:
        self._running = items
        self._changed = Condition()
        self._asked: dict[int, tuple[Many, tuple[Any, ...]]] = {}
        self._answers: dict[int, Any] = {}

    def ask(self, item: int, many: Many, arguments: tuple[Any, ...]) -> Any:
        """Return the answer of ``many`` to these arguments, asked together with those of the others."""
        with self._changed:
            self._asked[item] = many, arguments
            self._answer_if_all_wait()
            self._changed.wait_for(lambda: item in self._answers)
            answer = self._answers.pop(item)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def leave(self) -> None:
        """Wait for one item less."""
        with self._changed:
            self._running -= 1
            self._answer_if_all_wait()

    def _answer_if_all_wait(self) -> None:
        if not self._asked or len(self._asked) < self._running:
            return
        for many in dict.fromkeys(many for many, _ in self._asked.values()):
            items = sorted(item for item, (asked, _) in self._asked.items() if asked == many)
            try:
                answers = list(many([self._asked[item][1] for item in items]))
            except Exception as error:
                answers = [error] * len(items)  # raised in each item's own thread
            self._answers.update(zip(items, answers, strict=True))
        self._asked.clear()
        self._changed.notify_all()


_HERE: ContextVar[tuple[Meeting, int] | None] = ContextVar("in_step", default=None)


def together(one: Callable[..., Result], many: Many) -> Callable[..., Result]:
    """Return what calls ``one``, or, for items in step, ``many`` with a list of the arguments of all of them."""

    def call(*arguments: Any) -> Result:
        here = _HERE.get()
        if here is None:
            return one(*arguments)
        meeting, item = here
        answer: Result = meeting.ask(item, many, arguments)
        return answer

    return call


def run_in_step(run: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """Return ``run(item)`` of all items; the first error of any of them is raised when all have ended."""
    meeting, found, errors = Meeting(len(items)), dict[int, Result](), dict[int, BaseException]()

    def work(number: int) -> None:
        _HERE.set((meeting, number))  # a thread has a context of its own
        if torch := sys.modules.get("torch"):
            torch.set_num_threads(1)
        try:
            found[number] = run(items[number])
        except BaseException as error:
            errors[number] = error
        finally:
            meeting.leave()

    threads = [Thread(target=work, args=(number,)) for number in range(len(items))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[min(errors)]
    return [found[number] for number in range(len(items))]
