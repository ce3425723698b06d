"""Depth while the vehicle creeps or stands: it adds up, moves along with what it belongs to, and ends with it."""

from __future__ import annotations

import numpy as np
import pytest

from videocups.cues.classical import iter_cues, survey
from videocups.cues.classical_config import QUALITY
from videocups.cues.depth import DepthConfig, Measured, measure
from videocups.cues.depth_memory import carried, looking_back, remember
from videocups.cues.ego_motion import UNKNOWN, EgoMotion
from videocups.cues.epipolar import parallax
from videocups.cues.flow import FlowPair
from videocups.cues.frame_pair import FramePair, View
from videocups.cues.ground_plane import Ground
from videocups.cues.quality import DepthQuality
from videocups.synthetic import World, WorldConfig

CONFIG = DepthConfig()
CAMERA_M, STEP_M = 1.5, 0.1
LORRY, LORRY_HEIGHTS = (slice(20, 70), slice(30, 70)), 5.0
STANDING = EgoMotion(np.eye(3), np.zeros(3), "standing", 1.0)


def ground_of(road) -> np.ndarray:
    slope = (np.arange(road.camera.height) - road.camera.k[5]) / road.camera.fy
    return np.repeat(np.maximum(slope, 0)[:, None], road.camera.width, axis=1).astype(np.float32)


def still(shape, motion=STANDING, *, hidden=None, flow=(0.0, 0.0)) -> View:
    flow_px = np.broadcast_to(np.float32(flow), (*shape, 2)).copy()
    visible = np.ones(shape, bool)
    if hidden is not None:
        visible[hidden] = False
    return View(flow_px, visible, motion, None)


def creep(road, rng) -> tuple[Measured, View]:
    """Return what a step of a fifteenth of the camera's height shows through noise, and the view back to its start."""
    ahead = road.exact_flow(road.depth, np.eye(3), np.array([0.0, 0.0, -STEP_M]))
    ahead += rng.normal(0, 0.1, ahead.shape).astype(np.float32)
    ground = Ground(np.array([0.0, STEP_M / CAMERA_M, 0.0]), 1.0)
    motion = EgoMotion(np.eye(3), np.array([0.0, 0.0, -1.0]), "moving", 1.0)
    seen = parallax(ahead, motion.rotation, motion.direction, road.camera)
    everywhere = np.ones(road.depth.shape, bool)
    back = road.exact_flow(road.depth, np.eye(3), np.array([0.0, 0.0, STEP_M]))
    return measure(seen, ground, everywhere, CONFIG), View(back, everywhere, motion.reversed(), ground)


def test_a_creeping_vehicle_measures_ever_better(road):
    rng, ground, errors = np.random.default_rng(0), ground_of(road), []
    held, truth = None, CAMERA_M / road.depth
    for _ in range(8):
        measured, behind = creep(road, rng)
        inverse, held = remember(measured, None, ground, held, CONFIG, lambda view=behind: view)
        error = np.abs(held.inverse_depth - truth) / truth
        errors.append(float(np.median(error[:40])))  # the wall
    assert errors[-1] < 0.55 * errors[0]
    assert np.median(np.abs(inverse - truth) / truth) < 0.1


def test_what_is_kept_comes_nearer_as_the_camera_does(road):
    held = Measured(np.full(road.depth.shape, 0.2, np.float32), np.ones(road.depth.shape, np.float32))
    here = carried(held, creep(road, np.random.default_rng(0))[1], 0.5)
    np.testing.assert_allclose(here.inverse_depth, 1 / (5.0 - STEP_M / CAMERA_M), rtol=1e-5)
    np.testing.assert_allclose(here.weight, 0.5)


@pytest.fixture
def stopped(road) -> tuple[np.ndarray, Measured]:
    """A vehicle that stops behind a lorry which it passed by parallax before."""
    ground = ground_of(road)
    seen = (CAMERA_M / road.depth).astype(np.float32)
    seen[LORRY] = 1 / LORRY_HEIGHTS
    return ground, Measured(seen, np.full(seen.shape, 1e4, np.float32))


def test_who_stands_keeps_what_stands(road, stopped):
    ground, held = stopped
    for _ in range(30):
        inverse, held = remember(None, None, ground, held, CONFIG, lambda: still(ground.shape))
    assert np.median(inverse[LORRY]) == pytest.approx(1 / LORRY_HEIGHTS, rel=0.05)


def test_no_ghost_stays_where_a_lorry_drove_off(road, stopped):
    """What comes to light where it stood has its own parallax, however little of it a creeping vehicle sees."""
    ground, held = stopped
    rng = np.random.default_rng(0)
    for step in range(8):
        measured, behind = creep(road, rng)
        if step == 0:
            behind.visible[LORRY] = False
        inverse, held = remember(measured, None, ground, held, CONFIG, lambda view=behind: view)
        if step == 0:
            np.testing.assert_array_equal(held.weight[LORRY], measured.weight[LORRY])
    assert np.median(inverse[22:40, 35:65]) == pytest.approx(CAMERA_M / 30.0, abs=0.03)  # the wall behind it


def test_depth_moves_along_with_what_it_belongs_to(road, stopped):
    ground, held = stopped
    for _ in range(20):  # half a pixel a frame to the right: rounding would leave it where it is
        _, held = remember(None, None, ground, held, CONFIG, lambda: still(ground.shape, flow=(-0.5, 0.0)))
    edge = (held.inverse_depth[30] > 0.15).argmax()
    assert edge == pytest.approx(LORRY[1].start + 10, abs=1)


def test_nothing_is_kept_over_a_cut_and_nobody_looks_back_while_driving(road, stopped):
    ground, held = stopped
    shape = ground.shape
    flow = FlowPair(*np.zeros((2, *shape, 2), np.float32), *np.ones((2, *shape), bool))
    cut = looking_back(FramePair(flow, UNKNOWN, None))
    assert cut() is None
    assert looking_back(None)() is None
    assert looking_back(FramePair(flow, STANDING, None))().motion.kind == "standing"
    assert remember(None, None, ground, held, CONFIG, cut)[1] is None

    def refuse() -> View:
        raise AssertionError("looked back")

    driving = Measured(ground.copy(), np.full(shape, 1e4, np.float32))
    assert remember(driving, driving, ground, held, CONFIG, refuse)[1] is driving


def errors_of(world: World) -> tuple[float, float]:
    """Return AbsRel of classical depth on a rendered clip, and of one depth everywhere."""
    frames = [world.frame(index) for index in range(len(world))]
    images = [frame.rgb for frame in frames]
    geometry = survey(images.__getitem__, len(images), world.camera, QUALITY)
    found, flat = DepthQuality(), DepthQuality()
    for cues, frame in zip(
        iter_cues(images.__getitem__, len(images), world.camera, geometry, QUALITY), frames, strict=True
    ):
        found.add(cues.depth_heights, frame.depth_m)
        flat.add(np.ones_like(frame.depth_m), frame.depth_m)
    return float(np.mean(found.abs_rel)), float(np.mean(flat.abs_rel))


@pytest.mark.parametrize(("scenario", "fps", "seed", "share"), [("stand", 10.0, 4, 0.35), ("drive", 100.0, 4, 0.65)])
def test_depth_of_a_rendered_street_while_the_vehicle_stands_or_creeps(scenario, fps, seed, share):
    """At 100 frames a second the camera moves by a thirtieth of its height from frame to frame."""
    config = WorldConfig(seed=seed, num_frames=4, scenario=scenario, fps=fps, height=128, width=256)
    found, flat = errors_of(World(config))
    assert found < share * flat
