"""PQ and VPQ against a second implementation written from the definition, with segments as sets of pixels."""

from __future__ import annotations

from fractions import Fraction
from math import isclose, isnan, nan

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.training.evaluate.tiny_videos import draw_frames

from videocups.evaluate import pq, vpq

NUM_CLASSES, THINGS, VOID = 4, (2, 3), 255
LABELS = [(0, 0), (1, 0), (1, 6), (2, 1), (2, 2), (3, 1), (3, 2**40 + 1), (2, 0), (3, 0), (VOID, 0)]


@st.composite
def videos(draw, max_videos=3):
    """Up to three videos of up to five tiny frames; a predicted pixel is mostly a copy of the true one."""
    result = []
    for _ in range(draw(st.integers(1, max_videos))):
        labels = [LABELS[i % len(LABELS)] for i in draw(st.binary(min_size=1, max_size=6))]
        result.append(draw_frames(draw, labels, most=5, copied_from=100))
    return result


def plain_counts(frames):
    """Return {class: [tp, fp, fn, exact sum of IoUs]} of the tubes in ``frames``; one frame makes it PQ."""
    pred, true = {}, {}
    for t, frame in enumerate(frames):
        for i, (pc, pid, tc, tid) in enumerate(zip(*(m.ravel().tolist() for m in frame), strict=True)):
            pred.setdefault((pc, pid if pc != VOID else 0), set()).add((t, i))
            true.setdefault((tc, tid if tc != VOID else 0), set()).add((t, i))
    pred.pop((VOID, 0), None)
    void = true.pop((VOID, 0), set())
    crowds = {label: pixels for label, pixels in true.items() if label[0] in THINGS and label[1] == 0}
    counts = {c: [0, 0, 0, Fraction(0)] for c in range(NUM_CLASSES)}
    taken_pred, taken_true = set(), set()
    for g, g_pixels in true.items():
        for p, p_pixels in pred.items():
            iou = Fraction(len(g_pixels & p_pixels), len((g_pixels | p_pixels) - void))
            if g[0] == p[0] and g not in crowds and iou > Fraction(1, 2):
                counts[g[0]][0] += 1
                counts[g[0]][3] += iou
                taken_pred.add(p)
                taken_true.add(g)
    for p, p_pixels in pred.items():
        ignored = p_pixels & (void | crowds.get((p[0], 0), set()))
        if p not in taken_pred and not 2 * len(ignored) > len(p_pixels):
            counts[p[0]][1] += 1
    for g in true:
        if g not in taken_true and g not in crowds:
            counts[g[0]][2] += 1
    return counts


def summed(parts):
    total = {c: [0, 0, 0, Fraction(0)] for c in range(NUM_CLASSES)}
    for counts in parts:
        for c in counts:
            total[c] = [a + b for a, b in zip(total[c], counts[c], strict=True)]
    return total


def plain_scores(counts, classes):
    """Return PQ, SQ and RQ averaged over the classes that occur."""
    rows = []
    for c in classes:
        tp, fp, fn, iou = counts[c]
        if tp + fp + fn:
            weight = tp + fp / 2 + fn / 2
            rows.append((float(iou) / weight, float(iou / tp) if tp else 0.0, tp / weight))
    return tuple(sum(column) / len(rows) for column in zip(*rows, strict=True)) if rows else (nan, nan, nan)


def same(a, b):
    return (isnan(a) and isnan(b)) or isclose(a, b, rel_tol=0, abs_tol=1e-9)


def check(result, counts):
    for c, scores in enumerate(result.per_class):
        assert [scores.counts.tp, scores.counts.fp, scores.counts.fn] == counts[c][:3]
        assert same(scores.counts.iou_sum, float(counts[c][3]))
    stuff = [c for c in range(NUM_CLASSES) if c not in THINGS]
    for got, classes in ((result, range(NUM_CLASSES)), (result.things, THINGS), (result.stuff, stuff)):
        for a, b in zip((got.pq, got.sq, got.rq), plain_scores(counts, classes), strict=True):
            assert same(a, b)


@settings(max_examples=2000, deadline=None, suppress_health_check=list(HealthCheck))
@given(videos(max_videos=1))
def test_pq_equals_the_plain_definition(case):
    images = case[0]
    result = pq(iter(images), things=THINGS, num_classes=NUM_CLASSES)
    check(result, summed(plain_counts([image]) for image in images))


@settings(max_examples=2000, deadline=None, suppress_health_check=list(HealthCheck))
@given(videos())
def test_vpq_equals_the_plain_definition(case):
    result = vpq(case, things=THINGS, num_classes=NUM_CLASSES)
    for length in (1, 2, 3, 4):
        windows = [frames[i : i + length] for frames in case for i in range(len(frames) - length + 1)]
        check(result.per_window[length], summed(map(plain_counts, windows)))
    assert same(result.vpq, sum(r.pq for r in result.per_window.values()) / 4)
    assert same(result.stuff, sum(r.stuff.pq for r in result.per_window.values()) / 4)
