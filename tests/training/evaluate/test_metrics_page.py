"""The example of docs/metrics.md runs and gives what can be worked out on paper."""

from __future__ import annotations

from pathlib import Path

import pytest

PAGE = Path(__file__).parents[3] / "docs" / "metrics.md"


def test_the_example_runs(capsys):
    names = {}
    exec(PAGE.read_text(encoding="utf-8").split("```python\n")[1].split("```")[0], names)
    # Car: half of the tube found, 1/2 · 1/2. IoU: car 1/2, road 2/3. Void is not scored.
    assert names["score"].aq == pytest.approx(1 / 4)
    assert names["score"].sq == pytest.approx((1 / 2 + 2 / 3) / 2)
    # PQ: the car has IoU 1/2, no match; the road 2/3, its union without void.
    assert names["image_score"].pq == pytest.approx((0 + 2 / 3) / 2)
    assert names["video_score"].vpq == pytest.approx((0 + 2 / 3) / 2)
    assert len(capsys.readouterr().out.splitlines()) == 3
