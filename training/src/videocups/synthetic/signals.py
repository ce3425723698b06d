"""When a crossing's approaches are free: two phases, or four where left turns are protected."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

RED, AMBER, GREEN = 0, 1, 2
GREEN_S = 11.0
SHORT_GREEN_S = 7.0
AMBER_S = 1.5
CLEAR_S = 3.0
"""From the end of green to the next green; amber is its first part."""


@dataclass(frozen=True)
class Timing:
    """One crossing's cycle; ``shift_s`` moves it in time."""

    shift_s: float
    protected: bool = False

    @property
    def phases(self) -> tuple[tuple[int, ...], ...]:
        """Approaches that are green together, in turn."""
        return ((0,), (1,), (2,), (3,)) if self.protected else ((0, 2), (1, 3))

    @property
    def green_s(self) -> float:
        """Length of one green."""
        return SHORT_GREEN_S if self.protected else GREEN_S

    @property
    def cycle_s(self) -> float:
        """Length of all phases together."""
        return (self.green_s + CLEAR_S) * len(self.phases)

    def state(self, time_s: float) -> tuple[int, float, tuple[int, ...]]:
        """Return the state of the phase that is on, the time since its green began, and its approaches."""
        within = (time_s - self.shift_s) % self.cycle_s
        phase, since = divmod(within, self.green_s + CLEAR_S)
        lamp = GREEN if since < self.green_s else (AMBER if since < self.green_s + AMBER_S else RED)
        return lamp, since, self.phases[int(phase)]

    def lamp(self, approach: int, time_s: float) -> int:
        """Return what an approach sees."""
        lamp, _, approaches = self.state(time_s)
        return lamp if approach in approaches else RED

    def may_walk(self, approach: int, time_s: float) -> bool:
        """Return whether one who walks along ``approach`` may step onto the crosswalk: early in a green only."""
        lamp, since, approaches = self.state(time_s)
        along = approach in approaches or (approach + 2) % 4 in approaches
        return lamp == GREEN and since < 2.5 and along and not self.protected


def green_at(approach: int, time_s: float, protected: bool = False) -> Timing:
    """Return a timing whose green for ``approach`` begins at ``time_s``."""
    plain = Timing(0.0, protected)
    phase = next(index for index, group in enumerate(plain.phases) if approach in group)
    return Timing(time_s - phase * (plain.green_s + CLEAR_S), protected)


def random_timing(rng: np.random.Generator) -> Timing:
    """Draw where in its cycle a crossing is."""
    return Timing(float(rng.uniform(0.0, 2 * (GREEN_S + CLEAR_S))))
