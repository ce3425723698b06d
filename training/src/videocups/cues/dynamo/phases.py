"""The four phases of training: who learns, and how fast."""

from __future__ import annotations

from dataclasses import dataclass

from videocups.cues.dynamo.config import DepthScheduleConfig


@dataclass(frozen=True)
class Phase:
    """What is trained in a phase and what takes part."""

    name: str
    trained: tuple[str, ...]
    with_flow: bool
    with_mask: bool
    automask: bool
    ground: bool


PHASES = (
    Phase("depth", ("depth", "pose"), with_flow=False, with_mask=False, automask=True, ground=False),
    Phase("flow", ("motion_encoder", "complete_flow"), with_flow=True, with_mask=False, automask=False, ground=False),
    Phase(
        "mask",
        ("pose", "motion_encoder", "complete_flow", "motion_mask"),
        with_flow=True,
        with_mask=True,
        automask=False,
        ground=False,
    ),
    Phase(
        "all",
        ("depth", "pose", "motion_encoder", "complete_flow", "motion_mask"),
        with_flow=True,
        with_mask=True,
        automask=False,
        ground=True,
    ),
)


@dataclass(frozen=True)
class Moment:
    """A step of the training: its phase, the epochs since that began, the weight of the c_* and m_* losses."""

    phase: Phase
    epochs_in_phase: float
    ramp: float
    rate: float


def phase_steps(schedule: DepthScheduleConfig, epoch_steps: int) -> list[int]:
    """Return the steps of each phase."""
    return [round(epochs * epoch_steps) for epochs in schedule.epochs]


def moment_of(step: int, schedule: DepthScheduleConfig, epoch_steps: int) -> Moment:
    """Return where in the training a step is."""
    lengths = phase_steps(schedule, epoch_steps)
    begin, at = 0, 0
    while at < len(PHASES) - 1 and step >= begin + lengths[at]:
        begin += lengths[at]
        at += 1
    epochs = (step - begin) / epoch_steps
    ramp = 1.0 if schedule.ramp == 0 else min(epochs / schedule.ramp, 1.0)
    rate = 0.5 ** int(epochs / schedule.halve_every) * (schedule.last_phase_rate if at == len(PHASES) - 1 else 1.0)
    return Moment(PHASES[at], epochs, ramp, rate)


def epoch_length(windows: int, batch_size: int, schedule: DepthScheduleConfig) -> int:
    """Return the steps of an epoch: as set, or a pass over the data within the limits."""
    if schedule.epoch_steps:
        return schedule.epoch_steps
    return min(max(windows // batch_size, schedule.fewest_epoch_steps), schedule.most_epoch_steps)
