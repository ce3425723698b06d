"""``videocups render``: a street world as a clip with truth."""

from __future__ import annotations

import argparse
from pathlib import Path

from videocups.synthetic.config import FIRST_HELD_SEED, SCENARIOS, SETTINGS, WorldConfig


def render(argv: list[str]) -> int:
    """Render one world into a clip folder and print where it is."""
    options = _parser().parse_args(argv)
    width, height = _size(options.size)
    config = WorldConfig(
        seed=options.seed,
        num_frames=options.frames,
        fps=options.fps,
        height=height,
        width=width,
        horizontal_fov_deg=options.fov,
        stereo_baseline_m=options.stereo,
        scenario=options.scenario,
        setting=options.setting,
    )
    from videocups.progress import Progress, counted
    from videocups.synthetic.storage import write_clip
    from videocups.synthetic.world import World

    if options.out.exists():
        raise FileExistsError(f"{options.out} exists; give another --out or remove it")
    world = World(config)
    with Progress("render", total=len(world), unit="frames") as progress:
        folder = write_clip(world, options.out, lambda done, _: progress.update(done), image_suffix=options.image)
    made = f"{counted(len(world), 'frame')} of {width}×{height} px"
    print(f"{folder}: {made} at {config.fps:g} Hz, seed {config.seed}, with truth")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="videocups render", description="Render a street world as a clip with truth.")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the new clip")
    seed_help = f"another number, another street; from {FIRST_HELD_SEED} on for evaluation only; default: %(default)s"
    parser.add_argument("--seed", type=int, default=0, help=seed_help)
    parser.add_argument("--frames", type=int, default=60, help="default: %(default)s")
    parser.add_argument("--fps", type=float, default=10.0, help="default: %(default)s")
    parser.add_argument("--size", default="512x256", metavar="WxH", help="image size in px; default: %(default)s")
    parser.add_argument("--fov", type=float, default=70.0, help="horizontal, in degrees; default: %(default)s")
    parser.add_argument("--stereo", type=float, default=0.0, metavar="M", help="baseline of a right camera in metres")
    parser.add_argument("--scenario", choices=SCENARIOS, default="auto", help="what the ego does; default: %(default)s")
    parser.add_argument("--setting", choices=SETTINGS, default="auto", help="default: %(default)s")
    parser.add_argument("--image", choices=(".jpg", ".png"), default=".jpg", help="default: %(default)s")
    return parser


def _size(text: str) -> tuple[int, int]:
    width, separator, height = text.partition("x")
    if not separator or not width.isdigit() or not height.isdigit():
        raise ValueError(f"--size must look like 512x256 (width x height), got {text!r}")
    return int(width), int(height)
