"""The benchmark runs, checks the work it times and prints its figure last; whether it is fast is not judged here."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "stream_overhead.py"


def test_prints_its_figure_last() -> None:
    run = subprocess.run([sys.executable, SCRIPT, "--frames", "3"], capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    lines = run.stdout.splitlines()
    figure = re.fullmatch(r"overhead at 512×1024: (\d+\.\d\d) ms a frame \(limit 10\): (ok|TOO SLOW)", lines[-1])
    assert figure
    parts = [float(value) for value in lines[2].split()[1:]]
    assert abs(sum(parts[:-1]) - parts[-1]) < 0.04  # rounded to two digits each
    assert float(figure[1]) == parts[-1]
