"""The whole way learns: two small films by heart, through the loop, predict and evaluate."""

from __future__ import annotations

from tests.training.train.conftest import TINY

from videocups.cli import main
from videocups.evaluate.run import Request, evaluate_predictions


def test_two_films_are_learned_by_heart(tmp_path, films, capsys):
    settings = [
        *TINY,
        "droploss.enabled=false",
        "schedule={warm_up: 10, decay: cosine}",
        *("loop.steps=200", "loop.learning_rate=3.0e-3", "loop.ema=0.9"),
    ]
    clips = str(films[0].parent)
    arguments = [f"--set={change}" for change in settings]
    assert main(["train", "panoptic", clips, "--out", str(tmp_path / "run"), "--device", "cpu", *arguments]) == 0
    assert main(["predict", str(tmp_path / "run"), clips, "--out", str(tmp_path / "found"), "--device", "cpu"]) == 0
    assert "8 frames of 2 clips" in capsys.readouterr().out
    request = Request(tmp_path / "found", films[0].parent, "clips", mapping="identity", workers=1)
    scores = evaluate_predictions(request).scores
    assert scores.headline["stq"] > 0.9
    assert scores.headline["pq"] > 0.9
