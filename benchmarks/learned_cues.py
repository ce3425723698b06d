"""Train flow and depth on the rendered world, without labels, and ask whether they beat the classical cues there.

    python benchmarks/learned_cues.py --out runs/learned              # as labels use them, minutes on a CPU
    python benchmarks/learned_cues.py --out runs/learned --only flow  # that half alone
    python benchmarks/learned_cues.py --out runs/learned --tiny       # small RAFT and Dynamo-Depth whole as well
    python benchmarks/learned_cues.py --out runs/learned --gpu        # RAFT and Dynamo-Depth whole, in ten minutes

With --minutes (9 with --gpu) a short trial of all phases tells how many steps fit, and schedules shrink as a whole.
Trained on seeds below 1000, measured on other worlds, from seed 1000 on. Training and measuring again goes on where
the folder stands. Flow: end-point error in px of pixels seen in both frames, of those of moving objects, and of hidden
ones; compensated: as in labels, of what the motion of the camera leaves. Depth: every frame scaled to the true median,
up to 80 m; movers: pixels of moving objects, and moving objects above 150 px whose median inverse depth is within 20 %
of the truth. Motion: F1 of m > 0.15 and the area under the ROC curve, of pixels of moving objects; with learned depth:
of flow that classical ego-motion and that depth do not explain.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from labelled_clips import RenderedClip
from learned_depth import MoverDepth
from machine import machine
from numpy.typing import NDArray
from trainings import Train, trained, trained_within

from videocups.cues.classical import iter_cues, survey
from videocups.cues.classical_config import FAST, QUALITY
from videocups.cues.dynamo.config import DynamoConfig
from videocups.cues.dynamo.estimator import DynamoCues
from videocups.cues.dynamo.training import train_depth
from videocups.cues.flow import DisFlow, FlowEstimator
from videocups.cues.learned.flow_kinds import open_flow
from videocups.cues.quality import DepthQuality, MotionQuality
from videocups.cues.refined.config import RefinedConfig
from videocups.cues.refined.training import train_refined
from videocups.cues.smurf.config import SmurfConfig
from videocups.cues.smurf.training import train_flow
from videocups.synthetic import FIRST_HELD_SEED, World, WorldConfig, read_truth, write_clip
from videocups.train.checkpoint import Checkpoint, read_checkpoint
from videocups.train.config_file import read_config

MEASURING_S = 80.0  # kept free for the classical cues on the CPU and for measuring
CONFIGS = Path(__file__).parents[1] / "training" / "configs"
# the published sizes and losses, fewer steps, hence a higher rate; --minutes lowers the steps where a GPU is slower
GPU_FLOW = [
    "network.size=small", "data.height=256", "data.width=512", "crop_height=224", "crop_width=448",
    "loss.student_crop=40", "schedule.fewest_steps=3000", "schedule.most_steps=3000", "schedule.match_until=0.1",
    "schedule.made_until=0.25",
    "loop.batch_size=4", "loop.learning_rate=4.0e-4", "loop.workers=6",
]  # fmt: skip
GPU_DEPTH = [
    "data.height=192", "data.width=384", "schedule.epochs=[4, 1, 2, 5]", "schedule.epoch_steps=400",
    "loop.workers=6",
]  # fmt: skip
# a world drawn at half the size of what flow_refined.yaml is for
CPU_FLOW = [
    "data.height=144", "data.width=288", "scenes.thing_px=[2.0, 32.0]", "scenes.small_weight=4", "loop.steps=300",
]  # fmt: skip
CPU_DEPTH = ["schedule.epochs=[5, 0, 0, 0]", "schedule.halve_every=1.25"]  # of so few frames passes enough
Image = NDArray[np.uint8]
Cues = Iterator[tuple[int, NDArray[np.float32], NDArray[np.float32]]]
FlowSource = Callable[[RenderedClip], Iterator[tuple[int, NDArray[np.float32]]]]
STILL, DIS, TINY_FLOW, IN_LABELS = "no motion", "DIS medium, 2x image", "flow_tiny", ", compensated"
BEST_CUES, DEPTH = "classical, quality", "depth"
EVERY = 3  # of so many frames flow is measured


class StillFlow:
    """No motion anywhere: the least a flow must beat."""

    def flow_px(self, first_rgb: Image, second_rgb: Image) -> NDArray[np.float32]:
        """Return zeros."""
        return np.zeros((*first_rgb.shape[:2], 2), np.float32)


@dataclass
class CueScores:
    """Counts of one source of depth and motion."""

    depth: DepthQuality = field(default_factory=DepthQuality)
    movers: MoverDepth = field(default_factory=MoverDepth)
    motion: MotionQuality = field(default_factory=MotionQuality)


def main() -> int:
    options = parse()
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    print(place(options.gpu))
    train, held = worlds(options, (256, 512) if options.gpu else (144, 288))
    claims = [] if options.only == "depth" else flow_half(options, train, held)
    if options.only != "flow":
        claims += depth_half(options, train, held)
    print()
    for what, better, worse in claims:
        print(f"{what}: {better:.3f} against {worse:.3f}: {'ok' if better < worse else 'MISSED'}")
    return 0 if all(better < worse for _, better, worse in claims) else 1


def flow_half(options: argparse.Namespace, train: list[Path], held: list[Path]) -> list[tuple[str, float, float]]:
    """Train flow, print its error beside that of the classical one, and return what is claimed of it."""
    estimators: dict[str, FlowEstimator] = {STILL: StillFlow(), "DIS medium": DisFlow(), DIS: DisFlow(QUALITY.flow)}
    trainings = flow_trainings(options)
    for name, (config, training) in trainings.items():
        done = learn(options, training, train, name, config, 0.45)
        estimators[name] = open_flow(done.folder, device=options.device)
    sources: dict[str, FlowSource] = {name: partial(plain_flow, estimator=one) for name, one in estimators.items()}
    for name in (DIS, *trainings):
        sources[name + IN_LABELS] = partial(label_flow, estimator=estimators[name])
    errors = print_flow(held, sources)
    claims = []
    for name in trainings:  # small RAFT shows that training runs; the others are for labels
        ours, theirs = (name, STILL) if name == TINY_FLOW else (name + IN_LABELS, DIS + IN_LABELS)
        for kind in ("all", "movers"):
            claims.append((f"flow of {kind}: {ours} against {theirs}", errors[ours][kind], errors[theirs][kind]))
    return claims


def flow_trainings(options: argparse.Namespace) -> dict[str, tuple[Any, Train]]:
    """Return the name, config and training of each flow that is wanted."""
    if options.gpu:
        return {"smurf": (read_config(SmurfConfig, CONFIGS / "flow.yaml", GPU_FLOW), train_flow)}
    refined = read_config(RefinedConfig, CONFIGS / "flow_refined.yaml", CPU_FLOW), train_refined
    tiny = read_config(SmurfConfig, CONFIGS / f"{TINY_FLOW}.yaml"), train_flow
    return {"refined": refined} | ({TINY_FLOW: tiny} if options.tiny else {})


def depth_half(options: argparse.Namespace, train: list[Path], held: list[Path]) -> list[tuple[str, float, float]]:
    """Train depth, print it and motion beside the classical ones, and return what is claimed of them."""
    sources: dict[str, Callable[[RenderedClip], Cues]] = {
        "one depth, no motion": flat_cues,
        "classical, fast": lambda clip: classical_cues(clip, FAST),
        BEST_CUES: lambda clip: classical_cues(clip, QUALITY),
    }
    for name, config in depth_trainings(options).items():
        done = learn(options, train_depth, train, name, config, 1.0)
        dynamo = DynamoCues(done.folder, device=options.device)
        sources[name] = partial(classical_cues, config=QUALITY, dynamo=dynamo)
        if sum(dynamo.config.schedule.epochs[2:]):
            sources[f"{name}, its own mask"] = partial(learned_cues, estimator=dynamo)
    scores = print_cues(held, sources)
    ours, theirs = scores[DEPTH], scores[BEST_CUES]
    return [
        ("AbsRel of learned depth against the quality preset's", mean(ours.depth.abs_rel), mean(theirs.depth.abs_rel)),
        ("the same of moving objects", mean(ours.movers.pixels), mean(theirs.movers.pixels)),
        ("1 - AUC of motion, with learned depth and without", 1 - ours.motion.auc(), 1 - theirs.motion.auc()),
        ("1 - F1 of the same", 1 - ours.motion.f1(), 1 - theirs.motion.f1()),
    ]


def depth_trainings(options: argparse.Namespace) -> dict[str, DynamoConfig]:
    """Return the name and config of each training of depth that is wanted."""
    if options.gpu:
        return {DEPTH: read_config(DynamoConfig, CONFIGS / "depth.yaml", GPU_DEPTH)}
    small = {DEPTH: read_config(DynamoConfig, CONFIGS / "depth_small.yaml", CPU_DEPTH)}
    return small | ({"depth_tiny": read_config(DynamoConfig, CONFIGS / "depth_tiny.yaml")} if options.tiny else {})


def mean(parts: list[Any]) -> float:
    return float(np.mean(np.hstack(parts)))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of clips and runs; a second call goes on there")
    parser.add_argument("--gpu", action="store_true", help="the published sizes on a GPU instead of small nets")
    parser.add_argument("--only", choices=("flow", "depth"), help="one half")
    parser.add_argument("--tiny", action="store_true", help="flow_tiny.yaml and depth_tiny.yaml as well")
    parser.add_argument("--minutes", type=float, help="fit everything into this (default: 9 with --gpu, else no limit)")
    parser.add_argument("--measure-only", action="store_true", help="the newest checkpoints as they are")
    parser.add_argument("--train-clips", type=int, help="default 8, with --gpu 24")
    parser.add_argument("--held-clips", type=int, default=6)
    parser.add_argument("--frames", type=int, default=24, help="of a training clip")
    parser.add_argument("--processes", type=int, help="that render (default 1, with --gpu 8)")
    options = parser.parse_args()
    options.device = "cuda" if options.gpu else "cpu"
    minutes = options.minutes or (9.0 if options.gpu else None)
    options.deadline = None if minutes is None else time.perf_counter() + 60 * minutes
    options.train_clips = options.train_clips or (24 if options.gpu else 8)
    options.processes = options.processes or (8 if options.gpu else 1)
    return options


def learn(
    options: argparse.Namespace, train: Train, clips: list[Path], folder: str, config: Any, share: float
) -> Checkpoint:
    """Train, or take what is there; where time is short, with this share of what is left."""
    out = options.out / folder
    if options.measure_only:
        return read_checkpoint(out)
    if options.deadline is None:
        return trained(train, clips, out, config, options.device)
    left = options.deadline - time.perf_counter() - MEASURING_S
    return trained_within(share * left, train, clips, out, config, options.device)


def worlds(options: argparse.Namespace, size: tuple[int, int]) -> tuple[list[Path], list[Path]]:
    """Render the training and the held clips."""
    held_seeds = range(FIRST_HELD_SEED, FIRST_HELD_SEED + options.held_clips)
    with ProcessPoolExecutor(options.processes) as pool:
        train = clips(pool, options.out / "train", range(options.train_clips), options.frames, size)
        held = clips(pool, options.out / "held", held_seeds, 12, size)
    counts = f"{len(train)} training clips of {options.frames} frames, {len(held)} held clips of 12"
    print(f"{size[1]}x{size[0]} px at 10 Hz: {counts}")
    return train, held


def clips(
    pool: ProcessPoolExecutor, folder: Path, seeds: Iterable[int], frames: int, size: tuple[int, int]
) -> list[Path]:
    """Render what is not there yet."""
    wanted = {
        folder / f"seed_{seed}": WorldConfig(
            seed=seed, num_frames=frames, height=size[0], width=size[1], scenario="drive"
        )
        for seed in seeds
    }
    missing = {path: config for path, config in wanted.items() if not path.exists()}
    list(pool.map(render, missing.values(), missing))
    return list(wanted)


def render(config: WorldConfig, path: Path) -> Path:
    return write_clip(World(config), path)


def print_flow(held: list[Path], sources: dict[str, FlowSource]) -> dict[str, dict[str, float]]:
    """Print a table and return its content."""
    print(f"\n{'flow':<34} EPE all  static  movers  hidden   (px)")
    table = {}
    for name, source in sources.items():
        errors: dict[str, list[NDArray[np.float64]]] = {"all": [], "static": [], "movers": [], "hidden": []}
        for clip in map(RenderedClip, held):
            for index, flow in source(clip):
                truth = read_truth(clip.folder, index)
                error = np.linalg.norm(flow - truth.flow_fw_px, axis=2).astype(np.float64)
                known, hidden = np.isfinite(error), truth.occluded_fw
                moving = np.isin(truth.track_map, truth.moving_tracks)
                masks = (~hidden, ~hidden & ~moving, ~hidden & moving, hidden)
                for kind, mask in zip(errors, masks, strict=True):
                    errors[kind].append(error[mask & known])
        table[name] = {kind: mean(every) for kind, every in errors.items()}
        print(f"{name:<34} " + " ".join(f"{error:7.2f}" for error in table[name].values()), flush=True)
    return table


def plain_flow(clip: RenderedClip, estimator: FlowEstimator) -> Iterator[tuple[int, NDArray[np.float32]]]:
    for index in range(1, len(clip) - 1, EVERY):
        yield index, estimator.flow_px(clip.rgb(index), clip.rgb(index + 1))


def label_flow(clip: RenderedClip, estimator: FlowEstimator) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Yield flow as labels use it: of what the motion of the camera leaves."""
    around = clip.rgb, len(clip), clip.camera
    for cues in iter_cues(*around, survey(*around, QUALITY), QUALITY, estimator):
        if cues.index % EVERY == 1 and cues.index < len(clip) - 1:
            yield cues.index, cues.flow_px


def print_cues(held: list[Path], sources: dict[str, Callable[[RenderedClip], Cues]]) -> dict[str, CueScores]:
    """Print a table and return its counts."""
    print(f"\n{'depth and motion':<24} AbsRel  delta<1.25  AbsRel of movers  objects within 20 %  motion F1    AUC")
    table = {}
    for name, source in sources.items():
        scores = table[name] = CueScores()
        for clip in map(RenderedClip, held):
            for index, depth, motion in source(clip):
                truth = clip.truth(index)
                scores.depth.add(depth, truth.depth_m)
                scores.movers.add(depth, truth)
                scores.motion.add(motion, truth.objects > 0)
        near = scores.movers.objects
        cells = f"{mean(scores.depth.abs_rel):6.3f} {mean(scores.depth.delta):11.3f} {mean(scores.movers.pixels):17.3f}"
        cells += f" {mean(near):11.2f} of {len(near):<4} {scores.motion.f1():11.3f} {scores.motion.auc():6.3f}"
        print(f"{name:<24} {cells}", flush=True)
    return table


def flat_cues(clip: RenderedClip) -> Cues:
    for index in range(1, len(clip) - 1):
        shape = (clip.camera.height, clip.camera.width)
        yield index, np.ones(shape, np.float32), np.zeros(shape, np.float32)


def classical_cues(clip: RenderedClip, config: Any, dynamo: DynamoCues | None = None) -> Cues:
    """Yield classical cues; with a network, its depth, and motion held against that."""
    around = clip.rgb, len(clip), clip.camera
    known = None if dynamo is None else dynamo.known_depth
    for cues in iter_cues(*around, survey(*around, config), config, known=known):
        if 0 < cues.index < len(clip) - 1:
            depth = cues.depth_heights if dynamo is None else dynamo.depth(clip.rgb(cues.index))
            yield cues.index, depth, cues.motion


def learned_cues(clip: RenderedClip, estimator: DynamoCues) -> Cues:
    for index, cues in enumerate(estimator.of_clip(clip.rgb, len(clip))):
        if 0 < index < len(clip) - 1:
            yield index, cues.depth, cues.motion


def place(gpu: bool) -> str:
    name = torch.cuda.get_device_name() if gpu else f"{machine()}, one thread"
    return f"machine: {name}; Python {platform.python_version()}, torch {torch.__version__}"


if __name__ == "__main__":
    raise SystemExit(main())
