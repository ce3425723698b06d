"""A clip as a video: the camera's picture and, below, the same with its labels or a prediction drawn in."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from videocups.progress import counted, track
from videocups.train.predict import named_clips
from videocups_core.clip import Clip
from videocups_core.overlay import draw_overlay
from videocups_core.panoptic.storage import PanopticClip


@dataclass(frozen=True)
class Scene:
    """A clip and what is drawn into it: its own labels or a prediction."""

    clip: Clip
    labels: PanopticClip


def open_scenes(clips: Path, prediction: Path | None = None, kind: str = "panoptic") -> list[Scene]:
    """Return the clips at or below ``clips`` with their labels, or with those that 'videocups predict' wrote."""
    scenes = []
    for folder, name in _clips_with_frames(clips):
        clip, labels = Clip(folder), PanopticClip(folder if prediction is None else prediction / name, kind=kind)
        if len(labels) != len(clip):
            what = "finish or repeat the labelling" if prediction is None else "predict the clip again"
            raise ValueError(f"{folder} has {len(clip)} frames but {len(labels)} labels in {labels.folder}; {what}")
        scenes.append(Scene(clip, labels))
    return scenes


def _clips_with_frames(root: Path) -> list[tuple[Path, str]]:
    try:
        return named_clips([root])
    except FileNotFoundError as error:
        if next(root.rglob("panoptic/segments.json"), None) is None:
            raise
        raise FileNotFoundError(
            f"{root} holds labels without frames, as 'videocups predict' writes them; give the clips they were made "
            f"of, and --prediction {root}"
        ) from error


def film_frames(scene: Scene) -> Iterator[NDArray[np.uint8]]:
    """Yield (2 H, W, 3) RGB pictures: the frame above, below the same with its labels."""
    clip, labels = scene.clip, scene.labels
    for index in range(len(clip)):
        rgb = clip.frame_rgb(index)
        yield np.vstack([rgb, draw_overlay(rgb, labels.frame(index), labels.classes)])


def write_film(scenes: Sequence[Scene], out: Path, *, fps: float | None = None) -> int:
    """Write the scenes one after the other as an mp4 at their own rate (or ``fps``); return the number of frames."""
    clips = [scene.clip for scene in scenes]
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
        pictures = (picture for scene in scenes for picture in film_frames(scene))
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
    parser.add_argument("clips", type=Path, metavar="CLIPS", help="a clip, or a folder of clips")
    parser.add_argument(
        "--prediction", type=Path, metavar="DIR", help="what 'videocups predict' wrote (default: the clips' own labels)"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the video, NAME.mp4")
    parser.add_argument(
        "--kind", default="panoptic", metavar="NAME", help="folder of the labels in each clip (default: panoptic)"
    )
    parser.add_argument("--fps", type=float, default=None, help="frames a second (default: as recorded)")
    options = parser.parse_args(argv)
    scenes = open_scenes(options.clips, options.prediction, options.kind)
    written = write_film(scenes, options.out, fps=options.fps)
    print(f"{options.out}: {counted(written, 'frame')} of {counted(len(scenes), 'clip')}")  # noqa: T201
    return 0
