"""Train depth, pose, complete flow and motion mask on triples of frames, without labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from videocups.cues.dynamo.config import DynamoConfig
from videocups.cues.dynamo.geometry import pixel_rays
from videocups.cues.dynamo.ground import ground_loss
from videocups.cues.dynamo.losses import consistency_loss, photometric_loss, smooth, smooth_disparity, sparsity_loss
from videocups.cues.dynamo.networks import DynamoNetwork, Motion
from videocups.cues.dynamo.phases import Moment, epoch_length, moment_of, phase_steps
from videocups.cues.dynamo.views import NeighbourView, enlarge, points_of, view_neighbour
from videocups.train.checkpoint import Checkpoint
from videocups.train.clip_windows import ClipWindows, jittered, mirrored_intrinsics
from videocups.train.loop import Batch, initialize, run_training
from videocups_core.config import to_mapping

KIND = "dynamo"
NEIGHBOURS = (0, 2)  # of the middle frame 1
Parts = dict[str, Tensor]


def train_depth(
    clips: Sequence[Path],
    out: Path,
    config: DynamoConfig,
    *,
    device: str = "cpu",
    on_step: Callable[[int], None] | None = None,
) -> Checkpoint:
    """Train on all triples of the clips into the folder ``out``; goes on where a run before stopped."""
    return run_training(DynamoTask(clips, config), config.loop, out, device=device, on_step=on_step)


class DynamoTask:
    """Depth and motion from triples of frames."""

    kind = KIND

    def __init__(self, clips: Sequence[Path], config: DynamoConfig) -> None:
        self.settings = config
        self.config = to_mapping(config)
        self.windows = ClipWindows(clips, 3, config.data, need_camera=True)
        self.epoch_steps = epoch_length(len(self.windows), config.loop.batch_size, config.schedule)
        self.steps = sum(phase_steps(config.schedule, self.epoch_steps))
        self.network = initialize(config.loop.seed, lambda: DynamoNetwork(config.network))
        self.model = self.network

    def batch(self, rng: np.random.Generator) -> Batch:
        """Return triples, the jittered triples that the networks see, and intrinsics."""
        drawn = [self._triple(rng) for _ in range(self.settings.loop.batch_size)]
        return {name: torch.stack([triple[name] for triple in drawn]) for name in drawn[0]}

    def prepare(self, step: int) -> float:
        """Freeze what this step's phase leaves alone, norms included; return the factor on the learning rate."""
        moment = self.moment(step)
        for name, part in self.network.named_children():
            trained = name in moment.phase.trained
            part.train(trained)
            part.requires_grad_(trained)
        return moment.rate

    def moment(self, step: int) -> Moment:
        """Return where in the training a step is."""
        return moment_of(step, self.settings.schedule, self.epoch_steps)

    def loss(self, batch: Batch, step: int) -> tuple[Tensor, Parts]:
        """Return the weighted sum of the losses of the step's phase, averaged over resolutions, and its parts."""
        moment = self.moment(step)
        clean, seen, k = batch["clean"], batch["seen"], batch["k"]
        disparities = self.network.depth(seen[:, 1])
        motions, poses = self.network.poses(seen)
        phase = moment.phase
        motion = self.network.motion(seen, poses, with_mask=phase.with_mask) if phase.with_flow else Motion([], [])
        rays = pixel_rays(k, clean.shape[-2], clean.shape[-1])
        totals: Parts = {}
        for scale, disparity in enumerate(disparities):
            parts = self._at_scale(scale, disparity, motion, motions, clean, rays, k, moment)
            for name, value in parts.items():
                totals[name] = totals.get(name, value.new_zeros(())) + value / len(disparities)
        weights = self._weights(moment)
        loss = torch.stack([weights[name] * value for name, value in totals.items()]).sum()
        return loss, totals

    def _at_scale(
        self,
        scale: int,
        disparity: Tensor,
        motion: Motion,
        motions: Tensor,
        clean: Tensor,
        rays: Tensor,
        k: Tensor,
        moment: Moment,
    ) -> Parts:
        """Return the losses at one resolution; what shapes fields counts less where they are coarser."""
        phase, settings = moment.phase, self.settings.loss
        height, width = clean.shape[-2:]
        full = enlarge(disparity, height, width)
        points = points_of(self.network.depth_of(full), rays)
        mask = torch.sigmoid(enlarge(motion.logits[scale], height, width)) if phase.with_mask else None
        views = []
        for side, frame in enumerate(NEIGHBOURS):
            complete = enlarge(motion.complete[scale][:, side], height, width) if phase.with_flow else None
            views.append(view_neighbour(clean[:, frame], points, k, motions[:, side], complete, mask))
        unwarped = [clean[:, frame] for frame in NEIGHBOURS] if phase.automask else None
        photo = photometric_loss([view.warped for view in views], clean[:, 1], unwarped, settings.ssim)
        image = functional.interpolate(clean[:, 1], size=disparity.shape[-2:], mode="area")
        shaping: Parts = {}
        if "depth" in phase.trained:
            shaping["d_smooth"] = smooth_disparity(disparity, image)
        if phase.ground:
            shaping["d_ground"] = ground_loss(1 / self.network.depth_of(full), rays, settings)
        if phase.with_flow:
            shaping |= self._motion_parts(scale, motion, views, full, mask, image)
        return {"photometric": photo, **{name: value / 2**scale for name, value in shaping.items()}}

    def _motion_parts(
        self,
        scale: int,
        motion: Motion,
        views: Sequence[NeighbourView],
        disparity: Tensor,
        mask: Tensor | None,
        image: Tensor,
    ) -> Parts:
        parts: Parts = {"c_smooth": smooth(motion.complete[scale].flatten(1, 2), image)}
        if mask is None:
            return parts
        logits = enlarge(motion.logits[scale], disparity.shape[-2], disparity.shape[-1])
        parts["m_smooth"] = smooth(torch.sigmoid(motion.logits[scale]), image)
        consistency, sparsity = [], []
        for view in views:
            assert view.residual is not None
            assert view.complete_px is not None
            least = self.settings.loss.consistency_disparity
            consistency.append(consistency_loss(view.residual, mask, disparity, least))
            sparsity.append(sparsity_loss(logits, view.ego_px, view.complete_px))
        parts["c_consistency"] = torch.stack(consistency).mean()
        parts["m_sparsity"] = torch.stack(sparsity).mean()
        return parts

    def _weights(self, moment: Moment) -> dict[str, float]:
        loss = self.settings.loss
        steady = {"photometric": 1.0, "d_smooth": loss.d_smooth, "d_ground": loss.d_ground}
        growing = {name: getattr(loss, name) for name in ("c_smooth", "c_consistency", "m_sparsity", "m_smooth")}
        return steady | {name: weight * moment.ramp for name, weight in growing.items()}

    def _triple(self, rng: np.random.Generator) -> Batch:
        index, mirror = self.windows.draw(rng)
        frames, k = self.windows.frames(index), self.windows.intrinsics(index)
        if mirror:
            frames, k = frames.flip(-1), mirrored_intrinsics(k, frames.shape[-1])
        return {"clean": frames, "seen": jittered(frames, self.settings.data, rng), "k": k}
