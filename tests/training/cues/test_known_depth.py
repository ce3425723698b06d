"""A depth that is known tells traffic along the camera's own way from things that stand."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from videocups.cues.ego_motion import EgoMotion
from videocups.cues.epipolar import parallax, pixel_rays, static_flow_px
from videocups.cues.frame_pair import View
from videocups.cues.ground_plane import Ground
from videocups.cues.known_depth import KnownDepth, KnownDepthConfig, agree, deny_standing, off_depth, unit_of
from videocups.cues.photometric import appearance
from videocups.cues.static_world import StaticTestConfig
from videocups_core.types import CameraModel

CAMERA = CameraModel(256, 128, (180.0, 0, 127.5, 0, 180.0, 63.5, 0, 0, 1))
AHEAD = EgoMotion(np.eye(3), np.array([0.0, 0.0, -1.0]), "moving", 1.0)
OBJECT = (slice(55, 85), slice(40, 90))


def scene(factor: float):
    """Return known inverse depth in 1/translations, view, parallax, looks; the object has ``factor`` × its parallax."""
    rays = pixel_rays(CAMERA)
    known = np.maximum(0.5 * rays[..., 1], 0.03).astype(np.float32)
    known[OBJECT] = 0.06
    apparent = known.copy()
    apparent[OBJECT] *= factor
    flow = static_flow_px(apparent, AHEAD.rotation, AHEAD.direction, CAMERA)
    noise = np.random.default_rng(0).integers(0, 255, (128, 256, 3)).astype(np.uint8)
    after = cv2.GaussianBlur(noise, (0, 0), 1.2) * 2
    row, column = np.mgrid[:128, :256].astype(np.float32)
    image = cv2.remap(after, column + flow[..., 0], row + flow[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    view = View(flow, np.ones((128, 256), bool), AHEAD, Ground(np.array([0, 0.5, 0]), 1.0))
    return known, view, parallax(flow, AHEAD.rotation, AHEAD.direction, CAMERA), appearance(image), appearance(after)


def judge(inverse_depth, view, seen, looks, other, **settings):
    known = KnownDepth(inverse_depth, np.full(inverse_depth.shape, 0.1, np.float32))
    return off_depth(
        view, seen, known, looks, other, pixel_rays(CAMERA), CAMERA, KnownDepthConfig(**settings), StaticTestConfig()
    )


@pytest.mark.parametrize(("factor", "sign"), [(2.0, 1), (0.3, -1)])
def test_traffic_along_the_way_is_off_its_depth(factor, sign):
    known, *rest = scene(factor)
    found = judge(known, *rest)
    inner = (slice(60, 80), slice(45, 85))
    assert np.median(found[inner]) * sign > 2
    still = np.ones(found.shape, bool)
    still[45:95, 30:100] = False
    assert np.abs(found[still]).max() == 0
    # the unit of the known depth need not be right
    np.testing.assert_allclose(judge(known * 1.5, *rest), found, atol=1e-3)
    # nothing moves where traffic cannot be: the lowest point of the object is on the ground, its top 0.5 above it
    assert np.abs(judge(known, *rest, max_height=0.001)[56:58]).max() == 0


@pytest.mark.parametrize("factor", [1.0, 1.1, 0.92])
def test_errors_of_the_known_depth_move_nothing(factor):
    known, *rest = scene(factor)
    shifted = np.roll(known, 1, axis=1)  # edges lie off by a pixel
    assert np.abs(judge(shifted, *rest)).max() == 0


def test_flow_that_the_images_deny_moves_nothing():
    known, view, _, looks, other = scene(1.0)
    wrong = view.flow_px.copy()
    wrong[OBJECT] += [6.0, 1.0]
    off = View(wrong, view.visible, AHEAD, view.ground)
    assert np.abs(judge(known, off, parallax(wrong, AHEAD.rotation, AHEAD.direction, CAMERA), looks, other)).max() < 1


def test_what_a_neighbour_does_not_show_is_unknown():
    known, view, seen, looks, other = scene(2.0)
    visible = np.ones((128, 256), bool)
    visible[:, :20] = False
    found = judge(known, View(view.flow_px, visible, AHEAD, view.ground), seen, looks, other)
    assert np.isnan(found[:, :20]).all()
    assert np.isfinite(found[:, 20:]).all()
    nothing = View(view.flow_px, np.zeros((128, 256), bool), AHEAD, view.ground)
    assert np.isnan(unit_of(known, seen, nothing))


def test_what_meets_the_ground_at_its_own_depth_stands():
    """A pole that the known depth does not have stands; a car whose parallax is another than its wheels' does not."""
    ground = np.maximum(0.5 * pixel_rays(CAMERA)[..., 1], 0).astype(np.float32)
    rho = ground.copy()
    pole, car, window = (slice(40, 90), slice(20, 26)), (slice(70, 90), slice(100, 140)), (slice(10, 20), slice(50, 60))
    rho[pole], rho[car], rho[window] = ground[90, 20], 2 * ground[90, 20], 0.2
    surprise = np.zeros_like(rho)
    upper = (slice(40, 70), slice(20, 26))  # of the pole only a part seems to move: it is followed down
    for area in (upper, car, window):
        surprise[area] = 5
    flow = static_flow_px(rho, AHEAD.rotation, AHEAD.direction, CAMERA)
    seen = parallax(flow, AHEAD.rotation, AHEAD.direction, CAMERA)
    known = np.maximum(ground, 0.01)
    known[car] = ground[90, 20]
    view = View(flow, np.ones(rho.shape, bool), AHEAD, Ground(np.array([0, 0.5, 0]), 1.0))
    left = deny_standing(surprise, KnownDepth(known, 0.1 * known), view, seen, ground, KnownDepthConfig())
    assert (left[car] == 5).all()
    assert (left[upper] == 0).all()
    assert (left[window] == 0).all()  # its lower edge is above the horizon
    assert left.sum() == 5 * 20 * 40


def test_neighbours_must_agree_on_the_sign():
    first = np.array([[3.0, -4.0, 2.0, np.nan, np.nan, 0.0]], np.float32)
    second = np.array([[2.0, -6.0, -2.0, 5.0, np.nan, 4.0]], np.float32)
    assert agree([first, second]).tolist() == [[2.0, 4.0, 0.0, 5.0, 0.0, 0.0]]
