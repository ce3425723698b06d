"""Everyone who moves: routes, signals and keeping one's distance give every way over time."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from videocups.synthetic.mesh import Array
from videocups.synthetic.routes import STEP_M, Route
from videocups.synthetic.signals import GREEN, Timing

TICK_S = 0.05
LOOK_AHEAD_M, LOOK_STEP_M = 24.0, 1.5
ACCELERATION, COMFORT_BRAKE, HARD_BRAKE = 1.6, 2.0, 7.0
HEADWAY_S, MIN_GAP_M = 1.1, 1.8
WALK_ACCELERATION = 1.5


class Kind(IntEnum):
    """Who an agent is."""

    VEHICLE = 0
    RIDER = 1
    WALKER = 2


@dataclass(frozen=True)
class Agent:
    """One road user: where it goes, how fast it likes to go and its outline in m."""

    kind: Kind
    route: Route
    wish_mps: float
    length_m: float
    radius_m: float
    start_m: float = 0.0


@dataclass(frozen=True)
class Motion:
    """Ways over time: ``time_s`` (T,), ``way_m`` (T, A), ``speed_mps`` (T, A)."""

    time_s: Array
    way_m: Array
    speed_mps: Array

    def way_at(self, time_s: float) -> Array:
        """Return every agent's way (A,)."""
        return self._at(self.way_m, time_s)

    def speed_at(self, time_s: float) -> Array:
        """Return every agent's speed (A,)."""
        return self._at(self.speed_mps, time_s)

    def _at(self, table: Array, time_s: float) -> Array:
        position = np.clip((time_s - self.time_s[0]) / TICK_S, 0, len(self.time_s) - 1.000001)
        low = int(position)
        share = position - low
        return np.asarray(table[low] * (1 - share) + table[low + 1] * share)


class _Crowd:
    """The agents' routes and sizes as arrays."""

    def __init__(self, agents: list[Agent], timings: dict[tuple[int, int], Timing]) -> None:
        self.agents, self.timings = agents, timings
        longest = max(len(agent.route.points) for agent in agents)
        self.points = np.stack([_padded(agent.route.points, longest) for agent in agents])
        self.heading = np.stack([_padded(agent.route.heading_rad, longest) for agent in agents])
        self.limit = np.stack([_padded(agent.route.limit_mps, longest) for agent in agents])
        self.wish = np.array([agent.wish_mps for agent in agents])
        self.half = np.array([agent.length_m / 2 for agent in agents])
        self.radius = np.array([agent.radius_m for agent in agents])
        self.walker = np.array([agent.kind == Kind.WALKER for agent in agents])
        self.reach = np.where(self.walker, 0.0, np.maximum(self.half - self.radius, 0.0))

    def index(self, way: Array) -> NDArray[np.int64]:
        return np.clip(np.rint(way / STEP_M), 0, self.points.shape[1] - 1).astype(np.int64)

    def free_gap(self, way: Array, speed: Array) -> tuple[Array, Array]:
        """Return the free way ahead of each agent and the speed of what ends it."""
        who = np.arange(len(way))
        at = self.index(way)
        position, heading = self.points[who, at], self.heading[who, at]
        direction = np.stack([np.cos(heading), np.sin(heading)], axis=1)
        circles = (
            position[:, None] + self.reach[:, None, None] * np.array([-1.0, 0.0, 1.0])[:, None] * direction[:, None]
        )
        circles = circles.reshape(-1, 2)
        owner = np.repeat(who, 3)
        # Walkers get room around them; an agent does not bump into itself.
        size = np.where(self.walker, 0.75, self.radius)[owner]
        drivers = np.flatnonzero(~self.walker)
        steps = np.arange(0.0, LOOK_AHEAD_M, LOOK_STEP_M)
        ahead = self.index(way[drivers, None] + self.half[drivers, None] + steps)
        corridor = self.points[drivers[:, None], ahead]
        apart = np.linalg.norm(corridor[:, :, None] - circles[None, None], axis=3)
        hit = apart < (self.radius[drivers][:, None, None] + size + 0.1)
        hit &= owner[None, None] != drivers[:, None, None]
        gap, lead = np.full(len(way), np.inf), np.zeros(len(way))
        first = hit.any(axis=2).argmax(axis=1)
        blocked = np.flatnonzero(hit.any(axis=(1, 2)))
        other = owner[hit[blocked, first[blocked]].argmax(axis=1)]
        row = drivers[blocked]
        gap[row] = np.maximum(steps[first[blocked]] - 0.5, 0.0)
        along = (direction[row] * direction[other]).sum(axis=1)
        lead[row] = np.where(self.walker[other], 0.0, np.maximum(along, 0.0) * speed[other])
        return gap, lead

    def stop_gap(self, way: Array, speed: Array, time_s: float) -> Array:
        """Return the way to the next line each agent has to stop at."""
        gap = np.full(len(way), np.inf)
        for number, agent in enumerate(self.agents):
            front = way[number] + (0.0 if agent.kind == Kind.WALKER else self.half[number])
            for stop in agent.route.stops:
                left = stop.way_m - front
                if left < -0.3:
                    continue
                if self._closed(agent, stop.crossing, stop.approach, left, speed[number], time_s):
                    gap[number] = max(left, 0.0)
                break
        return gap

    def _closed(
        self, agent: Agent, crossing: tuple[int, int], approach: int, left: float, speed: float, time_s: float
    ) -> bool:
        timing = self.timings[crossing]
        if agent.kind == Kind.WALKER:
            return not timing.may_walk(approach, time_s)
        if timing.lamp(approach, time_s) == GREEN:
            return False
        return left > speed * speed / (2 * 4.5)  # too late to brake: drive through


def simulate(agents: list[Agent], timings: dict[tuple[int, int], Timing], start_s: float, end_s: float) -> Motion:
    """Move everyone from ``start_s`` to ``end_s`` with the intelligent driver model."""
    crowd = _Crowd(agents, timings)
    ticks = int(np.ceil((end_s - start_s) / TICK_S)) + 2
    way = np.array([agent.start_m for agent in agents], dtype=np.float64)
    red = crowd.stop_gap(way, np.zeros(len(way)), start_s)
    gap, _ = crowd.free_gap(way, np.zeros(len(way)))
    room = np.maximum(np.minimum(red, gap) - MIN_GAP_M, 0.0)
    speed = np.minimum(
        crowd.wish, np.where(np.isinf(room), crowd.wish, np.sqrt(2 * COMFORT_BRAKE * np.minimum(room, 1e3)))
    )
    speed = np.minimum(speed, crowd.limit[np.arange(len(way)), crowd.index(way)])
    ways, speeds = [way], [speed]
    for tick in range(ticks):
        acceleration = _accelerations(crowd, way, speed, start_s + tick * TICK_S)
        new_speed = np.maximum(speed + acceleration * TICK_S, 0.0)
        way = way + 0.5 * (speed + new_speed) * TICK_S
        speed = new_speed
        ways.append(way)
        speeds.append(speed)
    times = np.asarray(start_s + TICK_S * np.arange(len(ways)), dtype=np.float64)
    return Motion(times, np.array(ways), np.array(speeds))


def _accelerations(crowd: _Crowd, way: Array, speed: Array, time_s: float) -> Array:
    gap, lead = crowd.free_gap(way, speed)
    stop = crowd.stop_gap(way, speed, time_s)
    lead = np.where(stop < gap, 0.0, lead)
    gap = np.maximum(np.minimum(gap, stop), 0.05)
    wish = np.minimum(crowd.wish, crowd.limit[np.arange(len(way)), crowd.index(way)])
    wish = np.maximum(wish, 1e-3)
    keep = MIN_GAP_M + np.maximum(
        speed * HEADWAY_S + speed * (speed - lead) / (2 * np.sqrt(ACCELERATION * COMFORT_BRAKE)), 0.0
    )
    free = 1.0 - np.minimum((speed / wish) ** 4, 6.0)
    drive = np.clip(ACCELERATION * (free - (keep / gap) ** 2), -HARD_BRAKE, ACCELERATION)
    # Those who hardly roll and have no room stand.
    drive = np.where((gap < MIN_GAP_M) & (speed < 0.3), -HARD_BRAKE, drive)
    walk_wish = np.where(stop < 0.5, 0.0, crowd.wish)
    walk = np.clip((walk_wish - speed) / 0.3, -3.0, WALK_ACCELERATION)
    result = np.where(crowd.walker, walk, drive)
    return np.where(crowd.wish == 0.0, -HARD_BRAKE, result)


def _padded(values: Array, count: int) -> Array:
    """Repeat the last row until there are ``count``."""
    extra = np.repeat(values[-1:], count - len(values), axis=0)
    return np.concatenate([values, extra])
