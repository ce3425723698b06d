"""The subcommand ``inspect``: parse, call, print."""

from __future__ import annotations

import argparse
from pathlib import Path


def inspect(arguments: list[str]) -> int:
    """Write a page that shows a clip and its labels; exit status 0, or 1 with a sentence."""
    options = inspect_parser().parse_args(arguments)
    from videocups.label.inspect_page import write_inspection
    from videocups.progress import Progress, counted
    from videocups_core.clip import Clip

    clip = Clip(one_clip(options.clip))
    out = options.out or Path(f"{clip.info.name}.html")
    with Progress("inspect", total=-(-len(clip) // options.every), unit="frames") as progress:
        shown = write_inspection(clip, out, every=options.every, width_px=options.width, on_frame=progress.advance)
    print(f"{out}: {counted(shown, 'frame')}, {out.stat().st_size / 1e6:.1f} MB; open it in a browser")
    return 0


def one_clip(folder: Path) -> Path:
    """Return the clip at or below ``folder``; where there are several, ValueError names some of them."""
    from videocups_core.clip import find_clips

    clips = find_clips(folder)
    if len(clips) > 1:
        named = ", ".join(map(str, clips[:3])) + (" …" if len(clips) > 3 else "")
        raise ValueError(f"{folder} holds {len(clips)} clips; give one of them: {named}")
    return clips[0]


def inspect_parser() -> argparse.ArgumentParser:
    """Return the parser of ``videocups inspect``."""
    parser = argparse.ArgumentParser(
        prog="videocups inspect",
        description="Write a page that shows a clip frame by frame: image, flow, depth, motion, tracks, labels.",
    )
    add = parser.add_argument
    add("clip", type=Path, metavar="CLIP", help="a clip with labels, or a folder with one clip")
    add("--out", type=Path, metavar="FILE", help="the page (default: the clip's name with .html, here)")
    add("--every", type=_positive, default=1, metavar="N", help="show every N-th frame (default: 1)")
    add("--width", type=_positive, default=480, metavar="PX", help="width of each picture (default: 480)")
    return parser


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {value}")
    return value
