"""The subcommands ``label``, ``status`` and ``clean``: parse, call, print."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

EXECUTORS = ("inline", "processes", "ray")


def label(arguments: list[str]) -> int:
    """Bring the pseudo-labels of clips up to date; exit status 0, or 1 with a sentence."""
    options = label_parser().parse_args(arguments)
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # items run side by side; torch and BLAS read it when they load
    from videocups.pipeline.label_config import read_label_config
    from videocups.pipeline.label_run import label_clips

    config = read_label_config(options.config)
    summary = label_clips(options, config)
    for line in summary:
        print(line)
    return 0


def status(arguments: list[str]) -> int:
    """Print what is done, failed and stored; exit status 0, or 1 with a sentence."""
    options = status_parser().parse_args(arguments)
    from videocups.pipeline.label_run import open_labels
    from videocups.pipeline.status import status_of
    from videocups.pipeline.status_text import status_lines

    stages, workspace = open_labels(options.clips, options.config)
    for line in status_lines(status_of(stages, workspace), all_failures=options.failures):
        print(line)
    return 0


def clean(arguments: list[str]) -> int:
    """Remove intermediate artefacts after a question; exit status 0, or 1 where the answer was no."""
    options = clean_parser().parse_args(arguments)
    from videocups.pipeline.label_run import open_labels
    from videocups.pipeline.status import clean as remove
    from videocups.pipeline.status import status_of

    stages, workspace = open_labels(options.clips, options.config)
    removable = [stage for stage in status_of(stages, workspace) if not stage.final and stage.stored_bytes]
    names = ", ".join(f"{stage.name} {stage.stored_bytes / 1e6:.1f} MB" for stage in removable)
    if not removable:
        print("nothing to remove: only frames and final labels are there")
        return 0
    print(f"removes {names}; frames and final labels stay")
    if not options.yes and not _agrees():
        print("nothing was removed")
        return 1
    print(f"freed {remove(stages, workspace) / 1e6:.1f} MB")
    return 0


def label_parser() -> argparse.ArgumentParser:
    """Return the parser of ``videocups label``."""
    parser = argparse.ArgumentParser(
        prog="videocups label",
        description="Make panoptic video pseudo-labels of clips. Runs that were stopped go on where they were.",
    )
    add = parser.add_argument
    _add_clips(parser)
    add("--stage", action="append", metavar="NAME", help="only this stage and what it needs, with overlays; repeatable")
    add("--overlays", action="store_true", help="write pictures of the labels to CLIP/overlays")
    add("--executor", choices=EXECUTORS, help="where stages run (default: processes)")
    add("--workers", type=int, metavar="N", help="workers (default: one for each core)")
    add("--out", type=Path, metavar="DIR", help="write there, with links to the frames: for read-only recordings")
    add("--coco", type=Path, metavar="DIR", help="also write the labels there as COCO-panoptic PNGs and JSON")
    add("--retry-failed", action="store_true", help="try again what failed in earlier runs")
    return parser


def status_parser() -> argparse.ArgumentParser:
    """Return the parser of ``videocups status``."""
    what = "Show which labels are done, failed and stored."
    parser = argparse.ArgumentParser(prog="videocups status", description=what)
    _add_clips(parser)
    parser.add_argument("--failures", action="store_true", help="list every failure, not only the first of each stage")
    return parser


def clean_parser() -> argparse.ArgumentParser:
    """Return the parser of ``videocups clean``."""
    parser = argparse.ArgumentParser(
        prog="videocups clean",
        description="Remove what labels were made from: flow, depth, motion … Frames and final labels stay.",
    )
    _add_clips(parser)
    parser.add_argument("--yes", action="store_true", help="do not ask")
    return parser


def _add_clips(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("clips", type=Path, metavar="CLIPS", help="a clip or a folder of clips")
    parser.add_argument("--config", type=Path, metavar="FILE", help="label.yaml with what differs from the defaults")


def _agrees() -> bool:
    if not sys.stdin.isatty():
        raise ValueError("clean asks before it removes, and nobody can answer here; give --yes")
    return input("go on? [y/N] ").strip().lower() in ("y", "yes")
