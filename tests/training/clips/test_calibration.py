"""Calibration files as people have them."""

from __future__ import annotations

import json

import pytest

from videocups.clips.calibration import Calibration, CalibrationError, read_calibration, stereo_baseline_m

ODOMETRY = """P0: 700 0 600 0 0 700 180 0 0 0 1 0
P1: 700 0 600 -378 0 700 180 0 0 0 1 0
P2: 710 0 605 45 0 710 182 0 0 0 1 0
P3: 710 0 605 -333 0 710 182 0 0 0 1 0
Tr: 1 0 0 0 0 1 0 0 0 0 1 0
"""
RAW = """calib_time: 09-Jan-2012 13:57:47
corner_dist: 9.950000e-02
S_02: 1.392000e+03 5.120000e+02
K_02: 9.597910e+02 0 6.960217e+02 0 9.569251e+02 2.241806e+02 0 0 1
S_rect_02: 1.242000e+03 3.750000e+02
P_rect_02: 721.5 0 609.5 44.8 0 721.5 172.8 0.2 0 0 1 0.002
S_rect_03: 1.242000e+03 3.750000e+02
P_rect_03: 721.5 0 609.5 -339.5 0 721.5 172.8 2.2 0 0 1 0.002
"""
ROS = """image_width: 640
image_height: 480
camera_name: front
camera_matrix: {rows: 3, cols: 3, data: [500, 0, 320, 0, 501, 240, 0, 0, 1]}
distortion_model: plumb_bob
distortion_coefficients: {rows: 1, cols: 5, data: [-0.2, 0.05, 0.001, 0.002, 0]}
rectification_matrix: {rows: 3, cols: 3, data: [1, 0, 0, 0, 1, 0, 0, 0, 1]}
projection_matrix: {rows: 3, cols: 4, data: [480, 0, 321, -57.6, 0, 480, 241, 0, 0, 0, 1, 0]}
"""


@pytest.fixture
def file(tmp_path):
    def file(text, name="calib.txt"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return file


def intrinsics(camera):
    return camera.fx, camera.fy, camera.cx, camera.cy


def test_kitti_odometry_takes_the_folders_matrix_and_its_neighbour(file):
    path = file(ODOMETRY)
    assert intrinsics(read_calibration(path).camera(1226, 370)) == (700, 700, 600, 180)
    left, right = (read_calibration(path, camera="image_2", right=r) for r in (False, True))
    assert intrinsics(left.camera(1226, 370)) == (710, 710, 605, 182)
    assert stereo_baseline_m(left, right) == pytest.approx(378 / 710)
    assert stereo_baseline_m(*(read_calibration(path, camera="image_0", right=r) for r in (False, True))) == 0.54
    with pytest.raises(CalibrationError, match="exchange the two image sources"):
        stereo_baseline_m(right, left)


def test_two_bare_rows(file):
    path = file("\n".join(line.split(": ")[1] for line in ODOMETRY.splitlines()[:2]))
    left, right = (read_calibration(path, camera="image_l", right=r) for r in (False, True))
    assert intrinsics(left.camera(1226, 370)) == (700, 700, 600, 180)
    assert stereo_baseline_m(left, right) == pytest.approx(0.54)


def test_kitti_raw(file):
    left, right = (read_calibration(file(RAW), camera="image_02", right=r) for r in (False, True))
    assert intrinsics(left.camera(1242, 375)) == (721.5, 721.5, 609.5, 172.8)
    assert stereo_baseline_m(left, right) == pytest.approx((44.8 + 339.5) / 721.5)
    with pytest.raises(CalibrationError, match="is for 1242×375 px but the images are 1224×370"):
        left.camera(1224, 370)


def test_ros_camera_calibration(file):
    calibration = read_calibration(file(ROS, "front.yaml"))
    camera = calibration.camera(640, 480)
    assert intrinsics(camera) == (500, 501, 320, 240)
    assert camera.distortion == (-0.2, 0.05, 0.001, 0.002, 0)
    assert calibration.projection[3] == -57.6


@pytest.mark.parametrize("name", ["k.json", "k.yaml"])
def test_plain_values(file, name):
    content = {"fx": 400, "fy": 401, "cx": 320.5, "cy": 239.5, "distortion": [0.1, 0, 0, 0]}
    camera = read_calibration(file(json.dumps(content), name)).camera(640, 480)
    assert intrinsics(camera) == (400, 401, 320.5, 239.5)
    assert camera.distortion_model == "plumb_bob"
    content = {"K": [[400, 0, 320], [0, 400, 240], [0, 0, 1]], "width": 640, "height": 480}
    assert read_calibration(file(json.dumps(content), name)).size_px == (640, 480)


def test_numbers_in_a_text_file(file):
    assert intrinsics(read_calibration(file("# fx fy cx cy\n400 401 320 240\n")).camera(640, 480)) == (
        400,
        401,
        320,
        240,
    )
    assert read_calibration(file("400 401 320 240 -0.1 0.01 0 0")).camera(640, 480).distortion == (-0.1, 0.01, 0, 0)


@pytest.mark.parametrize(
    ("text", "name", "words"),
    [
        ("hello", "k.txt", "needs at least 'fx fy cx cy'"),
        ("1 2 3", "k.txt", "holds 3 numbers"),
        ("{", "k.json", "no known layout"),
        ("[1, 2]", "k.json", "no known layout"),
        ("fx: 400", "k.yaml", "no known layout"),
        ("a: [", "k.yaml", "no known layout"),
        ("{camera_matrix: {data: [1, 2]}}", "k.yaml", "a matrix must hold 9 numbers, got 2"),
    ],
)
def test_what_cannot_be_read_is_said_in_a_sentence(file, text, name, words):
    with pytest.raises(CalibrationError, match=words):
        read_calibration(file(text, name))


def test_a_calibration_of_larger_images_without_a_size_is_found_out(file):
    calibration = read_calibration(file("1000 1000 960 540"))
    with pytest.raises(CalibrationError, match="principal point at \\(960, 540\\), outside the 640×360 images"):
        calibration.camera(640, 360)


def test_uncalibrated_cameras_have_no_intrinsics(file):
    assert Calibration("a CameraInfo", (0.0,) * 9).camera(640, 480) is None  # how ROS says it
    with pytest.raises(CalibrationError, match="focal lengths must be positive"):
        read_calibration(file("0 0 0 0")).camera(640, 480)
    with pytest.raises(CalibrationError, match="focal lengths must be positive"):
        read_calibration(file("-5 5 320 240")).camera(640, 480)
