"""Progress: lines where there is no terminal, a bar where there is one."""

from __future__ import annotations

import io

from videocups.progress import Progress, counted, track


class Clock:
    """Time that passes when it is told to."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def test_lines_come_every_few_seconds_with_rate_and_time_left():
    clock, stream = Clock(), io.StringIO()
    with Progress("ingest", total=100, unit="frames", stream=stream, clock=clock) as progress:
        for _ in range(100):
            clock.now += 0.125
            progress.advance()
    assert stream.getvalue().splitlines() == [
        "ingest: 16 of 100 frames (16%), 8.0 frames/s, 0:10 left",
        "ingest: 56 of 100 frames (56%), 8.0 frames/s, 0:06 left",
        "ingest: 96 of 100 frames (96%), 8.0 frames/s, 0:00 left",
        "ingest: 100 of 100 frames (100%), 8.0 frames/s",
    ]


def test_short_work_says_nothing():
    stream = io.StringIO()
    with Progress("ingest", total=3, stream=stream) as progress:
        progress.update(3)
    assert stream.getvalue() == ""


def test_without_a_total_there_is_no_time_left():
    clock, stream = Clock(), io.StringIO()
    with Progress("scan", unit="MB", stream=stream, clock=clock) as progress:
        clock.now += 4
        progress.update(500.5)
    assert stream.getvalue() == "scan: 500.5 MB, 125 MB/s\n"  # and the end does not say it again


def test_a_terminal_gets_a_bar():
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    stream = Terminal()
    with Progress("render", total=4, unit="frames", stream=stream) as progress:
        for _ in range(4):
            progress.advance()
    assert "render" in stream.getvalue()
    assert "100%" in stream.getvalue()
    assert "frames/s" in stream.getvalue()


def test_track_passes_items_on():
    assert list(track([1, 2, 3], "count")) == [1, 2, 3]
    assert list(track((i for i in range(2)), "count", total=2)) == [0, 1]


def test_names_with_brackets_are_shown_as_they_are():
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    stream = Terminal()
    with Progress("ingest d[/]1 [red]", total=2, stream=stream) as progress:
        progress.advance()
    assert "ingest d[/]1 [red]" in stream.getvalue()


def test_one_is_no_plural():
    assert [counted(number, "clip") for number in (0, 1, 2)] == ["0 clips", "1 clip", "2 clips"]
