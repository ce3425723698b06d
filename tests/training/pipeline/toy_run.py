"""A run of the toy stages in a process of its own, to be killed: python -m tests.training.pipeline.toy_run ROOT …"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.training.pipeline.toy_stages import ToyConfig, toy_stages

from videocups.pipeline.run import RunConfig, run_stages
from videocups.pipeline.workspace import Workspace

NAMES = ("flow", "motion", "tracks", "clusters", "labels")


def main(root: str, executor: str, workers: str, log: str, sleep_s: str) -> None:
    stages = toy_stages(**dict.fromkeys(NAMES, ToyConfig(log=log, sleep_s=float(sleep_s))))
    config = RunConfig(executor=executor, chunk_seconds=0.1)
    run_stages(stages, Workspace.open(Path(root)), config, workers=int(workers))


if __name__ == "__main__":
    main(*sys.argv[1:])
