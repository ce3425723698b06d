"""Settings of panoptic training; without torch, so that help is quick. Defaults are the paper's and CUPS's numbers."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from videocups.model.config import DropLossConfig, ModelConfig
from videocups.train.settings import LoopConfig
from videocups_core.config import setting


@dataclass(frozen=True)
class PairConfig:
    """How pairs of labelled frames are read."""

    # size of the network's input in px, a multiple of 32
    height: int = setting(640, "height of the network's input in px, a multiple of 32", minimum=64)
    width: int = setting(1280, "width of the network's input in px, a multiple of 32", minimum=64)
    # folder of the labels beside the frames; "truth" is the class and track images of rendered and labelled clips
    labels: str = setting("panoptic", "folder of the labels in each clip; 'truth' reads class and track images")
    # with labels "truth": classes that count as another, by name
    merge: dict[str, str] = setting({}, "with labels 'truth': classes that count as another, by name")
    # frames from one of a pair to the other
    gap: int = setting(1, "frames from one of a pair to the other", minimum=1)
    # pairs with fewer labelled objects are left out; 0 keeps all
    min_objects: int = setting(1, "pairs with fewer labelled objects are left out; 0 keeps all", minimum=0)
    # pixels of a thing class that belong to no object: taught to the semantic head as "thing", or left out there
    unknown_things: Literal["thing", "ignore"] = setting(
        "thing", "what the semantic head learns where a thing class has no object: thing, or nothing (ignore)"
    )
    # objects with fewer visible pixels are ignored
    min_area_px: int = setting(64, "objects with fewer visible pixels are ignored", minimum=1)
    # decoded frames and labels are kept in memory up to this many MiB, in every process that reads
    cache_mib: int = setting(1024, "MiB of decoded frames and labels kept in memory, a process", minimum=0)

    def __post_init__(self) -> None:
        for name in ("height", "width"):
            if getattr(self, name) % 32:
                raise ValueError(f"data.{name} must be a multiple of 32, got {getattr(self, name)}")


@dataclass(frozen=True)
class AugmentConfig:
    """How a pair is changed, both frames alike."""

    # share of pairs seen in a mirror
    flip: float = setting(0.5, "share of pairs seen in a mirror", minimum=0, maximum=1)
    # area of the part that is seen, least and most
    crop_area: tuple[float, float] = setting((0.7, 1.0), "area of the part that is seen", minimum=0.05, maximum=1)
    # size of a batch's images, relative to the network's input, least and most; rounded to 32 px
    scales: tuple[float, float] = setting((0.6, 1.1), "size of a batch's images against the input's", minimum=0.1)
    # share of pairs that are blurred, and by how much
    blur: float = setting(1.0, "share of pairs that are blurred", minimum=0, maximum=1)
    blur_sigma_px: tuple[float, float] = setting((0.1, 2.0), "how much: standard deviation in px", minimum=0)
    # share of pairs whose colours are changed: brightness, contrast, saturation, hue
    jitter: float = setting(0.5, "share of pairs whose colours are changed", minimum=0, maximum=1)
    jitter_size: tuple[float, float, float, float] = setting(
        (0.4, 0.4, 0.4, 0.1), "change of brightness, contrast, saturation, hue", minimum=0, maximum=0.9
    )
    # share of pairs without colour
    grey: float = setting(0.2, "share of pairs without colour", minimum=0, maximum=1)


@dataclass(frozen=True)
class PasteConfig:
    """Video copy-paste: objects of other pairs, and of the model's own predictions, on random ways."""

    enabled: bool = setting(True, "paste objects into pairs")
    # objects a pair, fewest and most
    objects: tuple[int, int] = setting((1, 8), "objects a pair, fewest and most", minimum=0)
    scale: tuple[float, float] = setting((0.25, 1.5), "size of a pasted object against its own", minimum=0.05)
    flip: float = setting(0.5, "share of objects pasted in a mirror", minimum=0, maximum=1)
    # the way between the two frames, at most, as a share of the image's width and height
    speed: float = setting(0.1, "way between the frames, at most, as a share of width and height", minimum=0)
    # change of size between the two frames, at most
    drift: float = setting(0.05, "change of size between the frames, at most", minimum=0, maximum=0.5)
    # objects with a shorter side are not taken
    min_side_px: int = setting(32, "objects with a shorter side are not taken", minimum=2)
    # objects are taken from the model's own predictions as well, from this step on; -1 = never
    own_from: int = setting(1000, "step from which the model's own predictions are pasted; -1 = never", minimum=-1)
    # share of the pasted objects that come from predictions, once there are any
    own_share: float = setting(1.0, "share of objects from predictions, once there are any", minimum=0, maximum=1)
    # predictions are made every so many steps
    own_every: int = setting(1, "predictions are made every so many steps", minimum=1)
    own_score: float = setting(0.75, "predictions with a lower score are not taken", minimum=0, maximum=1)
    own_iou: float = setting(0.5, "predictions whose box overlaps a label's more are not taken", minimum=0, maximum=1)
    # objects of each source that are remembered
    memory: int = setting(64, "objects of each source that are remembered", minimum=1)


@dataclass(frozen=True)
class ScheduleConfig:
    """How long, and how the learning rate goes."""

    # passes over the pairs, where loop.steps is 0
    passes: float = setting(8.0, "passes over the pairs, where loop.steps is 0", minimum=0)
    # steps in which the learning rate grows to its full size
    warm_up: int = setting(0, "steps in which the learning rate grows to its full size", minimum=0)
    # what follows
    decay: Literal["none", "cosine"] = setting("none", "learning rate after that: none keeps it, cosine takes it to 0")


@dataclass(frozen=True)
class PanopticLoop(LoopConfig):
    """The loop's settings with the paper's numbers."""

    batch_size: int = setting(16, "windows of a step", minimum=1)
    optimizer: Literal["adam", "adamw"] = setting("adamw", "adam, or adamw with decoupled weight decay")
    learning_rate: float = setting(1e-4, "before any schedule", minimum=0)
    weight_decay: float = setting(1e-5, "of the optimizer", minimum=0)
    picture_every: int = setting(500, "steps between pictures of labels and predictions; 0 = none", minimum=0)
    tensorboard: bool = setting(True, "write scalars and pictures for TensorBoard into the run's folder")


@dataclass(frozen=True)
class PanopticTraining:
    """Everything a panoptic training can be told; pseudo-labels, truth and fine-tuning differ here only."""

    model: ModelConfig = field(default_factory=ModelConfig)
    droploss: DropLossConfig = field(default_factory=DropLossConfig)
    data: PairConfig = field(default_factory=PairConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    paste: PasteConfig = field(default_factory=PasteConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    loop: PanopticLoop = field(default_factory=PanopticLoop)
    # weights to begin with: a backbone (safetensors), or a checkpoint of a panoptic training
    init: Path | None = setting(None, "weights to begin with: a backbone's safetensors, or a panoptic checkpoint")


@dataclass(frozen=True)
class TeacherConfig:
    """Who labels what a network learns from when it trains itself: the network's own slow average."""

    decay: float = setting(0.999, "decay of the teacher's weights a step", minimum=0, maximum=1)
    scales: tuple[float, ...] = setting((0.5, 0.75, 1.0), "sizes it looks at, against the batch's", minimum=0.1)
    flip: bool = setting(True, "it looks at mirrored images as well")
    score: float = setting(0.7, "objects with a lower mean score are not learned from", minimum=0, maximum=1)
    semantic: float = setting(0.5, "classes less sure than this share of their best are not", minimum=0, maximum=1)
    heads_only: bool = setting(True, "train the heads without their norms, and nothing else")


@dataclass(frozen=True)
class SelfLoop(PanopticLoop):
    """The loop's settings for self-training: small steps, few of them."""

    learning_rate: float = setting(1e-5, "before any schedule", minimum=0)
    steps: int = setting(1500, "steps of the whole run; 0 derives them from the size of the data", minimum=0)
    ema: float = setting(0.999, "decay of the weights' running average a step; 0 = none is kept", minimum=0, maximum=1)


@dataclass(frozen=True)
class SelfPaste(PasteConfig):
    """Copy-paste for self-training: the labels are predictions already."""

    own_from: int = setting(-1, "step from which the model's own predictions are pasted; -1 = never", minimum=-1)


@dataclass(frozen=True)
class NoDropLoss(DropLossConfig):
    """Video DropLoss, off: the teacher labels what it sees, standing or moving."""

    enabled: bool = setting(False, "leave objects alone that no label explains")


@dataclass(frozen=True)
class SelfTraining(PanopticTraining):
    """A panoptic training whose labels are the model's own; ``data.labels`` is not looked at."""

    droploss: NoDropLoss = field(default_factory=NoDropLoss)
    paste: SelfPaste = field(default_factory=SelfPaste)
    loop: SelfLoop = field(default_factory=SelfLoop)
    teacher: TeacherConfig = field(default_factory=TeacherConfig)
