"""How many labelled clips a network needs, begun with weights of its own kind or with random ones.

    python benchmarks/label_efficiency.py LABELLED --truth HELD --init CHECKPOINT --out RUNS
        [--fractions .1 1] [--stretch FRAMES] [--budget STEPS] [--seeds N] [--runs N] [--write FILE]

LABELLED are clips with truth, HELD other clips with truth. Every network is fine-tuned on a share of LABELLED, chosen
by stretches of some frames (another choice for each seed, the same for both beginnings); CHECKPOINT is a panoptic one,
or a backbone. Every run keeps its folder in RUNS: the same command goes on where it was stopped, ``--runs N`` does the
next N runs only.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from training_ablation import count, heading, named, parser_of_runs, predicted_scores, row

from videocups.progress import Progress
from videocups.train.config_file import read_config
from videocups.train.loop import run_training
from videocups.train.panoptic_config import PanopticTraining
from videocups.train.panoptic_task import PanopticTask
from videocups_core.clip import find_clips

COMPLETE = [  # the labels are complete: what is not labelled is background
    "droploss.enabled=false",
    "data.labels=truth",
    "data.merge={lane_line: road, crosswalk: road}",
    "data.min_objects=0",
    "data.unknown_things=ignore",
    "paste.own_from=-1",
]
BEGINNINGS = ("random", "pre-trained")


def main() -> None:
    options = parse()
    torch.set_num_threads(1)
    left = options.runs
    for seed in range(options.seeds):
        for fraction in options.fractions:
            for beginning in BEGINNINGS:
                folder = run_folder(options.out, beginning, fraction, seed)
                if not (folder / "scores.json").is_file() and left > 0:
                    left -= 1
                    one_run(folder, beginning, fraction, seed, options)
    text = table(options)
    print(text)
    if options.write:
        options.write.write_text(text)


def parse() -> argparse.Namespace:
    parser = parser_of_runs(__doc__, steps=400)
    parser.add_argument("--init", type=Path, required=True, help="its network must be that of --config")
    parser.add_argument("--fractions", type=float, nargs="+", default=[0.1, 1.0])
    parser.add_argument("--stretch", type=int, default=12, metavar="FRAMES", help="frames that are labelled together")
    return parser.parse_args()


def run_folder(out: Path, beginning: str, fraction: float, seed: int) -> Path:
    return out / f"{beginning}-{fraction:g}-{seed}"


def chosen_pairs(pairs: list[tuple[int, int]], stretch: int, fraction: float, seed: int) -> list[tuple[int, int]]:
    """Return the pairs (clip, first frame) of a share of the stretches; a smaller share is part of a larger one."""
    stretches = sorted({(clip, first // stretch) for clip, first in pairs})
    order = np.random.default_rng(seed).permutation(len(stretches))
    chosen = {stretches[index] for index in order[: max(round(fraction * len(stretches)), 1)].tolist()}
    # the last frame of a stretch has no partner in it
    return [
        (clip, first) for clip, first in pairs if (clip, first // stretch) in chosen and first % stretch < stretch - 1
    ]


def one_run(folder: Path, beginning: str, fraction: float, seed: int, options: argparse.Namespace) -> None:
    """Fine-tune, predict and score; every part of it is skipped where it is done."""
    common = [f"loop.steps={options.budget}", f"loop.seed={seed}"]
    settings = read_config(PanopticTraining, options.config, [*common, *COMPLETE, *options.set])
    if beginning == "pre-trained":
        settings = replace(settings, init=options.init)
    task = PanopticTask([clip for root in options.labelled for clip in find_clips(root)], settings)
    task.windows.pairs = chosen_pairs(task.windows.pairs, options.stretch, fraction, seed)
    with Progress(f"{beginning}, {fraction:.0%}, seed {seed}", total=task.steps, unit="steps") as progress:
        run_training(task, settings.loop, folder, device=options.device, on_step=progress.update)
    scores = predicted_scores(folder, options.truth, "", options.device)
    print(f"{beginning}, {fraction:.0%} of the frames, seed {seed}: {named(scores)}")


def table(options: argparse.Namespace) -> str:
    labels = f"labels of {count(options.labelled)} clips in stretches of {options.stretch} frames"
    lines = heading(options, "Label efficiency", labels)
    for fraction in options.fractions:
        for beginning in BEGINNINGS:
            folders = [run_folder(options.out, beginning, fraction, seed) for seed in range(options.seeds)]
            folders = [folder for folder in folders if (folder / "scores.json").is_file()]
            done = [predicted_scores(folder, options.truth, "", options.device) for folder in folders]
            lines.append(row(f"{fraction:.0%} of the frames, {beginning}", done))
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
