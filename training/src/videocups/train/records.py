"""What a run writes beside its checkpoints: a line of metrics now and then, the same for TensorBoard, bad batches."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from videocups.train.checkpoint import save_tensors
from videocups.train.tasks import Batch

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

METRICS = "metrics.jsonl"


class Records:
    """The records of one run; without ``writes`` (a process that does not lead) nothing is written."""

    def __init__(self, out: Path, first: int, *, tensorboard: bool, writes: bool) -> None:
        self.out, self._writes = out, writes
        self.last: dict[str, Any] = {}
        self._board: SummaryWriter | None = None
        if not writes:
            return
        out.mkdir(parents=True, exist_ok=True)
        _forget_after(out / METRICS, first)
        if tensorboard:
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(out / "tensorboard"), purge_step=first)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Write a line; what is no number becomes null."""
        row = {"step": step, **values}
        self.last = {name: value if math.isfinite(value) else None for name, value in row.items()}
        if not self._writes:
            return
        with (self.out / METRICS).open("a", encoding="utf-8") as file:
            file.write(json.dumps(self.last) + "\n")
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(name, value, step)

    def picture(self, step: int, image: NDArray[np.uint8]) -> None:
        """Write a (H, W, 3) picture."""
        if self._board is not None:
            self._board.add_image("labels, predictions", image, step, dataformats="HWC")

    def bad_batch(self, step: int, batch: Batch, rank: int) -> Path:
        """Keep the batch of a step whose loss or gradient is no number."""
        path = self.out / f"bad_step_{step:07d}_{rank}.safetensors"
        save_tensors(batch, path)
        return path

    def close(self) -> None:
        """Flush what TensorBoard has not written yet."""
        if self._board is not None:
            self._board.close()


def _forget_after(path: Path, step: int) -> None:
    """Drop the lines of steps that will be done again, and one that a kill left torn."""
    if not path.is_file():
        return
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
        if line.endswith("\n") and json.loads(line)["step"] < step:
            kept.append(line)
    path.write_text("".join(kept), encoding="utf-8")
