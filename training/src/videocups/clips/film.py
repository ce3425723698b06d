"""A clip as a video: the camera's picture and, below, the same with its panoptic labels drawn in."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from videocups.progress import track
from videocups_core.clip import Clip, find_clips
from videocups_core.overlay import draw_overlay
from videocups_core.panoptic.storage import PanopticClip


def film_frames(clip: Clip, kind: str = "panoptic") -> Iterator[NDArray[np.uint8]]:
    """Yield (2 H, W, 3) RGB pictures: frame above, labels of ``kind`` over the frame below."""
    labels = PanopticClip(clip.folder, kind=kind)
    if len(labels) != len(clip):
        raise ValueError(
            f"{clip.folder} has {len(clip)} frames but {len(labels)} labels in {kind}/; finish or repeat the labelling"
        )
    for index in range(len(clip)):
        rgb = clip.frame_rgb(index)
        yield np.vstack([rgb, draw_overlay(rgb, labels.frame(index), labels.classes)])


def write_film(clips: list[Clip], out: Path, *, kind: str = "panoptic", fps: float | None = None) -> int:
    """Write the clips one after the other as an mp4 at their own rate (or ``fps``); return the number of frames."""
    first = clips[0].info
    if any((clip.info.width, clip.info.height) != (first.width, first.height) for clip in clips):
        raise ValueError(f"the clips have different image sizes; film them one by one, starting with {clips[0].folder}")
    rate = fps or frames_per_second(first.stamps_ns)
    out.parent.mkdir(parents=True, exist_ok=True)
    video = cv2.VideoWriter(str(out), cv2.VideoWriter.fourcc(*"mp4v"), rate, (first.width, 2 * first.height))
    if not video.isOpened():
        raise OSError(f"cannot write a video to {out}; the name must end in .mp4 and the folder be writable")
    written = 0
    try:
        pictures = (picture for clip in clips for picture in film_frames(clip, kind))
        for picture in track(pictures, "film", total=sum(map(len, clips)), unit="frames"):
            video.write(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
            written += 1
    finally:
        video.release()
    return written


def frames_per_second(stamps_ns: tuple[int, ...]) -> float:
    """Return the median rate of the stamps, 10 where there is one frame only."""
    return float(1e9 / np.median(np.diff(stamps_ns))) if len(stamps_ns) > 1 else 10.0


def film(argv: list[str]) -> int:
    """Run ``videocups film``."""
    parser = argparse.ArgumentParser(prog="videocups film", description=__doc__)
    parser.add_argument("clips", type=Path, help="a clip, or a folder of clips, with panoptic labels")
    parser.add_argument("--out", type=Path, required=True, help="the video, NAME.mp4")
    parser.add_argument("--kind", default="panoptic", help="folder of the labels in each clip (default: panoptic)")
    parser.add_argument("--fps", type=float, default=None, help="frames a second (default: as recorded)")
    options = parser.parse_args(argv)
    clips = [Clip(folder) for folder in find_clips(options.clips)]
    written = write_film(clips, options.out, kind=options.kind, fps=options.fps)
    print(f"{options.out}: {written} frames of {len(clips)} clips")  # noqa: T201
    return 0
