"""Train flow on pairs of frames, without labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from videocups.cues.smurf.config import FlowScheduleConfig, SmurfConfig
from videocups.cues.smurf.losses import image_loss, student_view, teaching_loss, visibility
from videocups.cues.smurf.made_pairs import known_flow_loss, made_pair, matching_loss
from videocups.cues.smurf.network import FlowNetwork
from videocups.train.checkpoint import Checkpoint
from videocups.train.clip_windows import ClipWindows, jittered
from videocups.train.loop import Batch, initialize, run_training
from videocups_core.config import to_mapping

KIND = "smurf"


def train_flow(
    clips: Sequence[Path],
    out: Path,
    config: SmurfConfig,
    *,
    device: str = "cpu",
    on_step: Callable[[int], None] | None = None,
) -> Checkpoint:
    """Train on all pairs of the clips into the folder ``out``; goes on where a run before stopped."""
    return run_training(SmurfTask(clips, config), config.loop, out, device=device, on_step=on_step)


class SmurfTask:
    """Flow from pairs of frames."""

    kind = KIND

    def __init__(self, clips: Sequence[Path], config: SmurfConfig) -> None:
        self.settings = config
        self.config = to_mapping(config)
        self.windows = ClipWindows(clips, 2, config.data, need_camera=False)
        self.steps = config.loop.steps or steps_for(len(self.windows), config.loop.batch_size, config.schedule)
        self.model = initialize(config.loop.seed, lambda: FlowNetwork(config.network))

    def batch(self, rng: np.random.Generator) -> Batch:
        """Return whole pairs, what the network sees of them, and where that lies."""
        drawn = [self._pair(rng) for _ in range(self.settings.loop.batch_size)]
        return {name: torch.stack([pair[name] for pair in drawn]) for name in drawn[0]}

    def prepare(self, step: int) -> float:
        """Return the factor on the learning rate; everything is trained all the time."""
        return rate_factor(step / self.steps, self.settings.schedule)

    def loss(self, batch: Batch, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Return SMURF's loss of both directions and its parts."""
        config, schedule = self.settings.loss, self.settings.schedule
        whole, seen, origin = batch["whole"], batch["seen"], batch["origin"]
        if step < max(schedule.match_until, schedule.made_until) * self.steps:
            return self._made_loss(seen.flatten(0, 1), matching=step < schedule.match_until * self.steps)
        height, width = seen.shape[-2:]
        crop = crop_of(whole, origin, height, width)
        # both directions are one batch: the second half is the way back
        forth, back = torch.cat([seen[:, 0], seen[:, 1]]), torch.cat([seen[:, 1], seen[:, 0]])
        flows = self.model(forth, back, self.settings.network.train_updates)
        last = flows[-1].detach()
        last_back = last.roll(len(seen), 0)
        share = step / self.steps
        visible = visibility(last, last_back, by_return=share >= schedule.brox_from)
        target, source = torch.cat([crop[:, 0], crop[:, 1]]), torch.cat([whole[:, 1], whole[:, 0]])
        parts = image_loss(target, source, torch.cat([origin, origin]), flows, visible, config)
        loss = config.census * parts["census"] + config.smoothness * parts["smoothness"]
        weight = config.self_teaching * teaching_share(share, schedule)
        if weight > 0:
            views = (student_view(forth, config.student_crop), student_view(back, config.student_crop))
            student = self.model(*views, self.settings.network.train_updates)
            student_back = student[-1].detach().roll(len(seen), 0)
            parts["self_teaching"] = teaching_loss(student, student_back, last, last_back, config)
            loss = loss + weight * parts["self_teaching"]
        return loss, {**parts, "visible": visible.mean()}

    def _made_loss(self, images: Tensor, *, matching: bool) -> tuple[Tensor, dict[str, Tensor]]:
        first, second, known = made_pair(images, self.settings.schedule.made_px)
        if matching:
            loss, found = matching_loss(*self.model.features(first, second), known)
            return loss, {"matching": loss, "found": found}
        flows = self.model(first, second, self.settings.network.train_updates)
        loss = known_flow_loss(flows, known, self.settings.loss.update_decay)
        error = (flows[-1].detach() - known).square().sum(1).sqrt().mean()
        return loss, {"made_px": error, "made_still_px": known.square().sum(1).sqrt().mean()}

    def _pair(self, rng: np.random.Generator) -> Batch:
        index, mirror = self.windows.draw(rng)
        frames = self.windows.frames(index)
        frames = frames.flip(-1) if mirror else frames
        height, width = self.settings.crop_height, self.settings.crop_width
        row = int(rng.integers(frames.shape[-2] - height + 1))
        column = int(rng.integers(frames.shape[-1] - width + 1))
        seen = jittered(frames[..., row : row + height, column : column + width], self.settings.data, rng)
        return {"whole": frames, "seen": seen, "origin": torch.tensor([column, row], dtype=torch.float32)}


def crop_of(whole: Tensor, origin_px: Tensor, height: int, width: int) -> Tensor:
    """Return (B, 2, 3, height, width): the part of the whole pairs that begins at ``origin_px`` (B, 2)."""
    corners = [(int(column), int(row)) for column, row in origin_px.tolist()]
    return torch.stack(
        [
            pair[..., row : row + height, column : column + width]
            for pair, (column, row) in zip(whole, corners, strict=True)
        ]
    )


def steps_for(windows: int, batch_size: int, schedule: FlowScheduleConfig) -> int:
    """Return the steps a data set of this size deserves."""
    wanted = round(schedule.passes * windows / batch_size)
    return min(max(wanted, schedule.fewest_steps), schedule.most_steps)


def rate_factor(share: float, schedule: FlowScheduleConfig) -> float:
    """Return the factor on the learning rate after a share of the steps: 1, then halved again and again."""
    return float(0.5 ** (max(share - schedule.decay_from, 0) / schedule.half_life))


def teaching_share(share: float, schedule: FlowScheduleConfig) -> float:
    """Return how much of the teaching counts after a share of the steps: 0, growing, 1."""
    if schedule.teach_ramp == 0:
        return float(share >= schedule.teach_from)
    return min(max((share - schedule.teach_from) / schedule.teach_ramp, 0.0), 1.0)
