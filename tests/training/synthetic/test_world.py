from __future__ import annotations

import hashlib
from dataclasses import fields, replace

import numpy as np
import pytest

from videocups.synthetic import CLASSES, World, WorldClass, WorldConfig, WorldFrame

SMALL = WorldConfig(num_frames=4, height=96, width=192)
QUIET = replace(SMALL, num_frames=80, vehicle_density=0.0, pedestrian_density=0.0)


def digest(frame: WorldFrame) -> str:
    sha = hashlib.sha256()
    for field in fields(frame):
        value = getattr(frame, field.name)
        sha.update(value.tobytes() if isinstance(value, np.ndarray) else repr(value).encode())
    return sha.hexdigest()


def test_the_same_seed_gives_the_same_bits_in_any_order() -> None:
    config = replace(SMALL, seed=11, stereo_baseline_m=0.3)
    first, second = World(config), World(config)
    forward = [digest(first.frame(index)) for index in range(4)]
    backward = [digest(second.frame(index)) for index in reversed(range(4))]
    assert forward == backward[::-1]
    assert digest(World(replace(config, seed=12)).frame(0)) != forward[0]


def test_every_class_appears_over_a_few_seeds() -> None:
    seen: set[int] = set()
    for seed, setting in ((1, "city"), (2, "suburb"), (6, "city"), (8, "suburb"), (10, "city")):
        world = World(WorldConfig(seed=seed, setting=setting, num_frames=40, height=128, width=256))
        for index in (0, 20, 39):
            seen |= set(np.unique(world.frame(index).class_map).tolist())
    assert seen == {info.class_id for info in CLASSES}


def test_tracks_are_things_and_keep_their_class(city: World) -> None:
    things = [info.class_id for info in CLASSES if info.is_thing]
    class_of: dict[int, int] = {}
    for index in range(0, 40, 8):
        frame = city.frame(index)
        np.testing.assert_array_equal(frame.track_map > 0, np.isin(frame.class_map, things))
        for track in np.unique(frame.track_map[frame.track_map > 0]).tolist():
            classes = np.unique(frame.class_map[frame.track_map == track]).tolist()
            assert len(classes) == 1
            assert class_of.setdefault(track, classes[0]) == classes[0]
    assert len(class_of) > 15


def test_parked_cars_stand_and_are_not_moving(city: World) -> None:
    """Most tracks never move; their flow is that of the street they stand in."""
    frame, after = city.frame(20), city.frame(21)
    parked = set(np.unique(frame.track_map).tolist()) - {0}
    for index in range(40):
        parked -= set(city.frame(index).moving_tracks) if index % 10 == 0 else set()
    assert len(parked) >= 3
    k = city.camera.matrix()
    y, x = np.nonzero(np.isin(frame.track_map, [*parked]) & (frame.class_map == WorldClass.CAR))
    z = frame.depth_m[y, x].astype(np.float64)
    points = np.stack([(x - k[0, 2]) / k[0, 0] * z, (y - k[1, 2]) / k[1, 1] * z, z, np.ones(len(z))])
    moved = np.linalg.inv(after.camera_to_world) @ frame.camera_to_world @ points
    expected = (k @ moved[:3])[:2] / moved[2] - [x, y]
    still = moved[2] > 0.5
    assert np.median(np.abs(expected.T - frame.flow_fw_px[y, x])[still]) < 1e-3
    assert still.sum() > 500


def test_the_ego_does_what_its_scenario_says() -> None:
    def ride(scenario: str, seed: int) -> tuple[list[float], float]:
        world = World(replace(QUIET, scenario=scenario, seed=seed))
        speeds = [world.ego_speed_mps(index) for index in range(80)]
        ahead = [world.camera_to_world(index)[:2, 2] for index in (0, 79)]
        turned = np.degrees(np.arccos(np.clip(np.dot(*ahead) / np.prod(np.linalg.norm(ahead, axis=1)), -1, 1)))
        return speeds, float(turned)

    speeds, turned = ride("stand", 1)
    assert max(speeds) == 0.0
    speeds, turned = ride("turn", 4)
    assert turned == pytest.approx(90.0, abs=3.0)
    speeds, turned = ride("drive", 4)
    assert min(speeds) > 2.0
    assert turned < 3.0
    speeds, turned = ride("stop", 4)
    assert speeds[0] > 4.0
    assert min(speeds) < 0.3
    parked = World(replace(SMALL, scenario="parked", seed=4))
    assert all(parked.frame(index).moving_tracks == () for index in range(4))
    assert parked.ego_speed_mps(2) > 2.0


def test_motion_is_smooth(city: World) -> None:
    """No jerk a vehicle could not make: acceleration of the camera stays below 0.8 g."""
    spots = np.array([city.camera_to_world(index)[:3, 3] for index in range(-1, 41)])
    acceleration = np.diff(spots, n=2, axis=0) * city.config.fps**2
    assert np.linalg.norm(acceleration, axis=1).max() < 8.0
    speed = np.linalg.norm(np.diff(spots[:, :2], axis=0), axis=1) * city.config.fps
    told = [city.ego_speed_mps(index) for index in range(41)]
    # The camera sits ahead of the middle of the car and swings outwards in a turn.
    np.testing.assert_allclose(speed, told, atol=0.8)


def test_poses_are_rigid_and_use_camera_axes(city: World) -> None:
    pose = city.camera_to_world(0)
    np.testing.assert_allclose(pose[:3, :3] @ pose[:3, :3].T, np.eye(3), atol=1e-12)
    assert np.linalg.det(pose[:3, :3]) == pytest.approx(1.0)
    assert pose[2, 1] < -0.99  # y points down
    assert pose[2, 3] == pytest.approx(city.config.camera_height_m, abs=0.05)


@pytest.mark.parametrize(("height", "width"), [(48, 80), (121, 203)])
def test_any_size_and_k(height: int, width: int) -> None:
    k = (90.0, 0.0, 0.45 * width, 0.0, 80.0, 0.55 * height, 0.0, 0.0, 1.0)
    world = World(WorldConfig(seed=3, num_frames=1, height=height, width=width, k=k))
    frame = world.frame(0)
    assert world.camera.k == k
    assert frame.rgb.shape == (height, width, 3)
    assert frame.flow_fw_px.dtype == frame.depth_m.dtype == np.float32
    assert frame.track_map.dtype == np.uint16
    assert frame.right_rgb is None
    road = np.isin(frame.class_map[-1], (WorldClass.ROAD, WorldClass.LANE_LINE, WorldClass.CROSSWALK))
    assert road.mean() > 0.3


def test_the_near_image_agrees_with_the_far_one() -> None:
    """Twice the pixels show the same world: every other ray is the same ray."""
    small = replace(SMALL, seed=9, k=(100.0, 0.0, 95.5, 0.0, 100.0, 47.5, 0.0, 0.0, 1.0))
    large = replace(small, height=192, width=384, k=(200.0, 0.0, 191.0, 0.0, 200.0, 95.0, 0.0, 0.0, 1.0))
    coarse, fine = World(small).frame(1), World(large).frame(1)
    # How much paint makes a pixel a lane line depends on the pixel's size.
    marks = np.isin(coarse.class_map, (WorldClass.LANE_LINE, WorldClass.ROAD))
    assert (coarse.class_map == fine.class_map[::2, ::2])[~marks].mean() > 0.999
    np.testing.assert_allclose(2 * coarse.flow_fw_px, fine.flow_fw_px[::2, ::2], atol=0.02)


def test_densities_of_zero_leave_a_kind_out() -> None:
    empty = {f"{kind}_density": 0.0 for kind in ("vehicle", "parked", "pedestrian", "bicycle", "vegetation")}
    frame = World(WorldConfig(seed=1, num_frames=1, **empty)).frame(0)  # type: ignore[arg-type]
    assert frame.track_map.max() == 0


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("seed", -1),
        ("num_frames", 0),
        ("fps", 0.0),
        ("height", 8),
        ("horizontal_fov_deg", 180.0),
        ("stereo_baseline_m", -0.1),
        ("scenario", "fly"),
        ("setting", "moon"),
        ("vehicle_density", 9.0),
        ("camera_height_m", 30.0),
    ],
)
def test_bad_configs_say_what_to_fix(field: str, value: object) -> None:
    with pytest.raises(ValueError, match="must be") as caught:
        replace(SMALL, **{field: value})  # type: ignore[arg-type]
    assert str(value) in str(caught.value) or field == "height"


def test_frames_outside_the_world_are_refused(city: World) -> None:
    with pytest.raises(IndexError, match=r"0\.\.39"):
        city.frame(40)


def test_nobody_drives_through_anybody() -> None:
    """Vehicles that move keep off each other: their boxes in the street do not overlap."""
    world = World(replace(SMALL, seed=6, num_frames=100, scenario="drive"))
    stage = world._stage
    agents = stage._people.agents
    cars = [number for number, agent in enumerate(agents) if agent.kind == 0]
    closest = np.inf
    for index in range(0, 100, 5):
        ways = stage._motion.way_at(index / 10)
        spots = stage._on_routes(ways)[cars, :2]
        apart = np.linalg.norm(spots[:, None] - spots[None], axis=-1)
        np.fill_diagonal(apart, np.inf)
        closest = min(closest, float(apart.min()))
    assert len(cars) > 10
    assert closest > 2.2
