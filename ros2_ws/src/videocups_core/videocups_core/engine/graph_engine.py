"""What engines that run a bundle's graph have in common, whatever runs it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from videocups_core.bundle import ModelBundle
from videocups_core.engine.base import EngineInfo, RawOutputs, check_image

Run = Callable[[NDArray[np.uint8]], Mapping[str, NDArray[Any]]]
"""One (1, H, W, 3) uint8 RGB image to the outputs by name."""


class GraphEngine(ABC):
    """A bundle's graph behind the ``Engine`` interface; ``load`` sets what runs it and what was found out about it."""

    def __init__(self, bundle: ModelBundle) -> None:
        self.bundle = bundle
        self._run: Run | None = None
        self._info: EngineInfo | None = None

    @abstractmethod
    def load(self) -> None:
        """Read or build what is needed; slow the first time."""

    def warm_up(self, runs: int = 2) -> None:
        """Run on a blank image; the first runs allocate and, on a GPU, choose kernels."""
        blank = np.zeros(self.bundle.input.shape, dtype=np.uint8)
        for _ in range(runs):
            self.infer(blank)

    def infer(self, image: NDArray[np.uint8]) -> RawOutputs:
        """Run the graph on one (1, H, W, 3) uint8 RGB image."""
        if self._run is None:
            raise RuntimeError("the engine is not loaded; call load() first")
        check_image(image, self.bundle.input)
        return RawOutputs.from_mapping(self._run(image))

    def describe(self) -> EngineInfo:
        """Say what runs where, as verified by ``load``."""
        if self._info is None:
            raise RuntimeError("the engine is not loaded; call load() first")
        return self._info
