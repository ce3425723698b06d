"""Cameras under image operations, checked by projecting points and by moving pictures."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from videocups_core.camera import (
    camera_from_ros,
    crop_camera,
    distort_points,
    pinhole_of,
    rotate_camera,
    rotate_image,
    scale_camera,
    undistort,
    undistortion_maps,
    unproject,
)
from videocups_core.types import CameraModel


def k_of(fx, fy, cx, cy):
    return (fx, 0.0, cx, 0.0, fy, cy, 0.0, 0.0, 1.0)


PINHOLE = CameraModel(64, 48, k_of(50, 55, 30, 25))
LENSES = {
    "plumb_bob": CameraModel(64, 48, k_of(50, 55, 30, 25), "plumb_bob", (-0.25, 0.06, 0.004, -0.003, -0.01)),
    "plumb_bob_4": CameraModel(64, 48, k_of(50, 55, 30, 25), "plumb_bob", (-0.2, 0.05, 0.004, -0.003)),
    "rational": CameraModel(
        64, 48, k_of(50, 55, 30, 25), "rational_polynomial", (0.4, 0.1, 0.002, 0.001, 0.01, 0.7, 0.2, 0.02)
    ),
    "equidistant": CameraModel(64, 48, k_of(30, 33, 30, 25), "equidistant", (0.02, -0.01, 0.003, -0.001)),
    "pincushion": CameraModel(64, 48, k_of(50, 55, 30, 25), "plumb_bob", (0.15, 0.02, 0.0, 0.0, 0.0)),
}
RAYS = np.random.default_rng(0).uniform(-0.5, 0.5, (40, 2))


def test_projection_by_hand():
    assert distort_points(np.array([[0.0, 0.0], [0.2, -0.1]]), PINHOLE).tolist() == [[30, 25], [40, 19.5]]
    assert unproject(np.array([[40.0, 19.5]]), PINHOLE) == pytest.approx(np.array([[0.2, -0.1]]))
    fish = CameraModel(100, 100, k_of(40, 40, 50, 50), "equidistant", (0.0, 0.0, 0.0, 0.0))
    assert distort_points(np.array([[1.0, 0.0]]), fish)[0] == pytest.approx([50 + 40 * np.pi / 4, 50])


@pytest.mark.parametrize("camera", LENSES.values(), ids=LENSES.keys())
def test_projection_against_opencv(camera):
    points = np.column_stack([RAYS, np.ones(len(RAYS))])[:, None]
    project = cv2.fisheye.projectPoints if camera.distortion_model == "equidistant" else cv2.projectPoints
    zero = np.zeros(3)
    expected, _ = project(points, zero, zero, camera.matrix(), np.array(camera.distortion))
    np.testing.assert_allclose(distort_points(RAYS, camera), expected.reshape(-1, 2), atol=1e-9)


def test_scaling_follows_pixel_centres():
    camera = scale_camera(PINHOLE, 32, 12)
    # old pixel centre p lies at (p + ½)·s − ½ in the new image
    assert distort_points(RAYS, camera) == pytest.approx((distort_points(RAYS, PINHOLE) + 0.5) * [0.5, 0.25] - 0.5)
    assert (camera.width, camera.height) == (32, 12)


def test_scaling_matches_what_resize_does_to_a_picture():
    ramp = np.tile(np.arange(64, dtype=np.float32), (48, 1))
    small = cv2.resize(ramp, (32, 24), interpolation=cv2.INTER_AREA)
    camera = scale_camera(PINHOLE, 32, 24)
    x_new = 10
    x_old = small[5, x_new]
    ray_old = (x_old - PINHOLE.cx) / PINHOLE.fx
    assert (x_new - camera.cx) / camera.fx == pytest.approx(ray_old)


def test_cropping():
    camera = crop_camera(LENSES["plumb_bob"], 5, 7, 20, 30)
    assert distort_points(RAYS, camera) == pytest.approx(distort_points(RAYS, LENSES["plumb_bob"]) - [5, 7])
    for box in ((-1, 0, 5, 5), (0, 0, 65, 5), (60, 0, 5, 5), (0, 0, 0, 5)):
        with pytest.raises(ValueError, match="must lie inside"):
            crop_camera(PINHOLE, *box)


@pytest.mark.parametrize("name", LENSES)
@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_turning_camera_and_image_together(name, degrees):
    camera = LENSES[name]
    x, y = RAYS.T
    turned_rays = {0: (x, y), 90: (-y, x), 180: (-x, -y), 270: (y, -x)}[degrees]
    turned = rotate_camera(camera, degrees)
    picture = np.arange(camera.height * camera.width).reshape(camera.height, camera.width)
    turned_picture = rotate_image(picture, degrees)
    assert turned_picture.shape == (turned.height, turned.width)
    assert turned_picture.flags.c_contiguous
    old = distort_points(RAYS, camera)
    new = distort_points(np.stack(turned_rays, axis=1), turned)
    for (old_x, old_y), (new_x, new_y) in zip(np.rint(old).astype(int), np.rint(new).astype(int), strict=True):
        if 0 <= old_x < camera.width and 0 <= old_y < camera.height:
            assert picture[old_y, old_x] == turned_picture[new_y, new_x]


def test_turning_four_times_is_nothing():
    camera = LENSES["plumb_bob"]
    for _ in range(4):
        camera = rotate_camera(camera, 90)
    assert camera == LENSES["plumb_bob"]
    picture = np.arange(6).reshape(2, 3)
    assert rotate_image(picture, 90).tolist() == [[3, 0], [4, 1], [5, 2]]  # clockwise, by hand
    with pytest.raises(ValueError, match="got 45"):
        rotate_image(picture, 45)
    with pytest.raises(ValueError, match="got -90"):
        rotate_camera(camera, -90)


@pytest.mark.parametrize("name", LENSES)
def test_undistorted_pictures_show_straight_rays(name):
    """Draw smooth functions of the viewing ray through the lens; after undistortion they follow the pinhole."""
    camera = scale_camera(LENSES[name], 160, 120)
    grid = np.stack(np.meshgrid(np.arange(160.0), np.arange(120.0)), axis=-1).reshape(-1, 2)
    rays = invert_by_iteration(grid, camera)
    picture = ray_colors(rays).reshape(120, 160, 3)
    straight, pinhole = undistort(picture, camera)
    assert pinhole.distortion_model == "none"
    expected = ray_colors(unproject(grid, pinhole)).reshape(120, 160, 3)
    error = np.abs(straight.astype(int) - expected)
    assert np.percentile(error, 99.5) <= 3
    untreated = np.abs(picture.astype(int) - expected)
    assert untreated.mean() > 4 * error.mean()  # the lens did something


def ray_colors(rays):
    return np.rint(128 + 90 * np.sin(np.column_stack([6 * rays[:, 0], 6 * rays[:, 1], 4 * rays.sum(axis=1)]))).astype(
        np.uint8
    )


def invert_by_iteration(pixels, camera):
    rays = unproject(pixels, camera)
    for _ in range(600):
        rays = rays - 0.5 * (distort_points(rays, camera) - pixels) / [camera.fx, camera.fy]
    assert np.abs(distort_points(rays, camera) - pixels).max() < 1e-3
    return rays


@pytest.mark.parametrize("name", LENSES)
def test_no_pixel_is_left_without_content(name):
    camera = scale_camera(LENSES[name], 160, 120)
    straight, _ = undistort(np.full((120, 160, 3), 200, np.uint8), camera)
    assert straight.min() >= 199


def test_the_widest_view_is_taken():
    camera = LENSES["plumb_bob"]
    wide = pinhole_of(camera)
    assert wide.fx < camera.fx  # barrel distortion holds more than a pinhole of the same focal length
    k = (wide.fx * 0.95, 0.0, wide.cx, 0.0, wide.fy * 0.95, wide.cy, 0.0, 0.0, 1.0)
    corners = np.array([[0.0, 0.0], [63.0, 0.0], [0.0, 47.0], [63.0, 47.0], [0.0, 24.0], [31.0, 0.0]])
    seen = distort_points(unproject(corners, CameraModel(64, 48, k)), camera)
    assert ((seen < 0) | (seen > [63, 47])).any()


def test_an_undistorted_camera_is_left_alone_and_maps_are_kept():
    picture = np.zeros((48, 64, 3), np.uint8)
    same, camera = undistort(picture, PINHOLE)
    assert same is picture
    assert camera == PINHOLE
    straight_fisheye = CameraModel(64, 48, PINHOLE.k, "equidistant", (0.0, 0.0, 0.0, 0.0))
    assert undistort(picture, straight_fisheye)[0] is not picture
    assert undistortion_maps(LENSES["plumb_bob"])[0] is undistortion_maps(LENSES["plumb_bob"])[0]


def test_wrong_sizes_and_hopeless_lenses_are_named():
    with pytest.raises(ValueError, match="calibration is for 64×48 px, the image is 32×24"):
        undistort(np.zeros((24, 32, 3), np.uint8), PINHOLE)
    hopeless = CameraModel(64, 48, k_of(50, 55, 3000, 25), "plumb_bob", (-0.2, 0.0, 0.0, 0.0, 0.0))
    with pytest.raises(ValueError, match="leaves no usable image"):
        pinhole_of(hopeless)
    with pytest.raises(ValueError, match="at least 1×1"):
        scale_camera(PINHOLE, 0, 5)


def ros(**change):
    fields = {
        "width": 64,
        "height": 48,
        "k": k_of(50, 55, 30, 25),
        "d": (0.1, 0, 0, 0, 0),
        "distortion_model": "plumb_bob",
    }
    return camera_from_ros(**{**fields, **change})


def test_camera_from_ros():
    assert ros() == CameraModel(64, 48, k_of(50, 55, 30, 25), "plumb_bob", (0.1, 0, 0, 0, 0))
    assert ros(k=np.array(k_of(50, 55, 30, 25))) == ros()
    assert ros(k=(0.0,) * 9) is None
    assert ros(d=[]) == ros(d=(0.0,) * 5) == ros(d=(), distortion_model="") == PINHOLE
    assert ros(d=(0.1, 0, 0, 0, 0, 0.2, 0, 0)).distortion_model == "rational_polynomial"
    assert ros(d=(0.1,) * 8 + (0.0,) * 6, distortion_model="rational_polynomial").distortion == (0.1,) * 8
    assert ros(d=(0.0,) * 4, distortion_model="equidistant").distortion_model == "equidistant"
    assert ros(d=(0.1,) * 4, distortion_model="fisheye").distortion_model == "equidistant"


def test_camera_from_ros_with_roi_and_binning():
    assert ros(d=(), roi_xywh=(10, 20, 40, 20)) == crop_camera(PINHOLE, 10, 20, 40, 20)
    assert ros(d=(), binning=(2, 0)) == scale_camera(PINHOLE, 32, 48)
    assert ros(d=(), roi_xywh=(10, 20, 40, 20), binning=(2, 2)) == scale_camera(
        crop_camera(PINHOLE, 10, 20, 40, 20), 20, 10
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"k": (float("nan"), *k_of(50, 55, 30, 25)[1:])}, "finite"),
        ({"k": (1.0, 2.0)}, "9 values, got 2"),
        ({"k": k_of(-50, 55, 30, 25)}, "positive"),
        ({"k": (50.0, 0.0, 30.0, 0.0, 55.0, 25.0, 0.0, 0.0, 0.0)}, "row-major"),
        ({"d": (float("inf"), 0, 0, 0, 0)}, "distortion must be finite"),
        ({"distortion_model": "mystery"}, "'mystery'"),
        ({"d": (0.1, 0.2)}, "plumb_bob needs 4 or 5"),
        ({"d": (0.1,) * 14, "distortion_model": "rational_polynomial"}, "rational_polynomial needs 8"),
        ({"width": 0}, "at least 1×1"),
        ({"roi_xywh": (60, 0, 40, 20)}, "must lie inside"),
    ],
)
def test_wrong_camera_infos_are_named(change, words):
    with pytest.raises(ValueError, match=words):
        ros(**change)
