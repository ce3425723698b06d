"""Settings of the self-supervised pre-training; without torch, so that help is quick."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from videocups.model.config import BackboneConfig
from videocups.train.settings import LoopConfig
from videocups_core.config import setting


@dataclass(frozen=True)
class VitConfig:
    """The small vision transformer, where ``kind`` is vit."""

    dim: int = setting(192, "length of a token", minimum=8)
    heads: int = setting(3, "heads of its attention; they divide the length of a token", minimum=1)
    depth: int = setting(6, "blocks", minimum=1)
    patch: int = setting(8, "side of a patch in px", minimum=2)


@dataclass(frozen=True)
class EncoderConfig:
    """What is learned: a backbone, and a head that gives every cell a vector."""

    # resnet is the detector's own body and starts it; vit is for features alone
    kind: Literal["resnet", "vit"] = setting("resnet", "resnet (the detector's own body) or vit")
    resnet: BackboneConfig = field(default_factory=BackboneConfig)
    vit: VitConfig = field(default_factory=VitConfig)
    # of a cell: what the dense term learns and the features are
    dim: int = setting(128, "length of a feature vector", minimum=2)


@dataclass(frozen=True)
class ViewConfig:
    """How a pair of frames becomes views."""

    # frames are resized to this first
    height: int = setting(512, "frames are resized to this height in px", minimum=32)
    width: int = setting(1024, "and to this width", minimum=32)
    # frames from one of a pair to the other; flow links their pixels
    gap: int = setting(1, "frames from one of a pair to the other", minimum=1)
    # the two global views are the same region of either frame, resized to a square
    crop: int = setting(224, "side of a global view in px", minimum=32)
    crop_region: tuple[float, float] = setting(
        (0.4, 0.9), "side of its region, least and most, as a share of the frame's height", minimum=0.05, maximum=1
    )
    # small views see a part of what the global ones see
    locals: int = setting(6, "small views of each frame", minimum=0)
    local_crop: int = setting(96, "side of a small view in px", minimum=32)
    local_region: tuple[float, float] = setting(
        (0.15, 0.4), "side of its region as a share of the frame's height", minimum=0.05, maximum=1
    )
    flip: float = setting(0.5, "share of pairs seen in a mirror", minimum=0, maximum=1)
    # much of what tells stuff apart is its colour: less change than for photographs of objects
    jitter_size: tuple[float, float, float, float] = setting(
        (0.3, 0.3, 0.2, 0.05), "change of brightness, contrast, saturation, hue", minimum=0, maximum=0.5
    )
    grey: float = setting(0.05, "share of views without colour", minimum=0, maximum=1)
    blur: float = setting(0.2, "share of views that are blurred", minimum=0, maximum=1)
    # resized frames and their flow are kept in memory up to this, in every process that reads
    cache_mib: int = setting(2048, "MiB of frames and flow kept in memory, a process", minimum=0)


@dataclass(frozen=True)
class ImageTermConfig:
    """Self-distillation of whole views (DINO): small views predict what the teacher sees in global ones."""

    weight: float = setting(1.0, "weight of the image term; 0 switches it off", minimum=0)
    prototypes: int = setting(4096, "outputs of the projection head", minimum=2)
    hidden: int = setting(1024, "hidden units of the projection head", minimum=1)
    bottleneck: int = setting(128, "units before the outputs", minimum=1)
    student_temperature: float = setting(0.1, "of the student", minimum=1e-3)
    # a sharp teacher at once would collapse
    teacher_temperature: float = setting(0.06, "of the teacher, after its warm-up", minimum=1e-3)
    teacher_start: float = setting(0.04, "of the teacher, at first", minimum=1e-3)
    warmup: float = setting(0.2, "share of the steps until the teacher has its temperature", minimum=0, maximum=1)
    center_momentum: float = setting(0.9, "how slowly the centre of the teacher's outputs moves", minimum=0, maximum=1)


@dataclass(frozen=True)
class PixelTermConfig:
    """Self-distillation of pixels: a cell of one frame predicts the class of the cell that flow links it to."""

    weight: float = setting(1.0, "weight of the pixel term; 0 switches it off", minimum=0)
    classes: int = setting(128, "outputs of each cell", minimum=2, maximum=254)
    # clusters of hand-made features are the classes first, the teacher's own outputs afterwards
    guided: float = setting(
        0.5, "share of the steps in which clusters of classical features are the classes", minimum=0, maximum=1
    )
    # frames that the clusters are found on
    frames: int = setting(400, "frames that the clusters are found on, spread evenly", minimum=1)
    student_temperature: float = setting(0.1, "of the student", minimum=1e-3)
    teacher_temperature: float = setting(0.06, "of the teacher", minimum=1e-3)
    center_momentum: float = setting(0.9, "how slowly the centre of the teacher's outputs moves", minimum=0, maximum=1)


@dataclass(frozen=True)
class ScheduleConfig:
    """How rates change over the run."""

    passes: float = setting(100.0, "passes over all pairs, where loop.steps is 0", minimum=0)
    warmup: float = setting(0.05, "share of the steps until the full learning rate", minimum=0, maximum=1)
    final_rate: float = setting(0.01, "learning rate of the last step, as a share", minimum=0, maximum=1)
    # the teacher is a running average of the student
    momentum: float = setting(0.996, "of the teacher at first; it ends at 1", minimum=0, maximum=1)


@dataclass(frozen=True)
class PretrainConfig:
    """All settings of ``videocups pretrain``."""

    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    views: ViewConfig = field(default_factory=ViewConfig)
    image: ImageTermConfig = field(default_factory=ImageTermConfig)
    pixel: PixelTermConfig = field(default_factory=PixelTermConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    loop: LoopConfig = field(
        default_factory=lambda: LoopConfig(
            batch_size=64, optimizer="adamw", learning_rate=5e-4, weight_decay=0.04, workers=8
        )
    )

    def __post_init__(self) -> None:
        for name in ("crop_region", "local_region"):
            low, high = getattr(self.views, name)
            if low > high:
                raise ValueError(f"views.{name} must be (least, most), got {low} and {high}")
        if self.encoder.vit.dim % self.encoder.vit.heads:
            sizes = f"{self.encoder.vit.heads} and {self.encoder.vit.dim}"
            raise ValueError(f"encoder.vit.heads must divide encoder.vit.dim, got {sizes}")
        stride = 4 if self.encoder.kind == "resnet" else self.encoder.vit.patch
        for name in ("crop", "local_crop"):
            if getattr(self.views, name) % stride:
                raise ValueError(f"views.{name} must be a multiple of the encoder's stride {stride}")
        if self.image.weight == 0 and self.pixel.weight == 0:
            raise ValueError("image.weight and pixel.weight are both 0: nothing is left to learn from")
