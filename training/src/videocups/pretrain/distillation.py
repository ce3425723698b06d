"""Student and teacher, and the two terms: whole views (DINO, Caron et al., 2021) and pixels that flow links."""

from __future__ import annotations

import warnings
from itertools import chain

import torch
from lightly.loss import DINOLoss
from lightly.models.modules import DINOProjectionHead
from torch import Tensor, nn
from torch.nn import functional

from videocups.pretrain.config import ImageTermConfig, PixelTermConfig, PretrainConfig
from videocups.pretrain.encoder import Encoder


class PixelHead(nn.Module):
    """How near a cell's vector points to each class: cosines, in −1 … 1."""

    def __init__(self, dim: int, classes: int) -> None:
        super().__init__()
        self.classes = nn.Parameter(torch.empty(classes, dim))
        nn.init.normal_(self.classes)

    def forward(self, cells: Tensor) -> Tensor:
        """Map (B, dim, h, w) to (B, classes, h, w)."""
        towards = functional.normalize(self.classes, dim=1)[:, :, None, None]
        return functional.conv2d(functional.normalize(cells, dim=1), towards)


class Learner(nn.Module):
    """An encoder with the heads that are thrown away afterwards."""

    def __init__(self, config: PretrainConfig) -> None:
        super().__init__()
        self.encoder = Encoder(config.encoder)
        image, pixel = config.image, config.pixel
        self.pixel_head = PixelHead(config.encoder.dim, pixel.classes)
        with warnings.catch_warnings():
            # lightly spells weight norm the old way; nobody here can do anything about it
            warnings.filterwarnings("ignore", message=".*weight_norm.*", category=FutureWarning)
            self.image_head = DINOProjectionHead(self.encoder.width, image.hidden, image.bottleneck, image.prototypes)


class SelfDistillation(nn.Module):
    """The teacher, a running average of the student, is what is kept.

    Its encoder's weights are named ``backbone.…`` and ``dense.…``, as who starts from them expects.
    """

    pixel_center: Tensor

    def __init__(self, config: PretrainConfig) -> None:
        super().__init__()
        self.config = config
        self.student = Learner(config)
        teacher = Learner(config)
        teacher.load_state_dict(self.student.state_dict())
        teacher.requires_grad_(False)
        self.backbone, self.dense = teacher.encoder.backbone, teacher.encoder.dense
        self.teacher_heads = nn.ModuleDict({"image": teacher.image_head, "pixel": teacher.pixel_head})
        # the parts are registered above; the whole must not be registered a second time
        self._teacher = [teacher]
        self.image_loss = DINOLoss(
            config.image.prototypes,
            student_temp=config.image.student_temperature,
            center_momentum=config.image.center_momentum,
        )
        self.register_buffer("pixel_center", torch.zeros(config.pixel.classes))
        self.train()

    @property
    def teacher(self) -> Learner:
        """Return the teacher."""
        return self._teacher[0]

    def train(self, mode: bool = True) -> SelfDistillation:
        """Switch the student; the teacher always sees with the student's statistics."""
        super().train(mode)
        self.teacher.eval()
        return self

    @torch.no_grad()
    def follow(self, momentum: float) -> None:
        """Move the teacher's weights towards the student's; statistics are taken over."""
        for mine, its in zip(self.teacher.parameters(), self.student.parameters(), strict=True):
            mine.lerp_(its, 1 - momentum)
        for kept, current in zip(self.teacher.buffers(), self.student.buffers(), strict=True):
            kept.copy_(current)

    def image_term(
        self, vectors: tuple[Tensor, Tensor], small: list[Tensor], seen: tuple[Tensor, Tensor], temperature: float
    ) -> Tensor:
        """Return DINO's loss. ``vectors``, ``small``: the student's of both and of small views; ``seen``: teacher's."""
        heads = self.student.image_head, self.teacher.image_head
        with torch.no_grad():
            wanted = [heads[1](vector) for vector in seen]
        found = [heads[0](vector) for vector in chain(vectors, small)]
        loss: Tensor = self.image_loss(wanted, found, teacher_temp=temperature)
        return loss

    def guided_term(self, cells: Tensor, labels: Tensor, config: PixelTermConfig) -> Tensor:
        """Return the cross-entropy of the cells (N, dim, h, w) with given classes (N, h, w), −1 where none."""
        logits = self.student.pixel_head(cells) / config.student_temperature
        losses = functional.cross_entropy(logits, labels, ignore_index=-1, reduction="sum")
        return losses / (labels >= 0).sum().clamp(min=1)

    def pixel_term(self, cells: Tensor, seen: Tensor, grid: Tensor, linked: Tensor, config: PixelTermConfig) -> Tensor:
        """Return the cross-entropy of the student's cells with the teacher's opinion of the cells they are linked to.

        ``cells``, ``seen`` (N, dim, h, w): the student's of a view, the teacher's of the other one; ``grid``
        (N, h, w, 2): where the cells lie there, as torch samples grids; ``linked`` (N, h, w) bool.
        """
        with torch.no_grad():
            there = self.teacher.pixel_head(seen)
            opinion = functional.grid_sample(there, grid, mode="bilinear", align_corners=False)
            opinion = opinion.permute(0, 2, 3, 1)[linked]
            wanted = torch.softmax((opinion - self.pixel_center) / config.teacher_temperature, dim=1)
            if len(opinion):
                self.pixel_center.lerp_(opinion.mean(dim=0), 1 - config.center_momentum)
        found = self.student.pixel_head(cells).permute(0, 2, 3, 1)[linked] / config.student_temperature
        losses = -(wanted * torch.log_softmax(found, dim=1)).sum()
        return losses / linked.sum().clamp(min=1)


def teacher_temperature(share: float, config: ImageTermConfig) -> float:
    """Return the teacher's temperature after a share of the steps: rising in a line, then constant."""
    if share >= config.warmup:
        return config.teacher_temperature
    return config.teacher_start + (config.teacher_temperature - config.teacher_start) * share / config.warmup
