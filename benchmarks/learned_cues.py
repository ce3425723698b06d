"""Train flow and depth on the rendered world, without labels, and ask whether they beat the classical cues there.

    python benchmarks/learned_cues.py --out runs/learned              # as labels use them, about an hour of one core
    python benchmarks/learned_cues.py --out runs/learned --only flow  # that half alone
    python benchmarks/learned_cues.py --out runs/learned --tiny       # small RAFT and Dynamo-Depth whole as well
    python benchmarks/learned_cues.py --out runs/learned --gpu        # RAFT and Dynamo-Depth whole, in ten minutes

Renders streets of seeds below 1000 to train on, and others from seed 1000 on to measure, or takes those of --train and
--held, clips of 'videocups render'. With --minutes (9 with --gpu) a short trial of all phases tells how many steps fit,
and schedules shrink as a whole. Training and measuring again goes on where the folder stands.

Flow: end-point error in px of pixels seen in both frames, of those of moving objects, and of hidden ones; compensated:
as in labels, of what the motion of the camera leaves. Depth: every frame scaled to the true median, up to 80 m;
driving: of frames in which the camera moves; movers: pixels of moving objects, and moving objects above 150 px whose
median inverse depth is within 20 % of the truth. Motion: F1 of m > 0.15 and the area under the ROC curve, of pixels of
moving objects; with learned depth: of flow that classical ego-motion and that depth do not explain. "In labels": the
depth of the network where parallax is weak, parallax where that is sharp.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from cue_scores import (
    CueSource,
    FlowSource,
    classical_cues,
    flat_cues,
    label_cues,
    label_flow,
    mean,
    network_cues,
    plain_flow,
    print_cues,
    print_flow,
)
from labelled_clips import RenderedClip
from machine import machine
from numpy.typing import NDArray
from trainings import Train, trained, trained_within

from videocups.cues.classical_config import FAST, QUALITY
from videocups.cues.dynamo.config import DynamoConfig
from videocups.cues.dynamo.estimator import DynamoCues
from videocups.cues.dynamo.training import train_depth
from videocups.cues.flow import DisFlow, FlowEstimator
from videocups.cues.learned.flow_kinds import open_flow
from videocups.cues.refined.config import RefinedConfig
from videocups.cues.refined.training import train_refined
from videocups.cues.smurf.config import SmurfConfig
from videocups.cues.smurf.training import train_flow
from videocups.synthetic import FIRST_HELD_SEED, World, WorldConfig, write_clip
from videocups.train.checkpoint import Checkpoint, read_checkpoint
from videocups.train.config_file import read_config
from videocups_core.clip import Clip, find_clips

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
# rendered traffic moves up to 40 px a frame and is painted evenly, and there is more to learn from than a few clips
CPU_FLOW = [
    "scenes.motion_px=[0.4, 40.0]", "scenes.thing_px=[4.0, 64.0]", "scenes.even_share=0.5", "scenes.small_weight=4",
    "loop.steps=2000",
]  # fmt: skip
CPU_DEPTH = ["schedule.epochs=[30, 0, 0, 0]", "schedule.halve_every=7.5"]
HEIGHT, WIDTH = 256, 512
Image = NDArray[np.uint8]
Claims = list[tuple[str, float, float]]
STILL, DIS, TINY_FLOW, IN_LABELS = "no motion", "DIS medium, 2x image", "flow_tiny", ", compensated"
BEST_CUES, DEPTH, WITH_PARALLAX = "classical, quality", "depth", " with parallax"


class StillFlow:
    """No motion anywhere: the least a flow must beat."""

    def flow_px(self, first_rgb: Image, second_rgb: Image) -> NDArray[np.float32]:
        """Return zeros."""
        return np.zeros((*first_rgb.shape[:2], 2), np.float32)


def main() -> int:
    options = parse()
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    print(place(options.gpu))
    train, held = worlds(options)
    claims = [] if options.only == "depth" else flow_half(options, train, held)
    if options.only != "flow":
        claims += depth_half(options, train, held)
    print()
    for what, better, worse in claims:
        print(f"{what}: {better:.3f} against {worse:.3f}: {'ok' if better < worse else 'MISSED'}")
    return 0 if all(better < worse for _, better, worse in claims) else 1


def flow_half(options: argparse.Namespace, train: list[Path], held: list[RenderedClip]) -> Claims:
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


def depth_half(options: argparse.Namespace, train: list[Path], held: list[RenderedClip]) -> Claims:
    """Train depth, print it and motion beside the classical ones, and return what is claimed of them."""
    sources: dict[str, CueSource] = {
        "one depth, no motion": flat_cues,
        "classical, fast": partial(classical_cues, config=FAST),
        BEST_CUES: partial(classical_cues, config=QUALITY),
    }
    for name, config in depth_trainings(options).items():
        dynamo = DynamoCues(learn(options, train_depth, train, name, config, 1.0).folder, device=options.device)
        sources[f"{name} alone"] = partial(label_cues, dynamo=dynamo, alone=True)
        sources[f"{name}{WITH_PARALLAX}"] = partial(label_cues, dynamo=dynamo)
        if sum(dynamo.config.schedule.epochs[2:]):
            sources[f"{name}, its own mask"] = partial(network_cues, dynamo=dynamo)
    scores = print_cues(held, sources)
    ours, theirs = scores[f"{DEPTH}{WITH_PARALLAX}"], scores[BEST_CUES]  # as labels use either
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


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of clips and runs; a second call goes on there")
    parser.add_argument("--gpu", action="store_true", help="the published sizes on a GPU instead of small nets")
    parser.add_argument("--only", choices=("flow", "depth"), help="one half")
    parser.add_argument("--tiny", action="store_true", help="flow_tiny.yaml and depth_tiny.yaml as well")
    parser.add_argument("--minutes", type=float, help="fit everything into this (default: 9 with --gpu, else no limit)")
    parser.add_argument("--measure-only", action="store_true", help="the newest checkpoints as they are")
    parser.add_argument("--train-clips", type=int, help="to render (default 48, with --gpu 24)")
    parser.add_argument("--held-clips", type=int, default=6, help="to render")
    parser.add_argument("--frames", type=int, default=30, help="of a rendered clip")
    parser.add_argument("--train", type=Path, help="folder of rendered clips to train on instead")
    parser.add_argument("--held", type=Path, help="folder of rendered clips, with their truth, to measure on instead")
    parser.add_argument("--processes", type=int, help="that render (default 1, with --gpu 8)")
    options = parser.parse_args()
    options.device = "cuda" if options.gpu else "cpu"
    minutes = options.minutes or (9.0 if options.gpu else None)
    options.deadline = None if minutes is None else time.perf_counter() + 60 * minutes
    options.train_clips = options.train_clips or (24 if options.gpu else 48)
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


def worlds(options: argparse.Namespace) -> tuple[list[Path], list[RenderedClip]]:
    """Return the training and the held clips; render those that are neither given nor there yet."""
    held_seeds = range(FIRST_HELD_SEED, FIRST_HELD_SEED + options.held_clips)
    train = find_clips(options.train) if options.train else rendered(options, "train", range(options.train_clips))
    measured = find_clips(options.held) if options.held else rendered(options, "held", held_seeds)
    held = [RenderedClip(clip) for clip in measured]
    frames = sum(len(Clip(clip)) for clip in train), sum(map(len, held))
    counts = f"{len(train)} training clips of {frames[0]} frames, {len(held)} held clips of {frames[1]}"
    print(f"{held[0].camera.width}x{held[0].camera.height} px: {counts}")
    return train, held


def rendered(options: argparse.Namespace, name: str, seeds: Iterable[int]) -> list[Path]:
    """Return the clips of some seeds."""
    wanted = {
        options.out / name / f"seed_{seed}": WorldConfig(
            seed=seed, num_frames=options.frames, height=HEIGHT, width=WIDTH
        )
        for seed in seeds
    }
    missing = {path: config for path, config in wanted.items() if not path.exists()}
    with ProcessPoolExecutor(options.processes) as pool:
        list(pool.map(render, missing.values(), missing))
    return list(wanted)


def render(config: WorldConfig, path: Path) -> Path:
    return write_clip(World(config), path)


def place(gpu: bool) -> str:
    name = torch.cuda.get_device_name() if gpu else f"{machine()}, one thread"
    return f"machine: {name}; Python {platform.python_version()}, torch {torch.__version__}"


if __name__ == "__main__":
    raise SystemExit(main())
