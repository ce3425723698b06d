"""Counting pairs: every width, every size, every id; and what is refused."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter

import numpy as np
import pytest

from videocups.evaluate import count_pairs, pq, stq, vpq
from videocups.evaluate.classes import LabelSpace

METRICS = [stq, pq, vpq]


def counted_plainly(frame):
    return dict(Counter(zip(*(np.asarray(m).ravel().tolist() for m in frame), strict=True)))


# Around the compiled loop's groups of 8 items and chunks of 16,384.
@pytest.mark.parametrize("size", [1, 2, 7, 8, 9, 15, 16, 17, 16383, 16384, 16385, 16391, 16392, 16393, 32768, 40001])
@pytest.mark.parametrize("values", [1, 2, 40])
def test_every_size(size, values):
    rng = np.random.default_rng(size + values)
    runs = np.repeat(np.arange(size), rng.integers(1, 30, size))[:size]
    frame = [rng.integers(0, values, size)[runs].reshape(1, -1) for _ in range(4)]
    assert count_pairs(frame) == counted_plainly(frame)


def test_every_item_another_pair():
    """More than 65,535 tubes in one frame, so that the table grows many times."""
    ids = np.random.default_rng(3).permutation(80_000).reshape(200, 400)
    frame = (np.full_like(ids, 2), ids + 2**33, np.full_like(ids, 2), ids[::-1] + 1)
    assert count_pairs(frame) == counted_plainly(frame)
    result = stq([frame, frame], things=[2], num_classes=3)
    assert len(result.statistics.truth_px) == 80_000
    assert result.aq == 1.0


@pytest.mark.parametrize("column", range(4))
def test_keys_that_share_three_of_four_values_stay_apart(column):
    frame = [np.full((100, 200), 5) for _ in range(4)]
    frame[column] = np.arange(20_000).reshape(100, 200)
    assert count_pairs(frame) == counted_plainly(frame)


@pytest.mark.parametrize("dtype", ["u1", "i2", "<u2", ">u2", "i4", "u4", ">i4", "i8", "u8"])
def test_extreme_ids_of_every_type(dtype):
    largest = np.iinfo(dtype).max
    ids = np.array([[0, 1, largest, largest - 1, largest]], dtype=dtype)
    classes = np.array([[0, 1, 2, 2, 2]], dtype=np.uint8)
    true_ids = np.array([[0, 0, 5, 5, 5]], dtype=np.uint16)
    frame = (classes, ids, classes, true_ids)
    assert count_pairs(frame) == counted_plainly(frame)
    assert count_pairs(frame)[2, int(largest), 2, 5] == 2


def test_ids_that_differ_only_in_high_bits_stay_apart():
    ids = np.array([[7, 7 + 2**16, 7 + 2**32, 7 + 2**48, 2**64 - 1]], dtype=np.uint64)
    classes = np.full((1, 5), 3)
    assert len(count_pairs((classes, ids, classes, ids))) == 5


def test_views_and_mixed_types():
    rng = np.random.default_rng(1)
    big = rng.integers(0, 3, (40, 60))
    frame = (big[::2, ::3].astype(np.uint8), big.T[:20, :20].astype(np.int32), big[::-2, ::-3], big[:20, :20])
    assert count_pairs(frame) == counted_plainly(frame)


def test_an_empty_frame_has_no_pairs():
    empty = np.zeros((0, 7), dtype=np.uint8)
    assert count_pairs((empty,) * 4) == {}


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.int64])
@pytest.mark.parametrize("position", range(4))
def test_negative_values_are_refused(dtype, position):
    frame = [np.zeros((2, 3), dtype=np.uint8) for _ in range(4)]
    frame[position] = np.array([[0, 0, 0], [0, 0, -1]], dtype=dtype)
    name = ("pred_class", "pred_id", "true_class", "true_id")[position]
    with pytest.raises(ValueError, match=f"{name} must not be negative"):
        count_pairs(frame)


def test_other_types_and_shapes_are_refused():
    maps = [np.zeros((2, 3), dtype=np.int64)] * 3
    with pytest.raises(ValueError, match="true_id must be an integer map, got dtype float64"):
        count_pairs((*maps, np.zeros((2, 3))))
    with pytest.raises(ValueError, match=r"one shape, got pred_class \(2, 3\).*true_id \(3, 2\)"):
        count_pairs((*maps, np.zeros((3, 2), dtype=np.int64)))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(("position", "side"), [(0, "predicted"), (2, "true")])
def test_classes_out_of_range_are_refused(metric, position, side):
    frame = [np.zeros((2, 3), dtype=np.int64) for _ in range(4)]
    frame[position][0, 0] = 254
    with pytest.raises(ValueError, match=rf"{side} class 254 is neither in 0..4 nor void \(255\)"):
        metric([frame], things=[2], num_classes=5)


@pytest.mark.parametrize(("things", "num_classes", "void"), [([5], 5, 255), ([-1], 5, 255), ([1], 5, 1), ([], 0, 255)])
def test_a_label_space_is_checked(things, num_classes, void):
    with pytest.raises(ValueError, match="must be"):
        LabelSpace.of(things, num_classes, void)


@pytest.fixture
def frame(frame_of):
    return frame_of("c1 r r", "c1 c1 r")


@pytest.mark.parametrize("metric", METRICS)
def test_one_sequence_in_any_wrapping_is_the_same(metric, frame):
    def run(frames):
        return repr(metric(frames, things=(2, 3), num_classes=4))

    expected = run([frame] * 4)
    stacked = np.stack([np.stack(frame)] * 4)
    for frames in (
        iter([frame] * 4),
        [list(frame)] * 4,
        [[frame] * 4],
        ([frame] * 4,),
        (iter([frame] * 4) for _ in range(1)),
        {"0": [frame] * 4},
        stacked,
        [stacked],
        list(stacked),
        [list(stacked)],
    ):
        assert run(frames) == expected


@pytest.mark.parametrize("metric", METRICS)
def test_several_sequences_in_any_wrapping_are_the_same(metric, frame):
    def run(frames):
        return repr(metric(frames, things=(2, 3), num_classes=4))

    expected = run([[frame] * 4] * 4)
    stacked = np.stack([np.stack(frame)] * 4)
    assert expected == run((frame for _ in range(4)) for _ in range(4))
    assert expected == run(np.stack([stacked] * 4))
    assert expected == run([stacked] * 4)
    assert run([[], [frame]]) == run([[], [frame], iter(())])


@pytest.mark.parametrize("metric", METRICS)
def test_wrong_wrappings_get_a_sentence(metric, frame):
    for frames, words in (
        (frame, "wrap one frame in a list"),
        ([frame, [frame]], "item 1 of the sequence is no frame"),
        ([[frame], frame], "sequence 1 is a single frame"),
        ([[frame, frame[:3]]], "item 1 of sequence 0 is no frame"),
        ([1, 2], "sequence 0 must be an iterable of frames"),
    ):
        with pytest.raises(ValueError, match=words):
            metric(frames, things=(2, 3), num_classes=4)


def test_importing_the_metrics_loads_no_compiler():
    script = "import sys, videocups.evaluate; sys.exit(bool({'numba', 'torch', 'scipy', 'cv2'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
