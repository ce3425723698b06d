"""A network that is being trained, seen as the vehicle sees it: raw outputs, merge and tracks are core's own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from videocups.model.classes import ClassTable
from videocups.model.detections import Detections
from videocups.model.network import PanopticNetwork
from videocups_core.bundle import ModelBundle
from videocups_core.engine.base import (
    OPTIONAL_OUTPUTS,
    REQUIRED_OUTPUTS,
    EngineInfo,
    InputSpec,
    RawOutputs,
    check_image,
)
from videocups_core.panoptic.merge import MergeConfig
from videocups_core.preprocess import place
from videocups_core.stream import Stream, StreamConfig
from videocups_core.types import PanopticFrame

FramePair = tuple[PanopticFrame, PanopticFrame]


class NetworkEngine:
    """Core's Engine on a network in PyTorch; it always runs in evaluation mode."""

    def __init__(self, network: PanopticNetwork, spec: InputSpec) -> None:
        self.network, self.spec = network, spec
        self._pinned: Tensor | None = None

    @property
    def device(self) -> torch.device:
        """Return where the network is."""
        return next(self.network.parameters()).device

    def load(self) -> None:
        """Do nothing: the network is there."""

    def warm_up(self, runs: int = 2) -> None:
        """Run on a blank image."""
        for _ in range(runs):
            self.infer(np.zeros(self.spec.shape, np.uint8))

    def infer(self, image: NDArray[np.uint8]) -> RawOutputs:
        """Run the network on one (1, H, W, 3) uint8 RGB image."""
        check_image(image, self.spec)
        return detect(self.network, self.upload(image).permute(0, 3, 1, 2))[0]

    def upload(self, image: NDArray[np.uint8]) -> Tensor:
        """Return the image where the network is; a GPU fetches it from pinned memory that is kept, while this goes on.

        The image before it is there by then, for its answer was.
        """
        if self.device.type != "cuda":
            return torch.from_numpy(np.ascontiguousarray(image)).to(self.device)
        if self._pinned is None:
            self._pinned = torch.empty(self.spec.shape, dtype=torch.uint8, pin_memory=True)
        self._pinned.numpy()[...] = image
        return self._pinned.to(self.device, non_blocking=True)

    def describe(self) -> EngineInfo:
        """Say what runs where."""
        precision = str(next(self.network.parameters()).dtype).removeprefix("torch.")
        return EngineInfo(
            backend="torch",
            device=str(self.device),
            provider="PyTorch",
            precision={"float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}[precision],
            threads=torch.get_num_threads(),
            input_shape=self.spec.shape,
            model_sha256="",
            versions={"torch": str(torch.__version__)},
            outputs=(*REQUIRED_OUTPUTS, *OPTIONAL_OUTPUTS),
        )


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Put a network and all its parts into evaluation mode for a while, then back into the mode that each had."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def detect(network: PanopticNetwork, images: Tensor) -> list[RawOutputs]:
    """Return the raw outputs of images (B, 3, H, W) uint8; the network keeps its mode."""
    with evaluating(network), torch.no_grad():
        found, logits = network.detect(images)
    size = (images.shape[-2], images.shape[-1])
    semantic = functional.interpolate(logits.float(), size=size, mode="bilinear", align_corners=False)
    probabilities = semantic.softmax(dim=1)
    return [raw_outputs(one, field, network.classes) for one, field in zip(found, probabilities, strict=True)]


def raw_outputs(found: Detections, semantic: Tensor, table: ClassTable) -> RawOutputs:
    """Return one image's detections and semantic probabilities (C, H, W) in the bundle's terms."""
    best, channel = semantic[1:].max(dim=0)
    stuff, things = (np.array(ids, np.int64) for ids in (table.stuff_ids, table.thing_ids))
    return RawOutputs(
        semantic=stuff.astype(np.uint8)[channel.cpu().numpy()],
        masks=(found.masks * 255).round().to(torch.uint8).cpu().numpy(),
        boxes=found.boxes.float().cpu().numpy(),
        scores=found.scores.float().cpu().numpy(),
        classes=things[found.classes.cpu().numpy()],
        embeddings=found.embeddings.float().cpu().numpy(),
        semantic_score=(best * 255).round().to(torch.uint8).cpu().numpy(),
    )


def input_spec(network: PanopticNetwork, size_hw: tuple[int, int], resize: str = "letterbox") -> InputSpec:
    """Return what the network takes: padding has the mean colour, which normalises to nothing.

    Black is a colour with an edge to the picture, along which networks see objects that are not there.
    """
    red, green, blue = (round(float(value)) for value in network.mean.flatten())
    return InputSpec(*size_hw, resize=resize, pad_rgb=(red, green, blue))


def new_stream(
    network: PanopticNetwork, size_hw: tuple[int, int], *, resize: str = "letterbox", merge: MergeConfig | None = None
) -> Stream:
    """Return a stream over the network with no tracks yet."""
    spec = input_spec(network, size_hw, resize)
    bundle = ModelBundle(Path(), "in training", network.classes.bundle_classes, spec, onnx_sha256="")
    return Stream(bundle, NetworkEngine(network, spec), StreamConfig(merge=merge))


def follow(network: PanopticNetwork, raw: tuple[RawOutputs, RawOutputs], merge: MergeConfig) -> FramePair:
    """Merge the raw outputs of two frames of network size and track objects from one to the other."""
    first, second = raw
    height, width = first.semantic.shape
    stream = new_stream(network, (height, width), resize="stretch", merge=merge)
    placement = place((height, width), stream.bundle.input)
    return stream.finish(first, placement, 0), stream.finish(second, placement, 1)


def follow_pairs(network: PanopticNetwork, images: Tensor, merge: MergeConfig) -> list[FramePair]:
    """Predict pairs of frames (B, 2, 3, H, W) uint8."""
    raw = detect(network, images.flatten(0, 1))
    return [follow(network, (raw[at], raw[at + 1]), merge) for at in range(0, len(raw), 2)]
