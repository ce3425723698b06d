"""Train a network on with its own predictions: a slow average of it labels what it learns from."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from torch import Tensor, nn

from videocups.model.load import load_network
from videocups.train.augmentation import draw_colors, recolored
from videocups.train.averaging import WeightAverage
from videocups.train.pair import Pair, join, pack, settle
from videocups.train.panoptic_config import SelfTraining
from videocups.train.panoptic_task import PanopticTask
from videocups.train.tasks import Batch
from videocups.train.teacher import teach

HEADS = ("rpn", "cascade", "mask_head", "semantic_head", "track_head")
_TEACHER = "teacher."


class SelfTask(PanopticTask):
    """Pairs of unlabelled frames: the teacher sees them as they are, the student with other colours."""

    settings: SelfTraining

    def __init__(self, checkpoint: Path, clips: Sequence[Path], settings: SelfTraining) -> None:
        network = load_network(checkpoint)
        begun = replace(settings, init=checkpoint, model=network.config)
        super().__init__(clips, begun, table=network.classes)
        self._teacher = copy.deepcopy(self.model).requires_grad_(False).eval()
        self._average = WeightAverage(self._teacher, settings.teacher.decay)
        self._trained = trained_names(self.model) if settings.teacher.heads_only else None

    def prepare(self, step: int) -> float:
        """Train the heads alone, without their norms; the body's running statistics stay as they are."""
        self.model.train()
        if self._trained is not None:
            for name, parameter in self.model.named_parameters():
                parameter.requires_grad_(name in self._trained)
            for module in (self.model.backbone, self.model.fpn):
                module.eval()
        return super().prepare(step)

    def finish(self, batch: Batch, seed: int, step: int) -> Batch:
        """Let the teacher take in the last step and label the batch; then paste, and change the colours."""
        device = next(self.model.parameters()).device
        self._teacher.to(device)
        self._average.tensors = {name: value.to(device) for name, value in self._average.tensors.items()}
        if step > 0:
            self._average.update(self.model, step, ramp=False)
        self._teacher.load_state_dict(self._average.tensors)
        labels = teach(self._teacher, self._images(batch), self.settings.teacher)
        pairs = []
        for images, found, one in zip(batch["images"].numpy(), labels, batch["seed"].tolist(), strict=True):
            rng = np.random.default_rng([step, one, 1])
            pair = join(recolored(images, draw_colors(self.settings.augment, rng)), found)
            pairs.append(settle(pair, self.settings.data.min_area_px))
        return super().finish({**pack(pairs), "seed": batch["seed"]}, seed, step)

    def state(self) -> dict[str, Tensor]:
        """Return what can be pasted and the teacher, for a checkpoint."""
        teacher = {_TEACHER + name: value for name, value in self._average.tensors.items()}
        return {**super().state(), **teacher}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Take back what ``state`` gave."""
        super().load_state({name: value for name, value in state.items() if not name.startswith(_TEACHER)})
        taught = {name.removeprefix(_TEACHER): v for name, v in state.items() if name.startswith(_TEACHER)}
        self._average.load(taught)

    def _pair(self, index: int, size_hw: tuple[int, int], rng: np.random.Generator) -> Pair:
        return self._drawn(index, size_hw, replace(self.settings.augment, blur=0, jitter=0, grey=0), rng)


def trained_names(model: nn.Module) -> frozenset[str]:
    """Return the names of the heads' weights that are no norm's."""
    norms = {
        f"{name}.{own}"
        for name, module in model.named_modules()
        if isinstance(module, nn.GroupNorm | nn.modules.batchnorm._BatchNorm)
        for own, _ in module.named_parameters(recurse=False)
    }
    names = {name for name, _ in model.named_parameters() if name.split(".")[0] in HEADS}
    return frozenset(names - norms)
