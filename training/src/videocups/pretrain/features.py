"""Features of a self-trained backbone, behind the interface of ``semantics.features``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch.nn import functional

from videocups.pretrain.config import EncoderConfig
from videocups.pretrain.encoder import Encoder
from videocups.semantics.dino import DEVIATION_RGB, MEAN_RGB
from videocups.semantics.features import FeatureMap, stacked
from videocups.semantics.weights import file_sha256
from videocups.train.checkpoint import MODEL, read_checkpoint
from videocups_core.config import from_mapping

KEPT = ("backbone.", "dense.")


class SelfTrainedFeatures:
    """A vector every few pixels. The network learned from whole streets where things are: images are not cut up."""

    windowed = False

    def __init__(self, encoder: Encoder, name: str, device: str = "cpu") -> None:
        self.name, self.device = name, device
        self.encoder = encoder.to(device).eval().requires_grad_(False)
        self.dim, self.stride = encoder.config.dim, encoder.stride
        # standardised, every dimension counts the same and all together 1, as a group of the classical ones does
        self.weights: NDArray[np.float32] = np.full(self.dim, self.dim**-0.5, np.float32)

    def extract(self, rgb: NDArray[np.uint8]) -> FeatureMap:
        """Return (ceil(H / stride), ceil(W / stride), dim) float32; the border repeats up to whole cells."""
        return self.extract_batch([rgb])[0]

    def extract_batch(self, images: Sequence[NDArray[np.uint8]]) -> list[FeatureMap]:
        """Return the same for each of several images of one size."""
        pixels = stacked(images)
        height, width = (-(-size // self.stride) for size in pixels.shape[1:3])
        with torch.inference_mode():
            planes = torch.from_numpy(pixels).to(self.device).permute(0, 3, 1, 2).float() / 255
            mean = torch.tensor(MEAN_RGB, device=self.device).reshape(3, 1, 1)
            deviation = torch.tensor(DEVIATION_RGB, device=self.device).reshape(3, 1, 1)
            bottom, right = (-size % self.encoder.whole for size in pixels.shape[1:3])
            padded = functional.pad((planes - mean) / deviation, (0, right, 0, bottom), mode="replicate")
            cells = self.encoder(padded)[1][:, :, :height, :width].permute(0, 2, 3, 1)
            return list(np.ascontiguousarray(cells.cpu().numpy(), dtype=np.float32))


def load_self_trained(path: Path | str, device: str = "cpu") -> SelfTrainedFeatures:
    """Load the features of a checkpoint of ``videocups pretrain``, or of a run's newest."""
    checkpoint = read_checkpoint(path, "pretrain")
    file = checkpoint.folder / MODEL
    try:
        encoder = Encoder(from_mapping(EncoderConfig, checkpoint.config["encoder"], source=str(checkpoint.folder)))
        state = {name: value for name, value in load_file(file).items() if name.startswith(KEPT)}
        encoder.load_state_dict(state)
    except (RuntimeError, SafetensorError, KeyError, OSError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{file} does not fit its settings or is damaged: {reason}; train again") from error
    # equal names promise equal features
    return SelfTrainedFeatures(encoder, f"self-trained-{file_sha256(file)[:12]}", device)
