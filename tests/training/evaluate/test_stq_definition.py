"""STQ against a second implementation written from the definition: plain loops over pixels and sets of pixels."""

from __future__ import annotations

from math import isclose, isnan, nan, sqrt

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.training.evaluate.tiny_videos import draw_frames

from videocups.evaluate import StqAccumulator, stq

NUM_CLASSES, THINGS, VOID = 5, (2, 3), 255
# (class, id) that a pixel can carry: stuff (0, 1; 4 is rare), things with colliding and huge ids, crowd or id 0, void.
LABELS = [
    *[(0, 0), (1, 0), (1, 6), (4, 0), (2, 1), (2, 2), (2, 1), (3, 1), (3, 2), (3, 2**40 + 1)],
    *[(2, 2**40 + 1), (2, 0), (3, 0), (VOID, 0)],
]


@st.composite
def sequences(draw):
    """Up to three sequences of up to four tiny frames; a predicted pixel is often a copy of the true one."""
    result = []
    for _ in range(draw(st.integers(1, 3))):
        labels = LABELS[: draw(st.integers(1, len(LABELS)))] if draw(st.booleans()) else LABELS
        result.append(draw_frames(draw, labels, most=4, copied_from=140))
    return result


def plain_tubes(videos):
    """Return true and predicted tubes as sets of pixels, and how often each (true, predicted) class occurs."""
    true_tubes, pred_tubes, confusion = {}, {}, {}
    for s, frames in enumerate(videos):
        for t, frame in enumerate(frames):
            for i, (pc, pid, tc, tid) in enumerate(zip(*(m.ravel().tolist() for m in frame), strict=True)):
                confusion[tc, pc] = confusion.get((tc, pc), 0) + 1
                if tc in THINGS and tid == 0:
                    continue
                if tc in THINGS:
                    true_tubes.setdefault((str(s), tc, tid), set()).add((t, i))
                if pc in THINGS:
                    pred_tubes.setdefault((str(s), pc, pid), set()).add((t, i))
    return true_tubes, pred_tubes, confusion


def plain_aq(true_tubes, pred_tubes):
    total = 0.0
    for g, g_pixels in true_tubes.items():
        for p, p_pixels in pred_tubes.items():
            if g[0] == p[0]:
                tpa = len(g_pixels & p_pixels)
                total += tpa * tpa / len(g_pixels | p_pixels) / len(g_pixels)
    return total / len(true_tubes) if true_tubes else 0.0


def plain_ious(confusion):
    """Return the IoU of every class that occurs; predicted void is a class that is never right."""
    ious = {}
    for c in [*range(NUM_CLASSES), VOID]:
        as_truth = sum(n for (t, _), n in confusion.items() if t == c != VOID)
        as_pred = sum(n for (t, p), n in confusion.items() if p == c and t != VOID)
        hits = confusion.get((c, c), 0) if c != VOID else 0
        if as_truth + as_pred:
            ious[c] = hits / (as_truth + as_pred - hits)
    return ious


def same(a, b):
    return (isnan(a) and isnan(b)) or isclose(a, b, rel_tol=0, abs_tol=1e-9)


@settings(max_examples=2000, deadline=None, suppress_health_check=list(HealthCheck))
@given(sequences())
def test_equals_the_plain_definition(videos):
    accumulator = StqAccumulator(THINGS, NUM_CLASSES, VOID)
    for index, frames in enumerate(videos):
        for frame in frames:
            accumulator.update(str(index), frame)
    result = accumulator.result()
    true_tubes, pred_tubes, confusion = plain_tubes(videos)
    ious, want_aq = plain_ious(confusion), plain_aq(true_tubes, pred_tubes)
    want_sq = sum(ious.values()) / len(ious) if ious else nan
    want_stq = sqrt(want_aq * want_sq)

    counts = result.statistics
    assert counts.truth_px == {tube: len(pixels) for tube, pixels in true_tubes.items()}
    assert counts.prediction_px == {tube: len(pixels) for tube, pixels in pred_tubes.items()}
    shared = {
        (g, p): len(true_tubes[g] & pred_tubes[p])
        for g in true_tubes
        for p in pred_tubes
        if g[0] == p[0] and true_tubes[g] & pred_tubes[p]
    }
    assert counts.overlap_px == shared
    expected = np.zeros((NUM_CLASSES + 1, NUM_CLASSES + 1), dtype=np.int64)
    for (true_class, pred_class), pixels in confusion.items():
        expected[min(true_class, NUM_CLASSES), min(pred_class, NUM_CLASSES)] += pixels
    np.testing.assert_array_equal(counts.confusion, expected)

    assert same(result.stq, want_stq)
    assert same(result.aq, want_aq)
    assert same(result.sq, want_sq)
    for class_id in range(NUM_CLASSES):
        assert same(result.iou_per_class[class_id], ious.get(class_id, nan))
    assert (VOID in ious) == (result.predicted_void_px > 0)

    called = stq(iter([iter(frames) for frames in videos]), things=THINGS, num_classes=NUM_CLASSES)
    assert same(called.stq, want_stq)
    assert same(called.sq, want_sq)


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(sequences(), st.sampled_from([np.uint16, np.int32, np.uint32, np.int64, np.uint64]), st.booleans())
def test_the_width_of_ids_does_not_show(videos, dtype, swapped):
    small = [[(pc, pid % 1000, tc, tid % 1000) for pc, pid, tc, tid in frames] for frames in videos]
    wide = np.dtype(dtype).newbyteorder(">" if swapped else "=")
    other = [[(pc.astype(np.int32), pid.astype(wide), tc, tid) for pc, pid, tc, tid in frames] for frames in small]
    first = stq(small, things=THINGS, num_classes=NUM_CLASSES)
    second = stq(other, things=THINGS, num_classes=NUM_CLASSES)
    assert first.statistics.overlap_px == second.statistics.overlap_px
    assert same(first.stq, second.stq)
