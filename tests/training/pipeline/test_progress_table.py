from __future__ import annotations

import io

from rich.console import Console

from videocups.pipeline.manifest import Row
from videocups.pipeline.progress_table import ProgressTable


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def row(stage: str, outcome: str = "done") -> Row:
    return Row(stage, "000000", "key", outcome, seconds=1.0)


def test_plain_lines_every_five_seconds_where_there_is_no_terminal() -> None:
    stream, clock = io.StringIO(), Clock()
    with ProgressTable(stream, clock) as table:
        table.begin("flow", total=12, done=2, failed=0)
        for _ in range(6):
            clock.now += 1.0
            table.ended(row("flow"))
    # after 5 s: five items since the first began, 1 a second, 5 of 12 still to come
    assert stream.getvalue() == "flow: begins, 10 items to do\nflow: 7 of 12, 0 failed, 1.0 items/s, 0:05 left\n"


def test_the_first_stage_with_work_is_named_and_one_item_makes_no_rate() -> None:
    stream, clock = io.StringIO(), Clock()
    with ProgressTable(stream, clock) as table:
        table.begin("survey", total=4, done=4, failed=0)
        table.begin("flow", total=12, done=0, failed=0)
        table.begin("cues", total=12, done=0, failed=0)
        table.begin("flow", total=12, done=0, failed=0)  # another round is no other beginning
        clock.now += 30.0  # what the first item needs is compiled
        table.ended(row("flow"))
    assert stream.getvalue() == "flow: begins, 12 items to do\nflow: 1 of 12, 0 failed, - items/s, - left\n"


def test_the_table_counts_failures_and_omissions() -> None:
    clock = Clock()
    table = ProgressTable(io.StringIO(), clock)
    table.begin("flow", total=10, done=4, failed=1)
    for outcome in ("done", "failed", "left out", "done"):
        clock.now += 2.0
        table.ended(row("flow", outcome))
    count = table.stages["flow"]
    assert (count.done, count.total, count.failed, count.left) == (6, 9, 2, 1)
    table.begin("flow", total=9, done=6, failed=2)  # a second round starts from there
    assert (count.done, count.left) == (6, 1)
    console = Console(file=io.StringIO(), width=100)
    console.print(table.table())
    assert "flow" in console.file.getvalue()
    # 2 items in 7 s: the first took one second before it ended
    assert count.rate() == 2 / 7
