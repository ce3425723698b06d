"""Who is in the streets: the ego's plan, traffic, people and parked cars."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from videocups.synthetic import layout
from videocups.synthetic.classes import WorldClass
from videocups.synthetic.config import WorldConfig
from videocups.synthetic.layout import KERB_M, Town
from videocups.synthetic.mesh import Array, Mesh
from videocups.synthetic.people import draw_rider, draw_walker
from videocups.synthetic.routes import HEADINGS, Route, drive, lane_point, walk
from videocups.synthetic.scene import SceneBuilder
from videocups.synthetic.signals import Timing, green_at, random_timing
from videocups.synthetic.traffic import Agent, Kind
from videocups.synthetic.vehicles import Vehicle, draw_vehicle

EGO_LENGTH_M, EGO_RADIUS_M = 4.4, 1.0
VEHICLES, RIDERS, WALKERS = 24, 7, 34
"""How many of each a density of 1 puts into the streets around the ego."""
SLOT_M = 6.3
PARKED_KINDS = 40


@dataclass(frozen=True)
class Population:
    """Agents with their track ids and first pose slots; agent 0 is the ego, which has neither (0 and −1)."""

    agents: list[Agent]
    track_ids: list[int]
    slots: list[int]
    scales: list[float]
    slot_count: int
    timings: dict[tuple[int, int], Timing]


@dataclass(frozen=True)
class _EgoPlan:
    agent: Agent
    crossing: tuple[int, int]
    approach: int


class Settler:
    """Fills a town with people and vehicles."""

    def __init__(self, builder: SceneBuilder, town: Town, config: WorldConfig, rng: np.random.Generator) -> None:
        self.builder, self.town, self.config, self.rng = builder, town, config, rng
        self.seconds = (config.num_frames + 2) / config.fps
        self.timings = {(i, j): random_timing(rng) for i in range(town.blocks + 1) for j in range(town.blocks + 1)}
        self.next_track, self.next_slot = 1, 0
        self.agents: list[Agent] = []
        self.tracks: list[int] = []
        self.slots: list[int] = []
        self.scales: list[float] = []
        self.taken: list[Array] = []

    def settle(self) -> Population:
        """Place the ego, then everyone else around it."""
        scenario = self.config.scenario
        if scenario == "auto":
            scenario = str(self.rng.choice(["drive", "turn", "stop", "stand"], p=[0.4, 0.27, 0.25, 0.08]))
        plan = self._ego(scenario)
        self._enter(plan.agent, 0, -1, 1.0)
        self._park()
        if scenario != "parked":
            self._traffic(plan)
            self._riders(plan)
            self._walkers(plan)
        return Population(self.agents, self.tracks, self.slots, self.scales, self.next_slot, self.timings)

    def _enter(self, agent: Agent, track: int, slot: int, scale: float) -> None:
        self.agents.append(agent)
        self.tracks.append(track)
        self.slots.append(slot)
        self.scales.append(scale)
        self.taken.append(agent.route.points[int(agent.start_m / 0.5)])

    def _free(self, spot: Array, room_m: float) -> bool:
        return all(np.hypot(*(spot - other)) > room_m for other in self.taken)

    def _ego(self, scenario: str) -> _EgoPlan:
        rng, town = self.rng, self.town
        approach = int(rng.integers(4))
        inner = range(1, town.blocks)
        crossing = (int(rng.choice(inner)), int(rng.choice(inner)))
        before = layout.STOP_LINE_M[1] + EGO_LENGTH_M / 2
        room = {"stand": (2.4, 2.4), "stop": (22.0, 34.0), "turn": (6.0, 22.0)}.get(scenario, (16.0, 46.0))
        before += float(rng.uniform(*room))
        before = min(before, town.spacing_m - 18.0)
        turn = int(rng.choice([1, 3])) if scenario == "turn" else 0
        wish = 0.0 if scenario == "stand" else float(rng.uniform(8.5, 12.0))
        length = max(wish, 5.0) * self.seconds + 60.0
        turns = [turn] if scenario != "parked" else []
        route = drive(town, crossing, approach, before, length, layout.DRIVE_LANE_M, turns, rng)
        self._set_signals(scenario, route, wish, turn)
        return _EgoPlan(Agent(Kind.VEHICLE, route, wish, EGO_LENGTH_M, EGO_RADIUS_M), crossing, approach)

    def _set_signals(self, scenario: str, route: Route, wish: float, turn: int) -> None:
        """Give the ego green when it comes, or red first where it shall stop."""
        for number, stop in enumerate(route.stops):
            arrival = stop.way_m / max(wish, 1.0)
            if number == 0 and scenario in ("stop", "stand"):
                other = (stop.approach + 1) % 4
                self.timings[stop.crossing] = green_at(other, float(self.rng.uniform(-6.0, -4.0)))
            elif number == 0:
                self.timings[stop.crossing] = green_at(stop.approach, arrival - 4.0, protected=turn == 1)
            else:
                self.timings[stop.crossing] = green_at(stop.approach, arrival - 2.0)

    def _add_vehicle(self, vehicle: Vehicle, slot: int) -> int:
        track = self.next_track
        self.next_track += 1
        self.builder.add(vehicle.mesh, vehicle.class_id, track_id=track, pose_slot=slot, shadow_height_m=0.0)
        return track

    def _park(self) -> None:
        """Line the kerbs with parked cars."""
        rng, town = self.rng, self.town
        showroom = [draw_vehicle(rng, heavy=False) for _ in range(PARKED_KINDS)]
        for crossing, heading in _streets(town):
            for way in np.arange(19.0 + rng.uniform(0, 2), town.spacing_m - 17.0, SLOT_M):
                if rng.random() >= 0.5 * self.config.parked_density:
                    continue
                lane = layout.PARKING_LANE_M + float(rng.uniform(-0.1, 0.1))
                x, y = lane_point(town, crossing, heading, float(way), lane)
                step = HEADINGS[heading]
                yaw = float(np.arctan2(step[1], step[0]) + rng.normal(0, 0.012))
                vehicle = showroom[int(rng.integers(PARKED_KINDS))]
                self._add_vehicle(replace(vehicle, mesh=vehicle.mesh.moved((float(x), float(y), 0.0), yaw)), -1)

    def _lane_start(self, plan: _EgoPlan) -> tuple[tuple[int, int], int, float]:
        """Draw a place on a lane near the ego: its street, the street it will cross, or any around."""
        rng, town = self.rng, self.town
        where = rng.random()
        i, j = plan.crossing
        if where < 0.42:
            approach = (plan.approach + 2 * int(rng.integers(2))) % 4
            step, shift = HEADINGS[plan.approach], int(rng.integers(-1, 3))
        elif where < 0.78:
            approach = (plan.approach + 1 + 2 * int(rng.integers(2))) % 4
            step, shift = HEADINGS[(plan.approach + 1) % 4], int(rng.integers(-1, 2))
        else:
            approach, step, shift = int(rng.integers(4)), (1, 1), int(rng.integers(-1, 2))
            j += int(rng.integers(-1, 2))
        crossing = (i + shift * step[0], j + shift * step[1])
        behind = tuple(crossing[axis] - HEADINGS[approach][axis] for axis in (0, 1))
        if not all(0 <= index <= town.blocks for index in (*crossing, *behind)):
            return self._lane_start(plan)
        return crossing, approach, float(rng.uniform(15.0, town.spacing_m - 13.0))

    def _drivers(
        self, plan: _EgoPlan, kind: Kind, count: int, lane_m: float, room_m: float
    ) -> list[tuple[Route, float]]:
        chosen: list[tuple[Route, float]] = []
        for _ in range(count * 4):
            if len(chosen) == count:
                break
            crossing, approach, before = self._lane_start(plan)
            spot = lane_point(self.town, crossing, approach, before, lane_m)
            if not self._free(spot, room_m) or any(np.hypot(*(spot - r.points[0])) < room_m for r, _ in chosen):
                continue
            wish = float(self.rng.uniform(8.5, 13.0) if kind == Kind.VEHICLE else self.rng.uniform(3.6, 5.5))
            length = wish * self.seconds + 45.0
            chosen.append((drive(self.town, crossing, approach, before, length, lane_m, [], self.rng), wish))
        return chosen

    def _traffic(self, plan: _EgoPlan) -> None:
        count = round(VEHICLES * self.config.vehicle_density)
        for route, wish in self._drivers(plan, Kind.VEHICLE, count, layout.DRIVE_LANE_M, 13.0):
            vehicle = draw_vehicle(self.rng, heavy=True)
            slot = self.next_slot
            self.next_slot += 1
            track = self._add_vehicle(vehicle, slot)
            radius = vehicle.width_m / 2 + 0.12
            self._enter(Agent(Kind.VEHICLE, route, wish, vehicle.length_m, radius), track, slot, 1.0)

    def _riders(self, plan: _EgoPlan) -> None:
        count = round(RIDERS * self.config.bicycle_density)
        for route, wish in self._drivers(plan, Kind.RIDER, count, layout.BIKE_LANE_M, 4.0):
            figure = draw_rider(self.rng)
            self._add_figure(figure.meshes, WorldClass.BICYCLE, figure.scale, Agent(Kind.RIDER, route, wish, 1.8, 0.4))

    def _add_figure(self, meshes: tuple[Mesh, ...], class_id: WorldClass, scale: float, agent: Agent) -> None:
        track, slot = self.next_track, self.next_slot
        self.next_track += 1
        self.next_slot += len(meshes)
        ground = KERB_M if agent.kind == Kind.WALKER else 0.0
        for number, mesh in enumerate(meshes):
            self.builder.add(
                mesh,
                class_id,
                track_id=track,
                pose_slot=slot + number,
                shadow_height_m=ground,
            )
        self._enter(agent, track, slot, scale)

    def _walkers(self, plan: _EgoPlan) -> None:
        rng, town = self.rng, self.town
        middle = np.array(plan.crossing) * town.spacing_m
        count = round(WALKERS * self.config.pedestrian_density)
        for _ in range(count):
            heading = int(rng.integers(4))
            ahead = np.array(HEADINGS[heading], dtype=np.float64)
            side = np.array([ahead[1], -ahead[0]]) * (1 if rng.random() < 0.5 else -1)
            depth = float(rng.choice([1.55, 2.0, 2.45, 2.9])) + float(rng.uniform(-0.1, 0.1))
            street = (
                middle if rng.random() < 0.75 else middle + np.abs(side) * town.spacing_m * int(rng.choice([-1, 1]))
            )
            away = float(np.clip(rng.normal(0.0, 28.0), -70, 70))
            start = street + side * (layout.HALF_STREET_M + depth) + ahead * away
            on_block = town.kerb_distance(np.array([start[0]]), np.array([start[1]]))[0] < -0.8
            if not on_block or not self._free(start, 0.9):
                continue
            wish = 0.0 if rng.random() < 0.12 else float(rng.uniform(1.05, 1.6))
            route = walk(town, start, heading, wish * self.seconds + 12.0)
            figure = draw_walker(rng)
            self._add_figure(
                figure.meshes, WorldClass.PEDESTRIAN, figure.scale, Agent(Kind.WALKER, route, wish, 0.5, 0.35)
            )


def _streets(town: Town) -> Iterator[tuple[tuple[int, int], int]]:
    """Yield every stretch between two crossings, once a direction: the crossing ahead and the heading."""
    for heading, step in enumerate(HEADINGS):
        for i in range(town.blocks + 1):
            for j in range(town.blocks + 1):
                if 0 <= i - step[0] <= town.blocks and 0 <= j - step[1] <= town.blocks:
                    yield (i, j), heading
