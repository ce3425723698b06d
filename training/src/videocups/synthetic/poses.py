"""Where everything is at a frame: the camera, every rigid part, the lamps that are lit."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from videocups.synthetic.cast import polygons_of
from videocups.synthetic.config import WorldConfig
from videocups.synthetic.layout import HALF_STREET_M, KERB_M
from videocups.synthetic.mesh import Array
from videocups.synthetic.people import RIDER_PARTS, WALKER_PARTS, rider_joints, walker_joints
from videocups.synthetic.population import Population
from videocups.synthetic.routes import STEP_M
from videocups.synthetic.scene import Scene
from videocups.synthetic.signals import AMBER, GREEN
from videocups.synthetic.town import LAMP_OFF, Signals
from videocups.synthetic.traffic import Kind, Motion

MOVING_MPS = 0.5
CAMERA_FORWARD_M = 0.5
_KEPT = 6
_LAMP_OF = {GREEN: 2, AMBER: 1}
"""Which lamp of a signal a state lights; the first is red."""


class Stage:
    """Poses at frame times; a frame's number times 1 / fps is its time, and −1 and num_frames exist too."""

    def __init__(
        self, config: WorldConfig, scene: Scene, population: Population, motion: Motion, signals: Signals
    ) -> None:
        self._config, self._scene, self._people, self._motion, self._signals = (
            config,
            scene,
            population,
            motion,
            signals,
        )
        kinds = np.array([agent.kind for agent in population.agents])
        kinds[0] = -1  # the ego has no body in the scene
        self._kinds = kinds
        self._slots, self._scales = np.array(population.slots), np.array(population.scales)
        routes = [agent.route for agent in population.agents]
        self._route_length = np.array([len(route.points) for route in routes])
        self._route_start = np.cumsum(self._route_length) - self._route_length
        self._route_x_y_heading = np.concatenate([np.column_stack([r.points, r.heading_rad]) for r in routes])
        self._poses: dict[int, Array] = {}

    def ego_speed_mps(self, index: int) -> float:
        """Return the ego's speed."""
        return float(self._motion.speed_at(index / self._config.fps)[0])

    def camera_to_world(self, index: int) -> Array:
        """Return the camera's pose (4, 4): camera x right, y down, z forward; world z up."""
        time_s = index / self._config.fps
        way = float(self._motion.way_at(time_s)[0])
        x, y, heading = self._on_routes(np.array([way]), slice(0, 1))[0]
        pitch, heave, roll = self._bob(time_s, way)
        forward = np.array([np.cos(heading), np.sin(heading), 0.0])
        left = np.array([-forward[1], forward[0], 0.0])
        up = np.array([0.0, 0.0, 1.0])
        # Pitch is nose up, roll is right side down; both small.
        ahead = np.cos(pitch) * forward + np.sin(pitch) * up
        above = np.cos(pitch) * up - np.sin(pitch) * forward
        right = np.cos(roll) * -left - np.sin(roll) * above
        pose = np.eye(4)
        pose[:3, 0], pose[:3, 1], pose[:3, 2] = right, np.cross(ahead, right), ahead
        pose[:3, 3] = [x, y, self._config.camera_height_m + heave] + CAMERA_FORWARD_M * forward
        return pose

    def _bob(self, time_s: float, way: float) -> tuple[float, float, float]:
        if not self._config.camera_bob:
            return 0.0, 0.0, 0.0
        step = 0.15
        speeds = [float(self._motion.speed_at(time_s + shift)[0]) for shift in (-step, 0.0, step)]
        acceleration = (speeds[2] - speeds[0]) / (2 * step)
        rough = np.clip(speeds[1] / 8.0, 0.0, 1.0)
        pitch = 0.0035 * acceleration + rough * (0.0018 * np.sin(way * 0.9) + 0.0012 * np.sin(way * 1.9 + 1.0))
        heave = rough * (0.012 * np.sin(way * 0.8 + 0.5) + 0.006 * np.sin(way * 2.1))
        return float(pitch), float(heave), float(rough * 0.0015 * np.sin(way * 0.7 + 2.0))

    def _on_routes(self, ways: Array, agents: slice = slice(None)) -> Array:
        """Return x, y and heading (A, 3) of agents that have gone ``ways`` (A,) along their routes."""
        position = np.clip(ways / STEP_M, 0.0, self._route_length[agents] - 1.001)
        low = position.astype(np.int64)
        share = (position - low)[:, None]
        row = self._route_start[agents] + low
        return np.asarray(self._route_x_y_heading[row] * (1 - share) + self._route_x_y_heading[row + 1] * share)

    def part_poses(self, index: int) -> Array:
        """Return part-to-world transforms (N, 3, 4)."""
        if index not in self._poses:
            if len(self._poses) >= _KEPT:
                self._poses.pop(next(iter(self._poses)))
            self._poses[index] = self._all_poses(index)
        return self._poses[index]

    def _all_poses(self, index: int) -> Array:
        time_s = index / self._config.fps
        ways, speeds = self._motion.way_at(time_s), self._motion.speed_at(time_s)
        bodies = self._bodies(ways)
        slots = np.zeros((max(self._people.slot_count, 1), 3, 4))
        cars = np.flatnonzero(self._kinds == Kind.VEHICLE)
        slots[self._slots[cars]] = bodies[cars]
        walkers = np.flatnonzero(self._kinds == Kind.WALKER)
        vigor = np.clip(speeds[walkers] / 1.0, 0.0, 1.0)
        self._hang(slots, walkers, bodies, walker_joints(ways[walkers], vigor, self._scales[walkers]), WALKER_PARTS)
        riders = np.flatnonzero(self._kinds == Kind.RIDER)
        self._hang(slots, riders, bodies, rider_joints(ways[riders]), RIDER_PARTS)
        poses = np.tile(np.eye(4)[:3], (len(self._scene.pose_slot), 1, 1))
        moving = self._scene.pose_slot >= 0
        poses[moving] = slots[self._scene.pose_slot[moving]]
        return poses

    def _bodies(self, ways: Array) -> Array:
        """Return the poses (A, 3, 4) of all agents on their routes."""
        x, y, heading = self._on_routes(ways).T
        bodies = np.tile(np.eye(4)[:3], (len(ways), 1, 1))
        bodies[:, 0, 0] = bodies[:, 1, 1] = np.cos(heading)
        bodies[:, 1, 0] = np.sin(heading)
        bodies[:, 0, 1] = -bodies[:, 1, 0]
        bodies[:, 0, 3], bodies[:, 1, 3] = x, y
        for walker in np.flatnonzero(self._kinds == Kind.WALKER).tolist():
            bodies[walker, 2, 3] = self._floor(walker, float(ways[walker]))
        return bodies

    def _floor(self, agent: int, way: float) -> float:
        """Return the height of what a walker stands on: the sidewalk, stepping down to the street at a kerb."""
        ahead = KERB_M
        for stop in self._people.agents[agent].route.stops:
            # The line to stop at is half a metre before the kerb.
            inside = way - stop.way_m - 0.5
            entered = min(max(inside / 0.5, 0.0), 1.0)
            left = min(max((2 * HALF_STREET_M - inside) / 0.5, 0.0), 1.0)
            ahead = min(ahead, KERB_M * (1.0 - entered * left))
        return ahead

    def _hang(self, slots: Array, who: NDArray[np.int64], bodies: Array, joints: Array, parts: int) -> None:
        """Fill the slots of figures: body pose times joint poses."""
        if not len(who):
            return
        turn, shift = bodies[who, None, :, :3], bodies[who, None, :, 3:]
        placed = np.matmul(turn, joints)
        placed[..., 3:] += shift
        slots[self._slots[who, None] + np.arange(parts)] = placed

    def moving_tracks(self, index: int) -> tuple[int, ...]:
        """Return the tracks that move by more than 0.5 m/s on average until the next frame."""
        step = 1.0 / self._config.fps
        way = self._motion.way_at((index + 1) * step) - self._motion.way_at(index * step)
        return tuple(
            sorted(
                track
                for track, moved in zip(self._people.track_ids, way, strict=True)
                if track and moved > MOVING_MPS * step
            )
        )

    def colors(self, index: int) -> NDArray[np.float32]:
        """Return the albedo (P, 3) of all polygons with the signals' lamps as they are lit."""
        time_s = index / self._config.fps
        shown = {  # the number of the lamp that is lit, by crossing and approach
            (crossing, approach): _LAMP_OF.get(timing.lamp(approach, time_s), 0)
            for crossing, timing in self._people.timings.items()
            for approach in range(4)
        }
        seen = zip(self._signals.crossings, self._signals.approaches, strict=True)
        lit = np.array([shown[lamp] for lamp in seen], dtype=np.int64) == self._signals.lamps
        dark = np.asarray(self._signals.parts, dtype=np.int64)[~lit]
        color = self._scene.color.copy()
        color[polygons_of(self._scene, dark)] *= LAMP_OFF
        return color
