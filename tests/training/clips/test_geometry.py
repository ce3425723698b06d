"""What happens to images on their way into a clip: expected pictures by hand."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from videocups.clips.calibration import Calibration, CalibrationError
from videocups.clips.geometry import geometry_of

SIDE = 41
K = (40.0, 0, 20.0, 0, 40.0, 20.0, 0, 0, 1)
IDENTITY = (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0)
QUARTER_TURN = (0.0, -1.0, 0, 1.0, 0, 0, 0, 0, 1.0)  # about the optical axis


def projection(tx=0.0, f=40.0):
    return (f, 0, 20.0, tx, 0, f, 20.0, 0, 0, 0, 1.0, 0)


def source(left, right=None):
    return SimpleNamespace(calibration=left, right_calibration=right)


@pytest.fixture
def images():
    random = np.random.default_rng(0)
    return tuple(random.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8) for _ in range(2))


def test_a_stereo_pair_is_rectified_by_r_and_p(images):
    """R = identity leaves the left image; a quarter turn of the right camera turns its image back by as much."""
    left = Calibration("left", K, rotation=IDENTITY, projection=projection())
    right = Calibration("right", K, rotation=QUARTER_TURN, projection=projection(tx=-40.0 * 0.12))
    geometry = geometry_of(source(left, right), ((SIDE, SIDE),) * 2, undistort=True)
    warped = geometry.apply(images)
    assert np.array_equal(warped[0], images[0])
    # The rectified point (x, y) is R (x', y') of the camera: x = −y', y = x'. So column −row', row = column'.
    assert np.array_equal(warped[1], np.rot90(images[1], -1))
    assert geometry.baseline_m == pytest.approx(0.12)
    assert geometry.camera.k == K


def test_rectification_takes_the_new_focal_length(images):
    calibration = Calibration("left", K, rotation=IDENTITY, projection=projection(f=80.0))
    geometry = geometry_of(source(calibration, calibration), ((SIDE, SIDE),) * 2, undistort=True)
    assert geometry.camera.fx == 80.0
    zoomed = geometry.apply(images)[0]
    assert np.array_equal(zoomed[::2, ::2][:20, :20], images[0][10:30, 10:30])  # every second pixel is one of before


def test_without_undistortion_images_stay(images):
    left = Calibration("left", K, "plumb_bob", (-0.2, 0.1, 0, 0, 0))
    geometry = geometry_of(source(left), ((SIDE, SIDE),), undistort=False)
    assert geometry.is_identity
    assert geometry.apply(images)[0] is images[0]
    assert geometry.camera.distortion[0] == -0.2


def test_what_cannot_be_rectified_is_refused():
    plain = Calibration("left", K)
    with pytest.raises(CalibrationError, match="needs R and P of the left camera"):
        geometry_of(source(plain, plain), ((SIDE, SIDE),) * 2, undistort=True)
    with pytest.raises(CalibrationError, match="a stereo pair needs two cameras of one size"):
        geometry_of(source(plain, plain), ((SIDE, SIDE), (SIDE, 30)), undistort=False)
    with pytest.raises(CalibrationError, match="--undistort needs a calibration"):
        geometry_of(source(None), ((SIDE, SIDE),), undistort=True)
