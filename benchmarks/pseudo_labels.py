"""What each step of the pseudo-labels is worth: the ablation of VideoCUPS Table 3, and ours.

    python benchmarks/pseudo_labels.py streets FOLDER [--frames 60] [--work DIR] [--out FILE]
    python benchmarks/pseudo_labels.py rendered FOLDER

FOLDER: labelled streets, or rendered clips with truth. STQ, AQ and SQ in per cent, over all clips together,
pseudo-classes matched by the Hungarian method, mean over ``--seeds`` clusterings. All objects count, the parked ones
too, which no motion shows. "pixels": a track has the class of most of its pixels, as in the paper; "instances": tracks
are clustered as wholes and those that look unlike other movers are ignored, the default. Cues and class maps are kept
in ``--work``. AQ counts each crowd, a region that training ignores, as one more track; "AQ of tracks" does not.
"""

from __future__ import annotations

import argparse
import datetime
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import cv2
import numpy as np
from label_variants import Bench, Maps, Semantics
from machine import machine
from semantics import random_network

from videocups.pipeline.semantic_stages import shrunk
from videocups.semantics.coding import CodedFeatures, learn_coding
from videocups.semantics.distill_config import DistillConfig
from videocups.semantics.extractors import build_extractor
from videocups.semantics.features_classical import ClassicalFeatures
from videocups.semantics.inference import InferenceConfig

GUIDED = InferenceConfig()
VANILLA = replace(GUIDED, guided=False)
STEPS = (
    "vanilla semantics + region growing",
    "+ depth-guided inference",
    "+ tracking",
    "+ temporal smoothing (full)",
)
STEPS_OF_CODES = 120
Figures = list[tuple[float, ...]]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", choices=("streets", "rendered"))
    parser.add_argument("clips", type=Path, help="folder of clips with truth")
    parser.add_argument("--frames", type=int, default=60, help="at most so many frames of a clip (default 60)")
    parser.add_argument("--seeds", type=int, default=2, help="clusterings to average over (default 2)")
    parser.add_argument("--parts", default="steps,ablations")
    parser.add_argument("--self-trained", type=Path, metavar="CHECKPOINT", help="adds a row with these features")
    parser.add_argument("--work", type=Path, help="keep cues and class maps there")
    parser.add_argument("--out", type=Path, help="write the table there")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory(prefix="pseudo-labels-") as scratch:
        work = options.work or Path(scratch)
        bench = Bench(work / options.dataset, options.dataset, options.clips, options.frames)
        bench.make_tracks()
        lines = list(report(bench, options))
    if options.out:
        options.out.write_text("\n".join(lines) + "\n")
    return 0


def report(bench: Bench, options: argparse.Namespace) -> Iterator[str]:
    """Print and yield the lines of the tables."""

    def say(line: str) -> str:
        print(line, flush=True)
        return line

    count = sum(len(clip) for clip in bench.clips.values())
    yield say(f"# Pseudo-labels on {options.dataset}: {count} frames of {len(bench.clips)} clips")
    yield say(f"\n{datetime.date.today().isoformat()}, {machine()}; mean of {options.seeds} clusterings\n")
    for part, rows in (("steps", steps), ("ablations", ablations)):
        if part not in options.parts.split(","):
            continue
        yield say(
            "| | by pixels: STQ / AQ / SQ, AQ of tracks | by instances: STQ / AQ / SQ, AQ of tracks |\n|---|---|---|"
        )
        results = {}
        for name, run in rows(bench, options):
            results[name] = [mean([run(by, seed) for seed in range(options.seeds)]) for by in ("pixels", "instances")]
            cells = (cell([100 * value for value in figures]) for figures in results[name])
            yield say("| " + " | ".join([name, *cells]) + " |")
        yield say("")
        if part == "steps":
            yield from map(say, verdicts(results))


def cell(per_cent: list[float]) -> str:
    """Return the figures of a cell of the table."""
    return " / ".join(f"{value:.1f}" for value in per_cent[:3]) + f", {per_cent[3]:.2f}"


def verdicts(results: dict[str, list[tuple[float, ...]]]) -> Iterator[str]:
    """Yield what came of the two bars: no step hurts STQ, and tracking helps AQ."""
    for column, by in enumerate(("pixels", "instances")):
        stq = [results[step][column][0] for step in STEPS]
        worst = min(after - before for before, after in pairwise(stq))
        aq = [results[step][column][1] for step in STEPS[1:3]]
        yield (
            f"by {by}: the worst step changes STQ by {100 * worst:+.2f} points: {'ok' if worst >= 0 else 'HURTS'}; "
            f"tracking makes AQ {aq[1] / aq[0]:.2f} times as large: {'ok' if aq[1] > 1.1 * aq[0] else 'MISSED'}"
        )


Run = Callable[[str, int], tuple[float, ...]]


def steps(bench: Bench, options: argparse.Namespace) -> Iterator[tuple[str, Run]]:
    """Yield the rows of Table 3."""
    vanilla, guided = classical("vanilla", VANILLA), classical("guided", GUIDED)
    masks, tracks = bench.masks(), bench.tracks()
    yield STEPS[0], lambda by, seed: figures(bench, bench.classes(vanilla, seed), masks, by)
    yield STEPS[1], lambda by, seed: figures(bench, bench.classes(guided, seed), masks, by)
    yield STEPS[2], lambda by, seed: figures(bench, bench.classes(guided, seed), tracks, by)
    yield STEPS[3], lambda by, seed: figures(bench, bench.smoothed(bench.classes(guided, seed)), tracks, by)


def ablations(bench: Bench, options: argparse.Namespace) -> Iterator[tuple[str, Run]]:
    """Yield the full configuration with one thing changed at a time."""
    tracks = bench.tracks()
    variants = {
        "full": lambda: classical("guided", GUIDED),
        "CRF off": lambda: classical("plain", replace(GUIDED, crf=False)),
        "random features": lambda: Semantics("random", random_network(), None, GUIDED),
        "codes, depth term off": lambda: coded(bench, "off"),
        "codes, depth term as released": lambda: coded(bench, "released"),
        "codes, depth term repaired": lambda: coded(bench, "repaired"),
    }
    if options.self_trained:
        variants["self-trained features"] = lambda: self_trained(options.self_trained)
    for name, make in variants.items():
        semantics = make()
        yield name, lambda by, seed, s=semantics: figures(bench, bench.smoothed(bench.classes(s, seed)), tracks, by)


def coded(bench: Bench, term: str) -> Semantics:
    """Return codes distilled from classical features; few and short, for a CPU."""
    extractor = ClassicalFeatures()
    settings = DistillConfig(dim=32, steps=STEPS_OF_CODES, batch=8, negatives=2, depth_term=term, depth_decay_every=60)
    frames = []
    for group, clip in enumerate(bench.clips.values()):
        for number in range(0, len(clip), 5):
            small = shrunk(clip.frame_rgb(number), GUIDED.low_scale)
            frames.append((extractor.extract(small), bench.depth_m(clip, number, far=90.0), group))
    features = CodedFeatures(extractor, learn_coding(frames, extractor.weights, settings))
    return Semantics(f"codes-{term}", features.extract, None, GUIDED)


def self_trained(checkpoint: Path) -> Semantics:
    features = build_extractor("self-trained", checkpoint=checkpoint)
    return Semantics(features.name, features.extract, features.weights, GUIDED)


def classical(name: str, inference: InferenceConfig) -> Semantics:
    extractor = ClassicalFeatures()
    return Semantics(name, extractor.extract, extractor.weights, inference)


def figures(bench: Bench, classes: dict[str, Maps], tracks: dict[str, Maps], by: str) -> tuple[float, ...]:
    result = bench.panoptic(classes, tracks, by)
    return result.stq, result.aq, result.sq, result.aq_tracks


def mean(values: Figures) -> tuple[float, ...]:
    return tuple(float(value) for value in np.mean(values, axis=0))


if __name__ == "__main__":
    sys.exit(main())
