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
from videocups.cues.dynamo.hints import Hints, mirrored_motion, write_hints
from videocups.cues.dynamo.losses import (
    consistency_loss,
    depth_hint_loss,
    error_hint_loss,
    mask_hint_loss,
    photometric_loss,
    pose_hint_loss,
    smooth,
    smooth_disparity,
    sparsity_loss,
)
from videocups.cues.dynamo.networks import DynamoNetwork, Motion
from videocups.cues.dynamo.phases import Moment, Phase, epoch_length, moment_of, phase_steps
from videocups.cues.dynamo.views import NeighbourView, enlarge, points_of, view_neighbour
from videocups.train.checkpoint import Checkpoint
from videocups.train.clip_windows import ClipWindows, jittered, mirrored_intrinsics
from videocups.train.loop import Batch, initialize, run_training
from videocups_core.config import to_mapping

KIND = "dynamo"
HINTS = "hints"
"""the folder of classical hints in that of a run"""
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
    return run_training(DynamoTask(clips, config, out / HINTS), config.loop, out, device=device, on_step=on_step)


class DynamoTask:
    """Depth and motion from triples of frames; ``hints``: the folder that has classical hints, or will have them."""

    kind = KIND

    def __init__(self, clips: Sequence[Path], config: DynamoConfig, hints: Path) -> None:
        self.settings = config
        self.config = to_mapping(config)
        self.windows = ClipWindows(clips, 3, config.data, need_camera=True)
        self.hints: Hints | None = None
        if config.hints.depth:
            size = (config.data.width, config.data.height)
            write_hints(clips, hints, config.hints, size, max(1, config.loop.workers))
            self.hints = Hints(clips, hints)
        self.epoch_steps = epoch_length(len(self.windows), config.loop.batch_size, config.schedule)
        self.steps = sum(phase_steps(config.schedule, self.epoch_steps))
        self.network = initialize(config.loop.seed, lambda: DynamoNetwork(config.network))
        self.model = self.network

    def batch(self, rng: np.random.Generator) -> Batch:
        """Return triples, the jittered triples that the networks see, intrinsics, and hints if there are any."""
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
        seen, phase = batch["seen"], moment.phase
        disparities, error = self.network.depth(seen[:, 1])
        if self.hints is not None and not self.settings.hints.pose and self._hints_alone(moment):
            motions, poses = batch["hint_motions"], seen.new_zeros(len(seen), 12)  # nobody asks for pose
        else:
            motions, poses = self.network.poses(seen)
        motion = self.network.motion(seen, poses, with_mask=phase.with_mask) if phase.with_flow else Motion([], [])
        totals: Parts = {}
        if self.hints is not None and self.settings.hints.pose and "pose" in phase.trained:
            totals["hint_pose"] = pose_hint_loss(motions, batch["hint_motions"])
        if self.hints is not None and "depth" in phase.trained:
            inverse = 1 / self.network.depth_of(disparities[0])
            hint = batch["hint_depth"], batch["hint_weight"]
            totals["hint_error"] = error_hint_loss(error, inverse, *hint, self.settings.hints.largest)
        if self.hints is not None and phase.with_mask:
            totals["hint_mask"] = mask_hint_loss(motion.logits[0], batch["hint_moves"], batch["hint_still"])
        if self.hints is not None and not phase.with_flow:  # the classical motion is the better one to learn depth by
            known = batch["hint_motions"]
            motions = torch.where(known.isnan(), motions, known)
        batch = {**batch, "rays": pixel_rays(batch["k"], *seen.shape[-2:])}
        for scale, disparity in enumerate(disparities):
            for name, value in self._at_scale(scale, disparity, motion, motions, batch, moment).items():
                totals[name] = totals.get(name, value.new_zeros(())) + value / len(disparities)
        weights = self._weights(moment)
        loss = torch.stack([weights[name] * value for name, value in totals.items()]).sum()
        return loss, totals

    def _at_scale(
        self, scale: int, disparity: Tensor, motion: Motion, motions: Tensor, batch: Batch, moment: Moment
    ) -> Parts:
        """Return the losses at one resolution; what shapes fields counts less where they are coarser."""
        phase, settings, clean = moment.phase, self.settings.loss, batch["clean"]
        full = enlarge(disparity, *clean.shape[-2:])
        inverse = 1 / self.network.depth_of(full)
        image = functional.interpolate(clean[:, 1], size=disparity.shape[-2:], mode="area")
        parts, shaping = {}, {}
        if "depth" in phase.trained:
            shaping["d_smooth"] = smooth_disparity(disparity, image)
            if self.hints is not None:
                hint = batch["hint_depth"], batch["hint_weight"]
                parts["hint_depth"] = depth_hint_loss(inverse, *hint, self.settings.hints.largest)
        if not self._hints_alone(moment):
            mask = torch.sigmoid(enlarge(motion.logits[scale], *clean.shape[-2:])) if phase.with_mask else None
            views = self._views(scale, 1 / inverse, motion, motions, mask, batch)
            parts["photometric"] = self._photometric(views, batch, phase)
            if phase.with_flow:
                shaping |= self._motion_parts(scale, motion, views, full, mask, image)
        if phase.ground:
            shaping["d_ground"] = ground_loss(inverse, batch["rays"], settings)
        return parts | {name: value / 2**scale for name, value in shaping.items()}

    def _hints_alone(self, moment: Moment) -> bool:
        if self.hints is None or moment.phase.with_flow:
            return False
        return moment.epochs_in_phase < self.settings.hints.alone * self.settings.schedule.epochs[0]

    def _views(
        self, scale: int, depth: Tensor, motion: Motion, motions: Tensor, mask: Tensor | None, batch: Batch
    ) -> list[NeighbourView]:
        clean, points = batch["clean"], points_of(depth, batch["rays"])
        views = []
        for side, frame in enumerate(NEIGHBOURS):
            complete = enlarge(motion.complete[scale][:, side], *clean.shape[-2:]) if motion.complete else None
            views.append(view_neighbour(clean[:, frame], points, batch["k"], motions[:, side], complete, mask))
        return views

    def _photometric(self, views: Sequence[NeighbourView], batch: Batch, phase: Phase) -> Tensor:
        clean = batch["clean"]
        unwarped = [clean[:, frame] for frame in NEIGHBOURS] if phase.automask else None
        # as long as nothing but the camera moves, what moves by itself would teach a wrong depth
        counts = None if phase.with_flow else batch.get("hint_still")
        return photometric_loss([view.warped for view in views], clean[:, 1], unwarped, self.settings.loss.ssim, counts)

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
        hints = self.settings.hints
        steady = {"photometric": 1.0, "d_smooth": loss.d_smooth, "d_ground": loss.d_ground}
        steady |= {"hint_depth": hints.depth, "hint_pose": hints.pose, "hint_error": hints.error}
        steady["hint_mask"] = hints.mask
        growing = {name: getattr(loss, name) for name in ("c_smooth", "c_consistency", "m_sparsity", "m_smooth")}
        return steady | {name: weight * moment.ramp for name, weight in growing.items()}

    def _triple(self, rng: np.random.Generator) -> Batch:
        index, mirror = self.windows.draw(rng)
        frames, k = self.windows.frames(index), self.windows.intrinsics(index)
        if mirror:
            frames, k = frames.flip(-1), mirrored_intrinsics(k, frames.shape[-1])
        triple = {"clean": frames, "seen": jittered(frames, self.settings.data, rng), "k": k}
        return triple if self.hints is None else triple | self._hints_of(self.hints, index, mirror)

    def _hints_of(self, hints: Hints, index: int, mirror: bool) -> Batch:
        clip, numbers = self.windows.frame_numbers(index)
        frame = hints.frame(clip, numbers[1])
        fields = (frame.inverse_depth, frame.weight, frame.moves, frame.still)
        maps = torch.from_numpy(np.stack(fields, dtype=np.float32)[:, None])
        motions = [hints.motion(clip, numbers[1], numbers[side]) for side in NEIGHBOURS]
        if mirror:
            maps, motions = maps.flip(-1), [mirrored_motion(motion) for motion in motions]
        named = dict(zip(("hint_depth", "hint_weight", "hint_moves", "hint_still"), maps, strict=True))
        return named | {"hint_motions": torch.from_numpy(np.stack(motions)).float()}
