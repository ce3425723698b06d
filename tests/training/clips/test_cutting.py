"""Where a stream is cut: expected values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from videocups.clips.cutting import CutConfig, Cutter, StampFilter, mean_difference, thumbnail_of

MS = 1_000_000


def lengths(stamps_ms, **config):
    """Return the lengths of the clips a stream of stamps is cut into."""
    cutter, clips = Cutter(CutConfig(**config)), []
    for stamp in stamps_ms:
        cause, begins = cutter.place(stamp * MS)
        assert not cause
        if begins:
            clips.append(0)
        clips[-1] += 1
    return clips


def kept(stamps_ms, **config):
    """Return the stamps the filter lets through, in ms."""
    stamps = StampFilter(CutConfig(**config))
    return [stamp for stamp in stamps_ms if not stamps.reject(stamp * MS)]


def test_length_in_frames_and_in_seconds():
    assert lengths(range(0, 1000, 100), clip_frames=4, clip_seconds=None) == [4, 4, 2]
    assert lengths(range(0, 1000, 100), clip_seconds=0.3) == [3, 3, 3, 1]
    assert lengths(range(0, 1000, 100), clip_frames=2, clip_seconds=0.3) == [2] * 5


def test_a_pause_cuts_and_its_limit_grows_with_the_rate():
    stamps = [0, 100, 600, 1101, 1200]
    assert lengths(stamps) == [3, 2]  # 500 ms is allowed, 501 ms is not
    assert lengths(stamps, max_gap_s=0.2) == [2, 1, 2]
    assert lengths(stamps, rate_hz=2.0) == [5]  # 3 periods of 500 ms
    assert CutConfig(rate_hz=2.0).gap_ns == 1500 * MS


def test_time_that_goes_back_cuts():
    assert lengths([5000, 5100, 0, 100, 200]) == [2, 3]


def test_rate_keeps_an_even_grid_in_spite_of_jitter():
    at_30_hz = [0, 33, 67, 100, 133, 167, 200, 233, 267, 300, 333]
    assert kept(at_30_hz, rate_hz=10) == [0, 100, 200, 300]
    jittered = [0, 31, 69, 98, 135, 166, 203, 230, 268, 297]
    assert kept(jittered, rate_hz=10) == [0, 98, 203, 297]
    assert kept(at_30_hz, rate_hz=60) == at_30_hz
    assert kept([0, 100, 200, 5000, 5050, 5100], rate_hz=10) == [0, 100, 200, 5000, 5100]  # a new grid after a pause


def test_repeated_and_late_stamps():
    stamps = StampFilter(CutConfig())
    assert [stamps.reject(s * MS) for s in (0, 0, 100, 50, 150)] == [
        "",
        "repeated stamp",
        "",
        "stamp older than the frame before",
        "",
    ]


def test_motion_is_measured_against_the_last_kept_frame():
    """Slow change adds up: 0.6 grey levels a frame pass a limit of 1 every second frame."""
    cutter = Cutter(CutConfig(min_motion=1.0))
    pictures = [np.full((9, 16), round(0.6 * i), np.uint8) for i in range(7)]  # 0 1 1 2 2 3 4
    causes = [cutter.place(i * 100 * MS, picture)[0] for i, picture in enumerate(pictures)]
    assert [not cause for cause in causes] == [True, True, False, True, False, True, True]


def test_noise_is_averaged_out_of_thumbnails():
    random = np.random.default_rng(0)
    noisy = [np.clip(128 + random.normal(0, 8, (360, 640, 3)), 0, 255).astype(np.uint8) for _ in range(2)]
    moved = np.roll(noisy[0], 40, axis=1)
    moved[:, :320] = 60
    assert mean_difference(*map(thumbnail_of, noisy)) < 2 < mean_difference(thumbnail_of(noisy[0]), thumbnail_of(moved))
    assert thumbnail_of(noisy[0]).shape == (90, 160)
    assert thumbnail_of(noisy[0][:20, :50]).shape == (20, 50)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("clip_frames", 0),
        ("clip_seconds", 0.0),
        ("max_gap_s", 0.0),
        ("min_motion", -1.0),
        ("min_motion", 255.0),
        ("min_frames", 0),
        ("rate_hz", 0.0),
    ],
)
def test_impossible_settings_are_refused(field, value):
    with pytest.raises(ValueError, match=str(value)):
        CutConfig(**{field: value})
    with pytest.raises(ValueError, match="allows"):
        CutConfig(clip_frames=3, min_frames=4)
