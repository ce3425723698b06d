"""Frames in a row of clips as training data: resized, with intrinsics to match, flipped and jittered as one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.transforms import functional as colors

from videocups.train.resizing import resized
from videocups.train.settings import WindowConfig
from videocups_core.clip import Clip


class ClipWindows:
    """All windows of ``length`` frames of some clips."""

    def __init__(self, folders: Sequence[Path], length: int, config: WindowConfig, *, need_camera: bool) -> None:
        self.length, self.config = length, config
        self.clips = [Clip(folder) for folder in folders]
        if need_camera:
            for clip in self.clips:
                _check_camera(clip)
        span = (length - 1) * config.gap
        self._starts = [(at, start) for at, clip in enumerate(self.clips) for start in range(len(clip) - span)]
        if not self._starts:
            raise ValueError(
                f"training needs clips of at least {span + 1} frames, got {len(self.clips)} clips, the longest of "
                f"{max((len(clip) for clip in self.clips), default=0)}; cut longer ones with 'videocups ingest'"
            )
        self._cache: dict[tuple[int, int], NDArray[np.uint8]] = {}

    def __len__(self) -> int:
        return len(self._starts)

    def frames(self, index: int) -> Tensor:
        """Return the frames of a window, (length, 3, H, W) in [0, 1]."""
        at, numbers = self.frame_numbers(index)
        stack = np.stack([self._frame(at, number) for number in numbers])
        return torch.from_numpy(stack).permute(0, 3, 1, 2).float() / 255

    def intrinsics(self, index: int) -> Tensor:
        """Return K (3, 3) of a window's resized frames; pixel centres lie at whole numbers."""
        camera = self.clips[self._starts[index][0]].info.camera
        if camera is None:
            raise ValueError(f"clip {self.clips[self._starts[index][0]].folder} has no calibration")
        scale = (self.config.width / camera.width, self.config.height / camera.height)
        return torch.from_numpy(scaled_intrinsics(camera.matrix(), scale)).float()

    def frame_numbers(self, index: int) -> tuple[int, list[int]]:
        """Return which clip a window belongs to, and which of its frames it has."""
        at, start = self._starts[index]
        return at, [start + step * self.config.gap for step in range(self.length)]

    def draw(self, rng: np.random.Generator) -> tuple[int, bool]:
        """Draw a window and whether it is seen in a mirror."""
        return int(rng.integers(len(self))), bool(rng.random() < self.config.flip)

    def _frame(self, at: int, index: int) -> NDArray[np.uint8]:
        key = (at, index)
        if key not in self._cache:
            image = resized(self.clips[at].frame_rgb(index), (self.config.width, self.config.height))
            if (len(self._cache) + 1) * image.nbytes > self.config.cache_mib * 2**20:
                return image
            self._cache[key] = image
        return self._cache[key]


def scaled_intrinsics(k: NDArray[np.float64], scale: tuple[float, float]) -> NDArray[np.float64]:
    """Return K of an image resized by ``scale`` (x, y): borders map to borders, not centres to centres."""
    scaled = np.diag([scale[0], scale[1], 1.0]) @ k
    scaled[0, 2] += (scale[0] - 1) / 2
    scaled[1, 2] += (scale[1] - 1) / 2
    return scaled


def mirrored_intrinsics(k: Tensor, width: int) -> Tensor:
    """Return K (..., 3, 3) of the mirrored image."""
    mirrored = k.clone()
    mirrored[..., 0, 1] = -k[..., 0, 1]
    mirrored[..., 0, 2] = width - 1 - k[..., 0, 2]
    return mirrored


def jittered(frames: Tensor, config: WindowConfig, rng: np.random.Generator) -> Tensor:
    """Change the colours of all frames (N, 3, H, W) of a window in the same way, or leave them as they are."""
    if rng.random() >= config.jitter:
        return frames
    brightness, contrast, saturation, hue = (float(rng.uniform(-size, size)) for size in config.jitter_size)
    frames = colors.adjust_brightness(frames, 1 + brightness)
    # contrast relative to one mean for the whole window, or a frame would flicker against the next
    frames = ((frames - frames.mean()) * (1 + contrast) + frames.mean()).clamp(0, 1)
    frames = colors.adjust_saturation(frames, 1 + saturation)
    changed: Tensor = colors.adjust_hue(frames, hue)
    return changed


def _check_camera(clip: Clip) -> None:
    camera = clip.info.camera
    if camera is None:
        raise ValueError(
            f"clip {clip.folder} has no calibration, which depth needs; ingest it again with --calibration FILE"
        )
    if any(camera.distortion):
        raise ValueError(
            f"clip {clip.folder} is distorted ({camera.distortion_model}), depth needs a pinhole image; "
            "ingest it again with --undistort"
        )
