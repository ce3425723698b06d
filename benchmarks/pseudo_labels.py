"""What each step of the pseudo-labels is worth: the ablation of VideoCUPS Table 3, and ours.

    python benchmarks/pseudo_labels.py streets FOLDER [--frames 60] [--seeds 3] [--work DIR] [--out FILE]
    python benchmarks/pseudo_labels.py rendered FOLDER
    python benchmarks/pseudo_labels.py streets FOLDER --parts features --self-trained RUN
    python benchmarks/pseudo_labels.py streets FOLDER --parts cues,movers --learned-flow RUN --learned-depth RUN

FOLDER: labelled streets, or rendered clips with truth. STQ, AQ and SQ in per cent, over all clips together,
pseudo-classes matched by the Hungarian method, mean over ``--seeds`` clusterings. All objects count, the parked ones
too, which no motion shows. "pixels": a track has the class of most of its pixels, as in the paper; "instances": tracks
are clustered as wholes and those that look unlike other movers are ignored, the default. Cues and class maps are kept
in ``--work``. AQ counts each crowd, a region that training ignores, as one more track; "AQ of tracks" does not.

Parts: "steps" holds each step against the bars: none may hurt STQ, tracking must help AQ. "features" and "cues" put
others in the place of the classical ones, "cues" also with the longer look of the preset ``thorough``; all rows of
"cues" share the class maps of the first, so that only what is seen to move differs. These three say apart how well
tracks of each way to move are followed, and how good single clips are. "movers" holds the tracks of the rows of "cues"
against moving objects, whatever their class: recall and precision of masks at IoU 0.5, where truth are objects above
the area and precision asks of masks above the area whether they fit a moving object of any size, and AQ of their tubes.
"ablations" change one thing. Differences are taken clustering by clustering. "depth" ranks the depth terms of the
distillation: classes alone, without CRF and tracks, on every fourth frame, each seed with its own head and clustering.
"""

from __future__ import annotations

import argparse
import datetime
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from time import process_time

os.environ.setdefault("OMP_NUM_THREADS", "1")

import cv2
import numpy as np
from label_scores import WAYS, Scores, mean_scores
from label_semantics import TERMS, classical, coded, random_codes, self_trained
from label_variants import Bench, Semantics
from machine import machine

from videocups.pipeline.label_config import LabelConfig, label_config
from videocups.pipeline.learned_cues import LearnedConfig
from videocups.semantics.inference import InferenceConfig

GUIDED = InferenceConfig()
VANILLA = replace(GUIDED, guided=False)
THOROUGH = label_config({"preset": "thorough"}, "the preset thorough")
STEPS = (
    "vanilla semantics + region growing",
    "+ depth-guided inference",
    "+ tracking",
    "+ temporal smoothing (full)",
)
FIGURES = "STQ ± deviation / AQ / SQ, AQ of tracks"
BY = ("pixels", "instances")
HELPS_AQ = 1.1
"""times as large AQ must be with tracking to be called clearly better."""
EVERY = 4
Run = Callable[[str, int], Scores]
Results = dict[str, tuple[Scores, ...]]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", choices=("streets", "rendered"))
    parser.add_argument("clips", type=Path, help="folder of clips with truth")
    parser.add_argument("--frames", type=int, default=60, help="at most so many frames of a clip (default 60)")
    parser.add_argument("--seeds", type=int, default=3, help="clusterings to average over (default 3)")
    parser.add_argument("--parts", default="steps,ablations", help="of steps, features, cues, movers, ablations, depth")
    parser.add_argument("--self-trained", type=Path, metavar="RUN", help="adds a row to features")
    parser.add_argument("--learned-flow", type=Path, metavar="RUN", help="adds a row to cues")
    parser.add_argument("--learned-depth", type=Path, metavar="RUN", help="adds a row to cues")
    parser.add_argument("--work", type=Path, help="keep cues and class maps there")
    parser.add_argument("--out", type=Path, help="write the table there")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    begin = process_time()
    with tempfile.TemporaryDirectory(prefix="pseudo-labels-") as scratch:
        options.work = options.work or Path(scratch)
        lines = list(report(open_bench(options, LabelConfig(), options.dataset), options))
    lines.append(f"{(process_time() - begin) / 60:.1f} minutes of CPU time")
    print(lines[-1])
    if options.out:
        options.out.write_text("\n".join(lines) + "\n")
    return 0


def open_bench(options: argparse.Namespace, config: LabelConfig, name: str) -> Bench:
    """Return the clips with cues, instances and tracks made by these settings."""
    bench = Bench(options.work / name, options.dataset, options.clips, options.frames, options.seeds, config)
    bench.make_tracks()
    return bench


def report(bench: Bench, options: argparse.Namespace) -> Iterator[str]:
    """Print and yield the lines of the tables."""

    def say(line: str) -> str:
        print(line, flush=True)
        return line

    count = sum(len(clip) for clip in bench.clips.values())
    yield say(f"# Pseudo-labels on {options.dataset}: {count} frames of {len(bench.clips)} clips")
    yield say(f"\n{datetime.date.today().isoformat()}, {machine()}; mean of {options.seeds} clusterings\n")
    for part, rows in (("steps", steps), ("features", features), ("cues", cues), ("ablations", ablations)):
        if part not in options.parts.split(","):
            continue
        yield say(f"| {part} | by pixels: {FIGURES} | by instances: {FIGURES} |\n|---|---|---|")
        results: Results = {}
        for name, run in rows(bench, options):
            results[name] = tuple(mean_scores([run(by, seed) for seed in range(options.seeds)]) for by in BY)
            yield say("| " + " | ".join([name, *map(cell, results[name])]) + " |")
        yield say("")
        if part != "ablations":
            yield from map(say, apart(results, [*bench.clips]))
        yield from map(say, verdicts(results) if part == "steps" else gains(results))
    if "movers" in options.parts.split(","):
        yield from map(say, movers(bench, options))
    if "depth" in options.parts.split(","):
        yield from map(say, depth_terms(bench, options.seeds))


def cell(scores: Scores) -> str:
    """Return the figures of a cell of the table."""
    stq, spread, *others = (f"{100 * value:.1f}" for value in (scores.stq, scores.spread, scores.aq, scores.sq))
    return f"{stq} ± {spread} / {' / '.join(others)}, {100 * scores.aq_tracks:.2f}"


def triple(*values: float) -> str:
    return " / ".join(f"{100 * value:.1f}" for value in values)


def apart(results: Results, clips: list[str]) -> Iterator[str]:
    """Yield a table of tracks by the way they move, and of each clip alone."""
    ways = [way for way in WAYS if any(way in scores.aq_by_way for pair in results.values() for scores in pair)]
    yield f"| | AQ of tracks: {' / '.join(ways)} | " + " | ".join(f"{clip}: STQ / AQ / SQ" for clip in clips) + " |"
    yield "|---|---" + "|---" * len(clips) + "|"
    for name, pair in results.items():
        for by, scores in zip(BY, pair, strict=True):
            by_way = " / ".join(f"{100 * scores.aq_by_way[way]:.2f}" for way in ways)
            by_clip = (triple(*(scores.by_clip[clip][name] for name in ("stq", "aq", "sq"))) for clip in clips)
            yield "| " + " | ".join([f"{name}, by {by}", by_way, *by_clip]) + " |"
    yield ""


def verdicts(results: Results) -> Iterator[str]:
    """Yield what came of the bars, no step hurts STQ and tracking helps AQ, and which classes of things are better."""
    for column, by in enumerate(BY):
        for before, after in pairwise(STEPS):
            change, spread = results[after][column].gain(results[before][column])
            yield f"- by {by}, {after}: STQ {signed(change, spread)}: {'ok' if change >= 0 else 'MISSED'}"
        alone, tracked = (results[step][column].aq for step in STEPS[1:3])
        times, verdict = tracked / alone, "ok" if tracked > HELPS_AQ * alone else "MISSED"
        yield f"- by {by}, tracking makes AQ {times:.2f} times as large, asked are more than {HELPS_AQ}: {verdict}"
    by_pixels, by_instances = results[STEPS[-1]]
    yield f"- by instances against by pixels: STQ {signed(*by_instances.gain(by_pixels))}\n"


def gains(results: Results) -> Iterator[str]:
    """Yield how each row stands against the first."""
    first, *others = results
    for name in others:
        changes = (after.gain(before) for after, before in zip(results[name], results[first], strict=True))
        both = (f"{signed(*change)} by {by}" for by, change in zip(BY, changes, strict=True))
        yield f"- {name} against {first}: STQ {', '.join(both)}"
    yield ""


def signed(change: float, spread: float) -> str:
    return f"{100 * change:+.2f} ± {100 * spread:.2f}"


def steps(bench: Bench, options: argparse.Namespace) -> Iterator[tuple[str, Run]]:
    """Yield the rows of Table 3."""
    vanilla, guided = classical("vanilla", VANILLA), classical("guided", GUIDED)
    masks, tracks = bench.masks(), bench.tracks()
    yield STEPS[0], lambda by, seed: bench.panoptic(bench.classes(vanilla, seed), masks, by)
    yield STEPS[1], lambda by, seed: bench.panoptic(bench.classes(guided, seed), masks, by)
    yield STEPS[2], lambda by, seed: bench.panoptic(bench.classes(guided, seed), tracks, by)
    yield STEPS[3], lambda by, seed: bench.panoptic(bench.smoothed(bench.classes(guided, seed)), tracks, by)


def features(bench: Bench, options: argparse.Namespace) -> Iterator[tuple[str, Run]]:
    """Yield the full configuration with other features."""
    yield "classical features and cues", full(bench, classical("guided", GUIDED))
    yield "codes of classical features", full(bench, coded(bench, "repaired", GUIDED))
    if options.self_trained:
        yield "self-trained features", full(bench, self_trained(options.self_trained, GUIDED))


def cues(bench: Bench, options: argparse.Namespace) -> Iterator[tuple[str, Run]]:
    """Yield the full configuration with other cues or a longer look, and the class maps of the first row."""
    semantics = classical("guided", GUIDED)
    for name, other in cue_benches(bench, options):
        yield name, full(other, semantics, bench)


def cue_benches(bench: Bench, options: argparse.Namespace) -> Iterator[tuple[str, Bench]]:
    """Yield the clips with the instances and tracks of classical and learned cues, over a short and a long time."""
    flow, depth, begun = options.learned_flow, options.learned_depth, bench
    yield "classical cues", bench
    both = LearnedConfig(flow, depth) if flow and depth else None
    for name, preset, learned in (
        ("classical cues, thorough", THOROUGH, LearnedConfig()),
        ("learned depth", LabelConfig(), LearnedConfig(depth=depth) if depth else None),
        ("learned flow", LabelConfig(), LearnedConfig(flow=flow) if flow else None),
        ("learned flow and depth", LabelConfig(), both),
        ("learned flow and depth, thorough", THOROUGH, both),
    ):
        if learned:
            folder = f"{options.dataset}-{name.replace(',', '').replace(' ', '-')}"
            begin_with(begun if learned.flow else bench, options.work / folder)
            begun = open_bench(options, replace(preset, learned=learned), folder)
            yield name, begun


def movers(bench: Bench, options: argparse.Namespace) -> Iterator[str]:
    """Yield how well the tracks of all cues find what moves, whatever its class."""
    yield "| movers, whatever their class | > 150 px R / P | > 600 px R / P | AQ |"
    yield "|---|---|---|---|"
    for name, other in cue_benches(bench, options):
        yield other.movers().text(name)
    yield ""


def begin_with(bench: Bench, folder: Path) -> None:
    """Copy what has been made already; what other settings change is made again."""
    if not folder.exists():
        shutil.copytree(bench.root, folder, symlinks=True, ignore=shutil.ignore_patterns("variants"))


def ablations(bench: Bench, options: argparse.Namespace) -> Iterator[tuple[str, Run]]:
    """Yield the full configuration with one thing changed at a time."""
    yield "full", full(bench, classical("guided", GUIDED))
    yield "CRF off", full(bench, classical("plain", replace(GUIDED, crf=False)))
    yield "random features", full(bench, random_codes(GUIDED))
    for name, term in TERMS.items():
        yield name, full(bench, coded(bench, term, GUIDED))


def full(bench: Bench, semantics: Semantics, named: Bench | None = None) -> Run:
    """Return the row of the whole way with these semantics; ``named``: whose class maps, if not its own."""
    tracks = bench.tracks()
    return lambda by, seed: bench.panoptic(bench.smoothed((named or bench).classes(semantics, seed)), tracks, by)


def depth_terms(bench: Bench, seeds: int) -> Iterator[str]:
    """Yield how well classes alone do with each depth term, seed by seed."""
    plain, found = replace(GUIDED, crf=False), {}
    yield f"| depth term | mIoU, CRF off, seeds 0 to {seeds - 1} | mean | against off, mean and standard error |"
    yield "|---|---|---|---|"
    for name, term in {"no codes": "", **TERMS}.items():
        semantics = (coded(bench, term, plain, seed) if term else classical("plain", plain) for seed in range(seeds))
        found[name] = 100 * np.array([bench.class_iou(one, EVERY, seed) for seed, one in enumerate(semantics)])
        values = " ".join(f"{value:.1f}" for value in found[name])
        gain = ""
        if term not in ("", "off"):
            gains = found[name] - found[next(iter(TERMS))]
            gain = f"{gains.mean():+.2f} ± {gains.std(ddof=1) / np.sqrt(seeds) if seeds > 1 else np.nan:.2f}"
        yield f"| {name} | {values} | {found[name].mean():.1f} | {gain} |"
    yield ""


if __name__ == "__main__":
    sys.exit(main())
