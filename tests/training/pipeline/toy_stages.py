"""Five cheap stages of every kind, importable in worker processes; they can be told to fail, to dawdle and to die."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from videocups.pipeline.stage import Input, Output, Stage, Stages
from videocups.pipeline.work import Work


@dataclass(frozen=True)
class ToyConfig:
    gain: int = 1
    fail_at: tuple[int, ...] = ()
    die_at: tuple[int, ...] = ()
    sleep_s: float = 0.0
    log: str = ""


def obey(work: Work, config: ToyConfig) -> None:
    if config.log:
        with Path(config.log).open("a") as file:
            file.write(f"{work.chunk.stage.name} {work.place.name} {work.number}\n")
    time.sleep(config.sleep_s)
    if work.number in config.fail_at:
        raise ArithmeticError(f"frame {work.number} makes no sense")
    if work.number in config.die_at:
        os.kill(os.getpid(), signal.SIGKILL)


def difference(work: Work, config: ToyConfig) -> dict[str, Any]:
    obey(work, config)
    first, second = (work.read("frames", work.number + step).astype(np.float32) for step in (0, 1))
    return {"flow": {"px": (config.gain * (second - first)).astype(np.float16)}}


def motion(work: Work, config: ToyConfig) -> dict[str, Any]:
    obey(work, config)
    flows = [work.read("flow", t)["px"] for t in (work.number - 1, work.number) if work.has("flow", t)]
    grey = work.read("frames", work.number).mean(axis=2)
    return {"motion": (config.gain * np.abs(np.mean(flows, axis=(0, 3)) + grey)).astype(np.int32)}


def tracks(work: Work, config: ToyConfig) -> dict[str, Any]:
    obey(work, config)
    total, frames = 0, []
    for number in work.numbers("motion"):
        total += int(work.read("motion", number).sum())
        frames.append((number, (work.read("motion", number) + config.gain * total) % 1000))
    return {"tracks": frames, "track_table": {"sum": total, "frames": [number for number, _ in frames]}}


def clusters(work: Work, config: ToyConfig) -> dict[str, Any]:
    obey(work, config)
    sums = [int(clip.read("motion", number).sum()) for clip in work.members() for number in clip.numbers("motion")]
    return {"clusters": {"mean": config.gain * sum(sums) // len(sums), "count": len(sums)}}


def labels(work: Work, config: ToyConfig) -> dict[str, Any]:
    obey(work, config)
    return {"labels": (work.read("tracks", work.number) + config.gain * work.read("clusters")["mean"]) % 5000}


def toy_stages(**configs: ToyConfig) -> Stages:
    def of(name: str) -> ToyConfig:
        return configs.get(name, ToyConfig())

    return Stages(
        (
            Stage("flow", "pair", difference, of("flow"), (Input("frames", (0, 1)),), (Output("flow", ".npz"),)),
            Stage(
                "motion",
                "frame",
                motion,
                of("motion"),
                (Input("flow", (-1, 0), "any"), Input("frames")),
                (Output("motion", ".png"),),
            ),
            Stage(
                "tracks",
                "clip",
                tracks,
                of("tracks"),
                (Input("motion", need="any"),),
                (Output("tracks", ".png", each_frame=True), Output("track_table", ".json")),
                final=True,
            ),
            Stage(
                "clusters",
                "data",
                clusters,
                of("clusters"),
                (Input("motion", need="any"),),
                (Output("clusters", ".json"),),
            ),
            Stage(
                "labels",
                "frame",
                labels,
                of("labels"),
                (Input("tracks"), Input("clusters")),
                (Output("labels", ".png"),),
                final=True,
            ),
        )
    )
