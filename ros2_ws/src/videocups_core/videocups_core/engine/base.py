"""What every engine takes, gives and must say about itself: the output contract of a bundle (docs/bundle.md)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

INPUT_NAME = "image"
REQUIRED_OUTPUTS = ("semantic", "masks", "boxes", "scores", "classes", "embeddings")
OPTIONAL_OUTPUTS = ("semantic_score",)


class EngineError(ValueError):
    """An engine that cannot be had as it was asked for; the message says what to do."""


@dataclass(frozen=True)
class InputSpec:
    """What the network takes: one (1, height, width, 3) uint8 RGB image; normalisation is inside the graph.

    ``resize``: ``letterbox`` keeps the aspect ratio and pads right and bottom with ``pad_rgb``; ``stretch`` does not.
    """

    height: int
    width: int
    resize: str = "letterbox"
    pad_rgb: tuple[int, int, int] = (0, 0, 0)

    def __post_init__(self) -> None:
        if self.height < 1 or self.width < 1:
            raise ValueError(f"input size must be at least 1×1 px, got {self.height}×{self.width}")
        if self.resize not in ("letterbox", "stretch"):
            raise ValueError(f"input.resize must be 'letterbox' or 'stretch', got {self.resize!r}")
        if len(self.pad_rgb) != 3 or not all(0 <= value <= 255 for value in self.pad_rgb):
            raise ValueError(f"input.pad_rgb must be three values in 0..255, got {self.pad_rgb}")

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """The static input shape, (1, H, W, 3)."""
        return (1, self.height, self.width, 3)


@dataclass(frozen=True)
class RawOutputs:
    """What a network says about one image, in network pixels; K detections padded with score 0.

    ``semantic``: (H/s, W/s) uint8, the best *stuff* class of every pixel. ``masks``: (K, m, m) uint8, probability·255
    inside the detection's box. ``boxes``: (K, 4) float32 x0 y0 x1 y1. ``scores``: (K,) float32 in 0..1.
    ``classes``: (K,) integer thing class ids. ``embeddings``: (K, D) float32.
    ``semantic_score``: (H/s, W/s) uint8, probability·255 of ``semantic``, or None where the model has none.
    """

    semantic: NDArray[np.uint8]
    masks: NDArray[np.uint8]
    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    classes: NDArray[np.int64]
    embeddings: NDArray[np.float32]
    semantic_score: NDArray[np.uint8] | None = None

    @staticmethod
    def from_mapping(arrays: Mapping[str, NDArray[np.generic]]) -> RawOutputs:
        """Collect the named outputs of one run."""
        missing = [name for name in REQUIRED_OUTPUTS if name not in arrays]
        if missing:
            raise ValueError(f"the network gave no output named {', '.join(missing)}; docs/bundle.md lists them")
        score = arrays.get("semantic_score")
        return RawOutputs(
            semantic=np.asarray(arrays["semantic"], dtype=np.uint8),
            masks=np.asarray(arrays["masks"], dtype=np.uint8),
            boxes=np.asarray(arrays["boxes"], dtype=np.float32),
            scores=np.asarray(arrays["scores"], dtype=np.float32),
            classes=np.asarray(arrays["classes"], dtype=np.int64),
            embeddings=np.asarray(arrays["embeddings"], dtype=np.float32),
            semantic_score=None if score is None else np.asarray(score, dtype=np.uint8),
        )


@dataclass(frozen=True)
class EngineInfo:
    """What an engine found out about itself after loading; nothing in here is copied from a request.

    ``precision``: how the weights are multiplied, e.g. ``fp32``, ``fp16``, ``int8`` or ``mixed (…)``.
    ``device``: ``cpu``, ``cuda:N`` or the GPU's name. ``provider``: the execution provider that holds the graph.
    ``outputs``: names the graph gives; ``semantic_score`` among them means a confidence map can be had.
    ``notes``: sentences a person should read, such as why a wish was not granted.
    ``cuda_graph``: whether a frame is one captured CUDA graph.
    """

    backend: str
    device: str
    provider: str
    precision: str
    threads: int
    input_shape: tuple[int, int, int, int]
    model_sha256: str
    versions: Mapping[str, str]
    outputs: tuple[str, ...] = REQUIRED_OUTPUTS
    notes: tuple[str, ...] = ()
    cuda_graph: bool = False


class Engine(Protocol):
    """A loaded network: image in, raw outputs out. One thread calls it."""

    def load(self) -> None:
        """Read or build what is needed; slow the first time."""

    def warm_up(self, runs: int = 2) -> None:
        """Run on a blank image so that the first real frame is as fast as the rest."""

    def infer(self, image: NDArray[np.uint8]) -> RawOutputs:
        """Run the network on one (1, H, W, 3) uint8 RGB image."""

    def describe(self) -> EngineInfo:
        """Say what runs where, as verified after loading."""


def check_image(image: NDArray[np.uint8], spec: InputSpec) -> None:
    """Raise unless ``image`` is exactly what the network takes."""
    if image.dtype != np.uint8 or image.shape != spec.shape:
        raise ValueError(
            f"the network takes a {spec.shape} uint8 RGB image, got shape {tuple(image.shape)} and dtype {image.dtype}"
            "; resize it with videocups_core.preprocess"
        )


@dataclass(frozen=True)
class TensorSpec:
    """Name, numpy dtype name and static shape of a graph's input or output."""

    name: str
    dtype: str
    shape: tuple[int | str | None, ...]


_DTYPES = {
    "semantic": ("uint8",),
    "semantic_score": ("uint8",),
    "masks": ("uint8",),
    "boxes": ("float32",),
    "scores": ("float32",),
    "classes": ("int32", "int64"),
    "embeddings": ("float32",),
}


def check_contract(inputs: list[TensorSpec], outputs: list[TensorSpec], spec: InputSpec) -> None:
    """Raise with one sentence where a graph's inputs or outputs break the contract of docs/bundle.md."""
    if [(tensor.name, tensor.dtype, tensor.shape) for tensor in inputs] != [(INPUT_NAME, "uint8", spec.shape)]:
        found = ", ".join(f"{tensor.name} {tensor.dtype} {list(tensor.shape)}" for tensor in inputs)
        raise ValueError(f"the graph must take one input '{INPUT_NAME}' uint8 {list(spec.shape)}, it takes {found}")
    by_name = {tensor.name: tensor for tensor in outputs}
    missing = [name for name in REQUIRED_OUTPUTS if name not in by_name]
    if missing:
        raise ValueError(f"the graph has no output named {', '.join(missing)}; docs/bundle.md lists them")
    for name, dtypes in _DTYPES.items():
        if name in by_name:
            _check_output(by_name[name], dtypes)
    _check_sizes({name: by_name[name].shape for name in _DTYPES if name in by_name}, spec)


def _check_output(tensor: TensorSpec, dtypes: tuple[str, ...]) -> None:
    if tensor.dtype not in dtypes:
        raise ValueError(f"output '{tensor.name}' must be {' or '.join(dtypes)}, it is {tensor.dtype}")
    if not all(isinstance(size, int) and size > 0 for size in tensor.shape):
        raise ValueError(f"output '{tensor.name}' must have a static shape, it has {list(tensor.shape)}")


def _check_sizes(shapes: dict[str, tuple[int | str | None, ...]], spec: InputSpec) -> None:
    count = shapes["scores"][0] if len(shapes["scores"]) == 1 else 0
    side = shapes["masks"][-1]
    width = shapes["embeddings"][-1]
    expected: dict[str, tuple[int | str | None, ...]] = {
        "masks": (count, side, side),
        "boxes": (count, 4),
        "scores": (count,),
        "classes": (count,),
        "embeddings": (count, width),
    }
    for name, shape in expected.items():
        if shapes[name] != shape:
            raise ValueError(f"output '{name}' must have shape {list(shape)}, it has {list(shapes[name])}")
    for name in ("semantic", "semantic_score"):
        if name in shapes and not _divides(shapes[name], spec):
            raise ValueError(
                f"output '{name}' must be (H/s, W/s) with one whole stride s of the input {spec.height}×{spec.width}, "
                f"it is {list(shapes[name])}"
            )


def _divides(shape: tuple[int | str | None, ...], spec: InputSpec) -> bool:
    if len(shape) != 2 or not isinstance(shape[0], int) or not isinstance(shape[1], int):
        return False
    stride = spec.height // shape[0]
    return (shape[0] * stride, shape[1] * stride) == (spec.height, spec.width)
