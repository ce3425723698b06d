"""Train flow, depth and motion (Dynamo-Depth) on the rendered world; compare with the classical cues.

    python benchmarks/learned_cues.py --out runs/learned              # small nets, minutes on a CPU; flow: refined
    python benchmarks/learned_cues.py --out runs/learned --only flow  # that half alone
    python benchmarks/learned_cues.py --out runs/learned --gpu        # flow: SMURF; published sizes, in ten minutes

With --minutes (9 with --gpu) a short trial of all phases tells how many steps fit, and schedules shrink as a whole.
Trained on seeds below 1000, measured on other worlds, from seed 1000 on. Training and measuring again goes on where
the folder stands. Flow: end-point error in px of pixels seen in both frames, and of hidden ones. Depth: every frame
scaled to the true median, up to 80 m; movers: AbsRel of pixels on moving tracks. Motion: area under the ROC curve of
pixels on moving tracks, all frames together; "against Dynamo's depth": of flow that classical ego-motion and the
learned depth do not explain.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from machine import machine
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from videocups.cues.classical import iter_cues, survey
from videocups.cues.classical_config import FAST, QUALITY
from videocups.cues.dynamo.config import DynamoConfig
from videocups.cues.dynamo.estimator import DynamoCues
from videocups.cues.dynamo.training import HINTS, train_depth
from videocups.cues.flow import DisFlow, DisFlowConfig, FlowEstimator
from videocups.cues.learned.flow_kinds import open_flow
from videocups.cues.refined.config import RefinedConfig
from videocups.cues.refined.training import train_refined
from videocups.cues.smurf.config import SmurfConfig
from videocups.cues.smurf.training import train_flow
from videocups.progress import Progress
from videocups.synthetic import FIRST_HELD_SEED, World, WorldConfig, read_truth, write_clip
from videocups.train.checkpoint import newest_checkpoint, read_checkpoint
from videocups.train.config_file import read_config
from videocups_core.clip import Clip
from videocups_core.config import from_mapping

CONFIGS = Path(__file__).parents[1] / "training" / "configs"
MAX_DEPTH_M = 80.0
MEASURING_S = 80.0  # kept free for the classical cues on the CPU and for measuring
LEAST_STEPS, LEAST_EPOCH_STEPS = 60, 4
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
Image = NDArray[np.uint8]
Cues = Iterator[tuple[int, NDArray[np.float32], NDArray[np.float32]]]


class StillFlow:
    """No motion anywhere: the least a flow must beat."""

    def flow_px(self, first_rgb: Image, second_rgb: Image) -> NDArray[np.float32]:
        """Return zeros."""
        return np.zeros((*first_rgb.shape[:2], 2), np.float32)


def main() -> int:
    options = parse()
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    device = "cuda" if options.gpu else "cpu"
    size = (256, 512) if options.gpu else (144, 288)
    deadline = time.perf_counter() + 60 * options.minutes if options.minutes else None
    print(place(options.gpu))
    if options.only != "depth":
        flow_half(options, device, size, deadline)
    if options.only == "flow":
        return 0
    train, held = worlds(options, size, 10.0)
    depth_file = CONFIGS / ("depth.yaml" if options.gpu else "depth_tiny.yaml")
    depth_config = read_config(DynamoConfig, depth_file, GPU_DEPTH if options.gpu else [])
    done = learn(train_depth, train, options.out / "depth", depth_config, device, options, deadline, 1.0)
    dynamo = DynamoCues(options.out / "depth", device=device)
    print_cues(held, {
        "one depth, no motion": flat_cues,
        "classical, fast": lambda clip: classical_cues(clip, FAST),
        "classical, quality": lambda clip: classical_cues(clip, QUALITY),
        f"Dynamo, step {done.step} of {done.steps}": lambda clip: learned_cues(clip, dynamo),
        "quality against Dynamo's depth": lambda clip: classical_cues(clip, QUALITY, dynamo),
    })  # fmt: skip
    return 0


def flow_half(options: argparse.Namespace, device: str, size: tuple[int, int], deadline: float | None) -> None:
    """Train flow and print its error beside that of the classical one."""
    flow_hz = 10.0 if options.gpu else 30.0
    train, held = worlds(options, size, flow_hz)
    if options.gpu:
        config, training = read_config(SmurfConfig, CONFIGS / "flow.yaml", GPU_FLOW), train_flow
    else:
        config, training = read_config(RefinedConfig, CONFIGS / "flow_refined.yaml", CPU_FLOW), train_refined
    done = learn(training, train, options.out / "flow", config, device, options, deadline, 0.45)
    print_flow(held, {
        "no motion": StillFlow(),
        "DIS medium": DisFlow(),
        "DIS medium, 2x image": DisFlow(DisFlowConfig(upscale=2.0)),
        f"{done.kind}, step {done.step} of {done.steps}": open_flow(options.out / "flow", device=device),
    })  # fmt: skip


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of clips and runs; a second call goes on there")
    parser.add_argument("--gpu", action="store_true", help="the published sizes on a GPU instead of small nets")
    parser.add_argument("--only", choices=("flow", "depth"), help="one half")
    parser.add_argument("--minutes", type=float, help="fit everything into this (default: 9 with --gpu, else no limit)")
    parser.add_argument("--measure-only", action="store_true", help="the newest checkpoints as they are")
    parser.add_argument("--train-clips", type=int, help="default 8, with --gpu 24")
    parser.add_argument("--held-clips", type=int, default=3)
    parser.add_argument("--frames", type=int, default=24, help="of a training clip")
    parser.add_argument("--processes", type=int, help="that render (default 1, with --gpu 8)")
    options = parser.parse_args()
    options.minutes = options.minutes or (9.0 if options.gpu else None)
    options.train_clips = options.train_clips or (24 if options.gpu else 8)
    options.processes = options.processes or (8 if options.gpu else 1)
    return options


def learn(
    train: Callable[..., Any],
    folders: list[Path],
    out: Path,
    config: Any,
    device: str,
    options: argparse.Namespace,
    deadline: float | None,
    share: float,
) -> Any:
    """Train, going on where ``out`` stands; with a ``deadline``, with ``share`` of the time that is left."""
    if options.measure_only:
        return read_checkpoint(out)
    begun = newest_checkpoint(out)
    if begun is not None:
        config = from_mapping(type(config), read_checkpoint(begun).config)
    elif deadline is not None:
        config = fitted(train, folders, out, config, device, deadline, share)
    return trained(train, folders, out, config, device)


def fitted(
    train: Callable[..., Any], folders: list[Path], out: Path, config: Any, device: str, deadline: float, share: float
) -> Any:
    """Return the config with no more steps than fit; a trial of all phases tells how long one takes."""
    stamps: list[float] = []
    with tempfile.TemporaryDirectory() as scratch:
        trial = paced(config, 0)
        train(folders, Path(scratch), trial, device=device, on_step=lambda step: stamps.append(time.perf_counter()))
        if (Path(scratch) / HINTS).is_dir():  # made once: they hang on neither steps nor weights
            out.mkdir(parents=True, exist_ok=True)
            shutil.move(Path(scratch) / HINTS, out / HINTS)
    a_step = (stamps[-1] - stamps[4]) / (len(stamps) - 5)  # the first ones warm up
    left = share * (deadline - time.perf_counter() - MEASURING_S)
    print(f"trial: {a_step:.3f} s a step, {left:.0f} s for this training")
    return paced(config, int(left / a_step))


def paced(config: Any, steps: int) -> Any:
    """Return the config with about so many steps, but some at least and no more than it had."""
    if isinstance(config, RefinedConfig):
        return replace(config, loop=replace(config.loop, steps=min(max(steps, LEAST_STEPS), config.loop.steps)))
    schedule = config.schedule
    if isinstance(config, SmurfConfig):
        steps = min(max(steps, LEAST_STEPS), schedule.most_steps)
        return replace(config, schedule=replace(schedule, fewest_steps=steps, most_steps=steps))
    steps = min(max(steps // sum(schedule.epochs), LEAST_EPOCH_STEPS), schedule.epoch_steps)
    return replace(config, schedule=replace(schedule, epoch_steps=steps))


def worlds(options: argparse.Namespace, size: tuple[int, int], hz: float) -> tuple[list[Path], list[Path]]:
    """Render the training and the held clips."""
    held_seeds = range(FIRST_HELD_SEED + 1, FIRST_HELD_SEED + 1 + options.held_clips)
    with ProcessPoolExecutor(options.processes) as pool:
        train = clips(pool, options.out / f"train_{hz:g}hz", range(options.train_clips), options.frames, size, hz)
        held = clips(pool, options.out / f"held_{hz:g}hz", held_seeds, 12, size, hz)
    print(f"\n{size[1]}x{size[0]} px at {hz:g} Hz: {len(train)} training clips of {options.frames} frames, ", end="")
    print(f"{len(held)} held clips of 12")
    return train, held


def clips(
    pool: ProcessPoolExecutor, folder: Path, seeds: Iterable[int], frames: int, size: tuple[int, int], fps: float
) -> list[Path]:
    """Render what is not there yet."""
    wanted = {
        folder / f"seed_{seed}": WorldConfig(
            seed=seed, num_frames=frames, fps=fps, height=size[0], width=size[1], scenario="drive"
        )
        for seed in seeds
    }
    missing = {path: config for path, config in wanted.items() if not path.exists()}
    list(pool.map(rendered, missing.values(), missing))
    return list(wanted)


def rendered(config: WorldConfig, path: Path) -> Path:
    return write_clip(World(config), path)


def trained(train: Callable[..., Any], folders: list[Path], out: Path, config: Any, device: str) -> Any:
    wall, cpu = time.perf_counter(), time.process_time()
    with Progress(f"train {out.name}", unit="steps") as progress:
        checkpoint = train(folders, out, config, device=device, on_step=progress.update)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(f"train {out.name}: {checkpoint.step} steps, {wall:.0f} s ({cpu:.0f} s of one process's CPU), on {device}")
    return checkpoint


def print_flow(held: list[Path], estimators: dict[str, FlowEstimator]) -> None:
    print("\nflow                          EPE all  static  movers  hidden   (px)")
    for name, estimator in estimators.items():
        errors: dict[str, list[NDArray[np.float64]]] = {"all": [], "static": [], "movers": [], "hidden": []}
        for folder in held:
            clip = Clip(folder)
            for index in range(1, len(clip) - 1, 3):
                truth = read_truth(folder, index)
                estimate = estimator.flow_px(clip.frame_rgb(index), clip.frame_rgb(index + 1))
                error = np.linalg.norm(estimate - truth.flow_fw_px, axis=2).astype(np.float64)
                known, hidden = np.isfinite(error), truth.occluded_fw
                moving = np.isin(truth.track_map, truth.moving_tracks)
                masks = (~hidden, ~hidden & ~moving, ~hidden & moving, hidden)
                for kind, mask in zip(errors, masks, strict=True):
                    errors[kind].append(error[mask & known])
        print(f"{name:<28} " + " ".join(f"{np.concatenate(every).mean():7.2f}" for every in errors.values()))


def print_cues(held: list[Path], sources: dict[str, Callable[[Clip], Cues]]) -> None:
    print("\ndepth and motion                 AbsRel  delta<1.25  movers  motion AUC")
    for name, source in sources.items():
        relative, close, movers, scores, labels = [], [], [], [], []
        for folder in held:
            for index, depth, motion in source(Clip(folder)):
                truth = read_truth(folder, index)
                known = (truth.depth_m > 0) & (truth.depth_m < MAX_DEPTH_M)
                ours, theirs = depth[known], truth.depth_m[known]
                ours = ours * np.median(theirs) / np.median(ours)
                relative.append(np.mean(np.abs(ours - theirs) / theirs))
                close.append(np.mean(np.maximum(ours / theirs, theirs / ours) < 1.25))
                moving = np.isin(truth.track_map, truth.moving_tracks)
                movers.append((np.abs(ours - theirs) / theirs)[moving[known]])
                scores.append(motion[::2, ::2].ravel())
                labels.append(moving[::2, ::2].ravel())
        area = roc_auc_score(np.concatenate(labels), np.concatenate(scores))
        of_movers = np.concatenate(movers).mean()
        print(f"{name:<31} {np.mean(relative):8.3f} {np.mean(close):11.3f} {of_movers:7.3f} {area:11.3f}")


def flat_cues(clip: Clip) -> Cues:
    for index in range(1, len(clip) - 1):
        shape = (clip.info.height, clip.info.width)
        yield index, np.ones(shape, np.float32), np.zeros(shape, np.float32)


def classical_cues(clip: Clip, config: Any, dynamo: DynamoCues | None = None) -> Cues:
    """Yield classical cues; with a network, its depth, and motion held against that."""
    assert clip.info.camera is not None
    geometry = survey(clip.frame_rgb, len(clip), clip.info.camera, config)
    known = None if dynamo is None else dynamo.known_depth
    for cues in iter_cues(clip.frame_rgb, len(clip), clip.info.camera, geometry, config, known=known):
        if 0 < cues.index < len(clip) - 1:
            depth = cues.depth_heights if dynamo is None else dynamo.depth(clip.frame_rgb(cues.index))
            yield cues.index, depth, cues.motion


def learned_cues(clip: Clip, estimator: DynamoCues) -> Cues:
    for index, cues in enumerate(estimator.of_clip(clip.frame_rgb, len(clip))):
        if 0 < index < len(clip) - 1:
            yield index, cues.depth, cues.motion


def place(gpu: bool) -> str:
    name = torch.cuda.get_device_name() if gpu else f"{machine()}, one thread"
    return f"machine: {name}; Python {platform.python_version()}, torch {torch.__version__}"


if __name__ == "__main__":
    raise SystemExit(main())
