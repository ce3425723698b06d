"""Settings every training has; without torch, so that help is quick."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from videocups_core.config import setting


@dataclass(frozen=True)
class LoopConfig:
    """How to train, whatever is learned."""

    # everything random hangs on this
    seed: int = setting(0, "everything random hangs on this", minimum=0)
    # steps of the whole run; 0 derives them from the data
    steps: int = setting(0, "steps of the whole run; 0 derives them from the size of the data", minimum=0)
    # windows of a step
    batch_size: int = setting(1, "windows of a step", minimum=1)
    # a step's windows are computed in so many pieces one after the other, to save memory
    accumulate: int = setting(1, "pieces a step's windows are computed in, to save memory", minimum=1)
    # adam, or adamw with decoupled weight decay
    optimizer: Literal["adam", "adamw"] = setting("adam", "adam, or adamw with decoupled weight decay")
    # before any schedule
    learning_rate: float = setting(2e-4, "before any schedule", minimum=0)
    # of the optimizer
    weight_decay: float = setting(0.0, "of the optimizer", minimum=0)
    # gradients with a larger norm are scaled down to it; 0 = never
    clip_norm: float = setting(1.0, "gradients with a larger norm are scaled down to it; 0 = never", minimum=0)
    # processes that read data; 0 = the training process itself
    workers: int = setting(0, "processes that read data; 0 = the training process itself", minimum=0)
    # steps between checkpoints
    checkpoint_every: int = setting(1000, "steps between checkpoints", minimum=1)
    # steps between lines of metrics.jsonl
    log_every: int = setting(50, "steps between lines of metrics.jsonl", minimum=1)
    # numbers the network computes in: fp32, bf16, or fp16 (a GPU only)
    precision: Literal["fp32", "bf16", "fp16"] = setting("fp32", "numbers the network computes in; fp16 needs a GPU")
    # decay of the weights' running average a step; 0 = none is kept
    ema: float = setting(0.0, "decay of the weights' running average a step; 0 = none is kept", minimum=0, maximum=1)
    # refuse operations whose result can differ from run to run; slower on a GPU
    deterministic: bool = setting(False, "refuse operations whose result can differ from run to run")
    # steps between pictures of labels and predictions; 0 = none
    picture_every: int = setting(0, "steps between pictures of labels and predictions; 0 = none", minimum=0)
    # write scalars and pictures for TensorBoard into the run's folder
    tensorboard: bool = setting(False, "write scalars and pictures for TensorBoard into the run's folder")
    # steps in a row with a loss or gradient that is no number before the run gives up
    max_bad_steps: int = setting(10, "steps in a row without a finite loss before the run gives up", minimum=1)


@dataclass(frozen=True)
class WindowConfig:
    """How frames become training data."""

    # images are resized to this height in px
    height: int = setting(320, "images are resized to this height in px", minimum=32)
    # and to this width
    width: int = setting(640, "images are resized to this width in px", minimum=32)
    # frames from one of a window to the next
    gap: int = setting(1, "frames from one of a window to the next", minimum=1)
    # share of windows seen in a mirror
    flip: float = setting(0.5, "share of windows seen in a mirror", minimum=0, maximum=1)
    # share of windows whose colours are changed
    jitter: float = setting(0.5, "share of windows whose colours are changed", minimum=0, maximum=1)
    # how much: brightness, contrast, saturation, hue
    jitter_size: tuple[float, float, float, float] = setting(
        (0.2, 0.2, 0.2, 0.1), "change of brightness, contrast, saturation, hue", minimum=0, maximum=0.5
    )
    # resized frames are kept in memory up to this many MiB, in every process that reads
    cache_mib: int = setting(512, "MiB of resized frames kept in memory, a process", minimum=0)
