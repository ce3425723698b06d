"""Trainings of benchmarks: they go on where their folder stands, and can be made to fit into a time."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from videocups.cues.dynamo.training import HINTS
from videocups.cues.refined.config import RefinedConfig
from videocups.cues.smurf.config import SmurfConfig
from videocups.progress import Progress
from videocups.train.checkpoint import Checkpoint, newest_checkpoint, read_checkpoint
from videocups_core.config import from_mapping

LEAST_STEPS, LEAST_EPOCH_STEPS = 60, 4
Train = Callable[..., Checkpoint]


def trained(train: Train, clips: Sequence[Path], out: Path, config: Any, device: str = "cpu") -> Checkpoint:
    """Train, and say how long it took."""
    wall, cpu = time.perf_counter(), time.process_time()
    with Progress(f"train {out.name}", unit="steps") as progress:
        checkpoint = train(clips, out, config, device=device, on_step=progress.update)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(f"train {out.name}: {checkpoint.step} steps, {wall:.0f} s ({cpu:.0f} s of one process's CPU), on {device}")
    return checkpoint


def trained_within(
    seconds: float, train: Train, clips: Sequence[Path], out: Path, config: Any, device: str
) -> Checkpoint:
    """Train with no more steps than fit; a run that was begun goes on with the steps it was given."""
    begun = newest_checkpoint(out)
    if begun is None:
        config = fitted(seconds, train, clips, out, config, device)
    else:
        config = from_mapping(type(config), read_checkpoint(begun).config)
    return trained(train, clips, out, config, device)


def fitted(seconds: float, train: Train, clips: Sequence[Path], out: Path, config: Any, device: str) -> Any:
    """Return the config with no more steps than fit; a trial of all phases tells how long one takes."""
    stamps: list[float] = []
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch:
        trial = paced(config, 0)
        train(clips, Path(scratch), trial, device=device, on_step=lambda step: stamps.append(time.perf_counter()))
        if (Path(scratch) / HINTS).is_dir():  # made once: they hang on neither steps nor weights
            out.mkdir(parents=True, exist_ok=True)
            shutil.move(Path(scratch) / HINTS, out / HINTS)
    a_step = (stamps[-1] - stamps[4]) / (len(stamps) - 5)  # the first ones warm up
    left = seconds - (time.perf_counter() - begin)
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
