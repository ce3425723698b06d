"""What Video DropLoss and copy-paste are worth: training on pseudo-labels alone, scored on other clips with truth.

    python benchmarks/training_ablation.py LABELLED --truth HELD [--pseudo HELD_LABELLED] [--also OTHER] --out RUNS
        [--budget STEPS] [--seeds N] [--only VARIANT …] [--runs N] [--write FILE]

LABELLED are clips with the labels of 'videocups label' (their truth, where they have any, is not looked at); HELD are
other clips with truth; HELD_LABELLED are the same clips with pseudo-labels, to compare the model with; OTHER are clips
with truth that look different, such as another renderer's, for a second table. Every run keeps
its folder in RUNS: the same command goes on where it was stopped, and ``--runs N`` does the next N only. The table
is printed with whatever is there.
"""

from __future__ import annotations

import argparse
import datetime
import os
from dataclasses import astuple
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from held_scores import HeldScores, kept_score
from machine import machine

from videocups.progress import Progress
from videocups.train.config_file import read_config
from videocups.train.loop import run_training
from videocups.train.panoptic_config import PanopticTraining
from videocups.train.panoptic_task import PanopticTask
from videocups.train.predict import named_clips, open_stream, predict_clips
from videocups_core.clip import find_clips

CONFIG = Path(__file__).resolve().parents[1] / "training" / "configs" / "panoptic_tiny.yaml"
OWN_FROM = 0.4
"""share of the steps after which the model's own predictions are pasted"""
VARIANTS = {
    "vanilla": ["droploss.enabled=false", "paste.enabled=false"],
    "+ Video DropLoss": ["paste.enabled=false"],
    "+ copy-paste": ["paste.own_from=-1"],
    "+ self-enhanced": [],
}
COLUMNS = ("STQ", "AQ", "SQ", "parked found", "moving found", "precision")
HEAD = ["| | seeds | " + " | ".join(COLUMNS) + " |", "|---|---|" + "---|" * len(COLUMNS)]


def main() -> None:
    options = parse()
    torch.set_num_threads(1)
    wanted = options.only or list(VARIANTS)
    left = options.runs
    for seed in range(options.seeds):
        for variant in wanted:
            folder = run_folder(options.out, variant, seed)
            if not (folder / "scores.json").is_file() and left > 0:
                left -= 1
                one_run(folder, variant, seed, options)
    text = table(options)
    print(text)
    if options.write:
        options.write.write_text(text)


def parse() -> argparse.Namespace:
    parser = parser_of_runs(__doc__, steps=800)
    parser.add_argument("--pseudo", type=Path)
    parser.add_argument("--also", type=Path, metavar="OTHER")
    parser.add_argument("--only", action="append", choices=VARIANTS)
    return parser.parse_args()


def parser_of_runs(description: str, steps: int) -> argparse.ArgumentParser:
    """Return a parser of what trainings that are scored on held clips have in common."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("labelled", nargs="+", type=Path)
    parser.add_argument("--truth", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--budget", type=int, default=steps, metavar="STEPS")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--runs", type=int, default=10**9, help="do the next N runs only")
    parser.add_argument("--config", type=Path, default=CONFIG)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--write", type=Path)
    return parser


def run_folder(out: Path, variant: str, seed: int) -> Path:
    return out / f"{variant.replace('+ ', '').replace(' ', '_').lower()}-{seed}"


def settings(variant: str, seed: int, options: argparse.Namespace) -> PanopticTraining:
    common = [f"loop.steps={options.budget}", f"loop.seed={seed}", f"paste.own_from={int(OWN_FROM * options.budget)}"]
    return read_config(PanopticTraining, options.config, [*common, *options.set, *VARIANTS[variant]])


def one_run(folder: Path, variant: str, seed: int, options: argparse.Namespace) -> None:
    """Train, predict and score; every part of it is skipped where it is done."""
    clips = [clip for root in options.labelled for clip in find_clips(root)]
    task = PanopticTask(clips, settings(variant, seed, options))
    with Progress(f"{variant}, seed {seed}", total=task.steps, unit="steps") as progress:
        run_training(task, task.settings.loop, folder, device=options.device, on_step=progress.update)
    scores = predicted_scores(folder, options.truth, "", options.device)
    print(f"{variant}, seed {seed}: {named(scores)}")


def predicted_scores(folder: Path, truth: Path, suffix: str, device: str) -> HeldScores:
    """Let a run's network predict the clips of ``truth``, and score that; done once."""
    predicted, file = folder / f"predicted{suffix}", folder / f"scores{suffix}.json"
    if not file.is_file():
        predict_clips(open_stream(folder, device), named_clips([truth]), predicted)
    return kept_score(predicted, truth, file)


def named(scores: HeldScores) -> str:
    """Return all scores with their names, for the terminal."""
    return ", ".join(f"{name} {value:.1f}" for name, value in zip(COLUMNS, astuple(scores), strict=True))


def table(options: argparse.Namespace) -> str:
    lines = heading(options, "Training ablation", f"trained on the pseudo-labels of {count(options.labelled)} clips")
    if options.pseudo:
        options.out.mkdir(parents=True, exist_ok=True)
        lines.append(row("the pseudo-labels themselves", [pseudo_scores(options)]))
    lines += scored_rows(options, options.truth, "")
    if options.also:
        lines += ["", f"The same networks on {count([options.also])} clips of {options.also.name}, never seen:", ""]
        lines += [*HEAD, *scored_rows(options, options.also, f"_{options.also.name}")]
    return "\n".join(lines) + "\n"


def heading(options: argparse.Namespace, title: str, taught: str) -> list[str]:
    """Return the lines above the first row: what was trained, on what, and what scored it."""
    changed = f" ({', '.join(options.set)})" if options.set else ""
    return [
        f"# {title}",
        "",
        f"{datetime.date.today().isoformat()}, {machine()}. {options.budget} steps, {options.config.stem}{changed}, "
        f"{taught}, scored on {count([options.truth])} others. Percent, mean ± standard deviation over the seeds.",
        "",
        *HEAD,
    ]


def scored_rows(options: argparse.Namespace, truth: Path, suffix: str) -> list[str]:
    """Return a row for each variant, of the runs that are done."""
    rows = []
    for variant in VARIANTS:
        folders = [run_folder(options.out, variant, seed) for seed in range(options.seeds)]
        done = [folder for folder in folders if (folder / "scores.json").is_file()]
        rows.append(row(variant, [predicted_scores(folder, truth, suffix, options.device) for folder in done]))
    return rows


def pseudo_scores(options: argparse.Namespace) -> HeldScores:
    return kept_score(options.pseudo, options.truth, options.out / "pseudo_scores.json")


def row(name: str, scores: list[HeldScores]) -> str:
    if not scores:
        return f"| {name} | 0 |" + " – |" * len(COLUMNS)
    values = np.array([astuple(one) for one in scores])
    cells = [
        f"{mean:.1f} ± {deviation:.1f}" if len(scores) > 1 else f"{mean:.1f}"
        for mean, deviation in zip(values.mean(axis=0), values.std(axis=0, ddof=len(scores) > 1), strict=True)
    ]
    return f"| {name} | {len(scores)} | " + " | ".join(cells) + " |"


def count(roots: list[Path]) -> int:
    return sum(len(find_clips(root)) for root in roots)


if __name__ == "__main__":
    main()
