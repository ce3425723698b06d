"""Distilled codes in the place of features: a head on frozen features, behind the interface of ``semantics.features``.

Features that come with weights are compared by their standardised distance; a head that compares by the angle must get
them standardised, or the largest numbers alone would count.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from videocups.semantics.distill import Head, distill
from videocups.semantics.distill_config import DistillConfig
from videocups.semantics.features import FeatureExtractor, FeatureMap, extract_all


@dataclass(frozen=True)
class MapBank:
    """Feature maps in memory; depths and maps are of one size each."""

    maps: Sequence[NDArray[np.floating[Any]]]
    depths: Sequence[NDArray[np.float32] | None]
    groups: Sequence[int]

    def __len__(self) -> int:
        return len(self.maps)

    def features(self, index: int) -> FeatureMap:
        """Return (h, w, D) float32."""
        return np.asarray(self.maps[index], np.float32)

    def depth(self, index: int) -> NDArray[np.float32] | None:
        """Return (H, W) float32, None where no depth is known."""
        return self.depths[index]

    def group(self, index: int) -> int:
        """Return the clip the image belongs to."""
        return self.groups[index]


@dataclass(frozen=True)
class Coding:
    """A trained head and what is done to features before it: (v − ``shift``) · ``scale``, (D,) each."""

    head: Head
    shift: NDArray[np.float32]
    scale: NDArray[np.float32]

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return everything as arrays to store."""
        state = {f"head.{name}": value.cpu().numpy() for name, value in self.head.state_dict().items()}
        return {**state, "shift": self.shift, "scale": self.scale}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], config: DistillConfig) -> Coding:
        """Return what ``to_arrays`` stored."""
        head = Head(arrays["shift"].size, config)
        names = (name for name in arrays if name.startswith("head."))
        head.load_state_dict({name.removeprefix("head."): torch.from_numpy(arrays[name].copy()) for name in names})
        return cls(head.eval().requires_grad_(False), arrays["shift"], arrays["scale"])


class CodedFeatures:
    """Codes of a frame: the extractor's features through the head. Codes are compared by their angle."""

    weights: NDArray[np.float32] | None = None

    def __init__(self, extractor: FeatureExtractor, coding: Coding, device: str = "cpu") -> None:
        self.extractor, self.coding, self.device = extractor, coding, device
        self.name, self.dim = f"{extractor.name}-coded", coding.head.config.dim
        self.stride, self.windowed = extractor.stride, extractor.windowed
        coding.head.to(device)

    def extract(self, rgb: NDArray[np.uint8]) -> FeatureMap:
        """Return (h, w, dim) float32 codes."""
        return self.extract_batch([rgb])[0]

    def extract_batch(self, images: Sequence[NDArray[np.uint8]]) -> list[FeatureMap]:
        """Return the same for each of several images of one size."""
        features = (np.stack(extract_all(self.extractor, images)) - self.coding.shift) * self.coding.scale
        with torch.inference_mode():
            planes = torch.from_numpy(np.ascontiguousarray(features.transpose(0, 3, 1, 2))).to(self.device)
            codes = self.coding.head(planes).permute(0, 2, 3, 1).cpu().numpy()
        return list(np.ascontiguousarray(codes, dtype=np.float32))


def learn_coding(
    frames: Sequence[tuple[FeatureMap, NDArray[np.float32] | None, int]],
    weights: NDArray[np.float32] | None,
    config: DistillConfig,
    device: str = "cpu",
) -> Coding:
    """Distil (features, depth, clip) of frames of one size; ``weights``: as the extractor has them."""
    maps = [features for features, _, _ in frames]
    shift, scale = standard(maps, weights)
    ready = [((features - shift) * scale).astype(np.float16) for features in maps]
    height, width = maps[0].shape[:2]
    depths = [_resized(depth, 2 * height, 2 * width) for _, depth, _ in frames]
    bank = MapBank(ready, depths, [group for _, _, group in frames])
    return Coding(distill(bank, config, device=device).cpu(), shift, scale)


def standard(
    maps: Sequence[FeatureMap], weights: NDArray[np.float32] | None
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return shift and scale; nothing is changed in features that are compared by their angle anyway."""
    dim = maps[0].shape[2]
    if weights is None:
        return np.zeros(dim, np.float32), np.ones(dim, np.float32)
    vectors = np.concatenate([features.reshape(-1, dim)[::7] for features in maps]).astype(np.float64)
    deviation = vectors.std(axis=0)
    scale = np.where(deviation > 1e-6, weights / np.maximum(deviation, 1e-6), 0)
    return vectors.mean(axis=0).astype(np.float32), scale.astype(np.float32)


def _resized(depth: NDArray[np.float32] | None, height: int, width: int) -> NDArray[np.float32] | None:
    if depth is None:
        return None
    return np.asarray(cv2.resize(depth, (width, height), interpolation=cv2.INTER_NEAREST), np.float32)
