"""The frames an export is calibrated on and judged by: stretches of clips, with their truth where there is one."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from videocups.evaluate.datasets import TableDataset, open_dataset
from videocups.evaluate.datasets.clip_truth import panoptic_clip_folders
from videocups_core.clip import CLIP_FILE, Clip, find_clips
from videocups_core.engine.base import InputSpec
from videocups_core.preprocess import place, to_network
from videocups_core.standin import StandInWorld

FRAME_NS = 100_000_000  # 10 Hz, where a dataset does not tell the time


@dataclass(frozen=True)
class ViewFrame:
    """One frame: (H, W, 3) uint8 RGB and, where known, the true class and object of every pixel."""

    image_rgb: NDArray[np.uint8]
    stamp_ns: int
    truth: tuple[NDArray[np.uint8], NDArray[np.uint32]] | None = None


@dataclass(frozen=True)
class Views:
    """Stretches of consecutive frames. ``dataset`` knows the truth's classes; None where there is no truth."""

    name: str
    stretches: tuple[tuple[ViewFrame, ...], ...]
    dataset: TableDataset | None = None

    def __len__(self) -> int:
        return sum(map(len, self.stretches))

    def fewer(self, count: int) -> Views:
        """Return the views without what comes after about ``count`` frames; as many of each stretch."""
        share = _share(count, len(self.stretches))
        return replace(self, stretches=tuple(stretch[:share] for stretch in self.stretches)[:count])

    def frames(self) -> Iterator[ViewFrame]:
        """Yield all frames."""
        for stretch in self.stretches:
            yield from stretch

    def network_images(self, spec: InputSpec, count: int) -> list[NDArray[np.uint8]]:
        """Return ``count`` frames at most, evenly spread, as a network of ``spec`` takes them."""
        frames = list(self.frames())
        chosen = np.unique(np.linspace(0, len(frames) - 1, min(count, len(frames))).round().astype(int))
        images = [frames[index].image_rgb for index in chosen]
        return [to_network(image, place((image.shape[0], image.shape[1]), spec), spec) for image in images]


def open_views(folder: Path | None, truth: str | None, count: int) -> Views:
    """Return about ``count`` frames of the clips below ``folder``, as many of each, from the middle of each.

    ``truth``: the name of a dataset as 'videocups evaluate' knows it, 'none', or None for the clips' own labels where
    all of them have some. Without a folder the frames are drawn.
    """
    if folder is None:
        return _drawn_views(count)
    if truth is None and set(map(str, panoptic_clip_folders(folder))) >= set(map(str, find_clips(folder))):
        truth = "clips"
    if truth in (None, "none"):
        clips = [Clip(path) for path in find_clips(folder)]
        return Views(str(folder), tuple(_clip_stretch(clip, _share(count, len(clips))) for clip in clips))
    dataset = open_dataset(truth, folder)
    return Views(f"{folder} ({truth})", tuple(_dataset_stretches(dataset, count)), dataset)


def open_pictures(folder: Path, truth: str | None, count: int) -> Views:
    """Return frames of clips whatever lies beside them, or of the dataset ``truth``, which has no clips of ours."""
    if truth in (None, "none") or _are_clips(folder):
        return open_views(folder, "none", count)
    return open_views(folder, truth, count)


def _are_clips(folder: Path) -> bool:
    """Say whether clips of 'videocups ingest' lie there; others call a file clip.json, too."""
    files = [folder / CLIP_FILE] if (folder / CLIP_FILE).is_file() else sorted(folder.rglob(CLIP_FILE))
    return bool(files) and "schema_version" in json.loads(files[0].read_text(encoding="utf-8"))


def _share(count: int, parts: int) -> int:
    return max(1, -(-count // parts))


def _middle(length: int, count: int) -> range:
    first = max(0, (length - count) // 2)
    return range(first, min(first + count, length))


def _clip_stretch(clip: Clip, count: int) -> tuple[ViewFrame, ...]:
    stamps = clip.info.stamps_ns
    return tuple(ViewFrame(clip.frame_rgb(index), stamps[index]) for index in _middle(len(clip), count))


def _dataset_stretches(dataset: TableDataset, count: int) -> Iterator[tuple[ViewFrame, ...]]:
    sequences = dataset.sequences()
    for sequence in sequences:
        frames = []
        for index in _middle(len(sequence.frames), _share(count, len(sequences))):
            frame = sequence.frames[index]
            image = dataset.image(sequence, frame)
            if image is None:
                raise FileNotFoundError(
                    f"frame {frame.name} of {sequence.key} has no picture below {dataset.root}; "
                    "docs/evaluate.md says where they belong"
                )
            frames.append(ViewFrame(image, index * FRAME_NS, dataset.truth(sequence, frame)))
        yield tuple(frames)


def _drawn_views(count: int) -> Views:
    """Return frames that show something to compare by, where nobody gave any: the stand-in world with noise."""
    world, rng = StandInWorld(), np.random.default_rng(0)
    noisy: Sequence[NDArray[np.int64]] = [
        world.image_rgb(index) + rng.integers(-20, 21, (world.height, world.width, 3)) for index in range(count)
    ]
    frames = (np.clip(image, 0, 255).astype(np.uint8) for image in noisy)
    return Views("the stand-in world", (tuple(ViewFrame(image, i * FRAME_NS) for i, image in enumerate(frames)),))
