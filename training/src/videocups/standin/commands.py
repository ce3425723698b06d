"""``videocups standin``: write the stand-in bundle."""

from __future__ import annotations

import argparse
from pathlib import Path


def standin(arguments: list[str]) -> int:
    """Build the stand-in network and write it as a bundle."""
    parser = argparse.ArgumentParser(
        prog="videocups standin",
        description="Write a model bundle with fixed weights that segments the stand-in world exactly.",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="BUNDLE", help="folder to write")
    parser.add_argument("--size", default="256x512", metavar="HxW", help="network input in px (default 256x512)")
    options = parser.parse_args(arguments)
    from videocups.standin.bundle import write_standin_bundle

    bundle = write_standin_bundle(options.out, parse_size(options.size))
    size = f"{bundle.input.height}×{bundle.input.width}"
    print(f"{bundle.folder}: {bundle.model_id}, {size}, {len(bundle.classes)} classes")
    return 0


def parse_size(text: str) -> tuple[int, int]:
    """Parse ``HxW``."""
    height, separator, width = text.partition("x")
    if not separator or not height.isdecimal() or not width.isdecimal():
        raise ValueError(f"--size must be HxW such as 256x512, got {text!r}")
    return int(height), int(width)
