"""STQ on cases small enough to work out on paper."""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest

from videocups.evaluate import StqAccumulator, stq


@pytest.fixture
def score(frame_of):
    def run(*frames):
        return stq([frame_of(*frame) for frame in frames], things=(2, 3), num_classes=4)

    return run


# One pixel is one weight: AQ = 1/#tubes · Σ_g 1/|g| · Σ_p TPA² / |p ∪ g|.
AQ_CASES = {
    "perfect": ([("c1 c1", "c1 c1")], 1.0),
    "an id switch in the middle: two halves, 2 · 1²/2 / 2": ([("c1", "c1"), ("c7", "c1")], 0.5),
    "a switch after 3 of 5 frames: (3²/5 + 2²/5) / 5": ([("c1", "c1")] * 3 + [("c2", "c1")] * 2, 13 / 25),
    "class flicker splits the prediction like an id switch": ([("c1", "c1"), ("p1", "c1")], 0.5),
    "thing -> stuff flicker loses pixels: 1²/2 / 2": ([("c1", "c1"), ("r", "c1")], 0.25),
    "the wrong thing class all along costs no AQ": ([("p1", "c1"), ("p1", "c1")], 1.0),
    "ids are names: any id will do": ([("c9", "c1"), ("c9", "c1")], 1.0),
    "one track over two objects: each 1²/2 / 1": ([("c1 c1", "c1 c2")], 0.5),
    "a prediction on stuff is too large: 2²/4 / 2": ([("c1 c1 c1 c1", "c1 c1 r r")], 0.5),
    "spilling into true void is penalised alike: 2²/4 / 2": ([("c1 c1 c1 c1", "c1 c1 . .")], 0.5),
    "true crowd leaves the tube alone": ([("c1 c1 c1 c1", "c1 c1 c c")], 1.0),
    "crowd of another class as well": ([("c1 c1 c1 c1", "c1 c1 p p")], 1.0),
    "a prediction only on crowd is no tube at all": ([("c1 c2", "c1 c")], 1.0),
    "a predicted thing with id 0 is an ordinary tube": ([("c c", "c1 c1")], 1.0),
    "half missed: 1²/2 / 2": ([("c1 .", "c1 c1")], 0.25),
    "an extra tube elsewhere costs nothing: AQ is over true tubes": ([("c1 c2", "c1 r")], 1.0),
    "one id in two classes is two tubes, one found: (1 + 0) / 2": ([("c1 r", "c1 p1")], 0.5),
    "a one-pixel tube weighs as much as a long one: (1 + 0) / 2": ([("c1 c1 c1 r", "c1 c1 c1 c2")], 0.5),
    "no true tube: 0": ([("c1 r", "r r")], 0.0),
}


@pytest.mark.parametrize("name", AQ_CASES)
def test_association_quality(score, name):
    frames, expected = AQ_CASES[name]
    assert score(*frames).aq == pytest.approx(expected, abs=1e-12)


SQ_CASES = {
    "perfect, two classes": ([("r r s s", "r r s s")], 1.0),
    "half of two classes swapped: IoU 1/3 each": ([("r s r s", "r r s s")], 1 / 3),
    "confusion is summed over frames first: (1/2 + 0) / 2": ([("r", "r"), ("s", "r")], 0.25),
    "one void pixel adds a class with IoU 0: (2/3 + 1 + 0) / 3": ([("r r . s", "r r r s")], (2 / 3 + 1) / 3),
    "void predicted on true void adds nothing": ([("r .", "r .")], 1.0),
    "what lies on true void is not counted": ([("r s", "r .")], 1.0),
    "a class only predicted has IoU 0: (1/2 + 0) / 2": ([("r s", "r r")], 0.25),
    "a class only true has IoU 0: (1/2 + 0) / 2": ([("r r", "r s")], 0.25),
    "crowd counts for the class: (1 + 1) / 2": ([("c1 r", "c r")], 1.0),
    "ids do not matter: 1": ([("c1 c2", "c7 c7")], 1.0),
}


@pytest.mark.parametrize("name", SQ_CASES)
def test_segmentation_quality(score, name):
    frames, expected = SQ_CASES[name]
    assert score(*frames).sq == pytest.approx(expected, abs=1e-12)


def test_one_void_pixel_turns_two_perfect_classes_into_two_thirds(score):
    many = "r " * 500 + "s " * 499
    assert score((many + "s", many + "s")).sq == 1.0
    assert score((many + ".", many + "s")).sq == pytest.approx((1 + 499 / 500 + 0) / 3)
    assert score((many + ".", many + "s")).predicted_void_px == 1


def test_stq_is_the_geometric_mean(score):
    # Car: AQ 0.25 and IoU 1/2; road: IoU 1/2 (one of two predicted pixels is right). SQ = 1/2.
    result = score(("c1", "c1"), ("r", "c1"), ("r", "r"))
    assert result.stq == pytest.approx(sqrt(0.25 * 0.5))
    np.testing.assert_allclose(result.iou_per_class, [0.5, np.nan, 0.5, np.nan])
    np.testing.assert_allclose(result.aq_per_class, [np.nan, np.nan, 0.25, np.nan])


def test_without_a_true_tube_stq_is_zero_and_sq_stands(score):
    result = score(("r r", "r r"))
    assert (result.stq, result.aq, result.sq) == (0.0, 0.0, 1.0)


@pytest.mark.parametrize("frames", [[], [("c1 r", ". .")]], ids=["no frames", "all void"])
def test_nothing_labelled_is_no_score(score, frames):
    result = score(*frames)
    assert result.aq == 0.0
    assert np.isnan(result.stq)
    assert np.isnan(result.sq)
    assert np.isnan(result.iou_per_class).all()


def test_sequences_are_pooled_not_averaged(frame_of):
    # First: one tube, perfect. Second: three tubes, none found, all pixels called road. AQ = (1 + 0 + 0 + 0) / 4.
    first, second = [frame_of("c1", "c1")], [frame_of("r r r", "c1 c2 c3")]
    result = stq([first, second], things=(2, 3), num_classes=4)
    assert result.aq == pytest.approx(1 / 4)
    # Car: 1 of 4 true pixels hit, IoU 1/4; road: only predicted, 0. A mean over sequences would give (1 + 0) / 2.
    assert result.sq == pytest.approx((1 / 4 + 0) / 2)


def test_one_id_in_two_sequences_is_two_tubes(frame_of):
    frames = [frame_of("c1", "c1"), frame_of("c2", "c1")]
    assert stq(frames, things=(2, 3), num_classes=4).aq == pytest.approx(0.5)
    assert stq([[frame] for frame in frames], things=(2, 3), num_classes=4).aq == 1.0


def test_result_of_one_sequence(frame_of):
    accumulator = StqAccumulator((2, 3), 4)
    accumulator.update("good", frame_of("c1", "c1"))
    accumulator.update("bad", frame_of("r", "c1"))
    assert accumulator.sequences == ("good", "bad")
    assert accumulator.result("good").stq == 1.0
    assert accumulator.result("bad").aq == 0.0
    assert accumulator.result().aq == 0.5
    with pytest.raises(ValueError, match="no sequence 'ugly'"):
        accumulator.result("ugly")


def test_void_may_be_a_class_number_inside_the_range(score):
    # Class 0 is void: the last pixel is not scored; the predicted void on a labelled pixel adds a zero class.
    maps = [np.array([row]) for row in ([1, 1, 0, 1], [0, 0, 0, 0], [1, 1, 1, 0], [0, 0, 0, 0])]
    result = stq([maps], things=(), num_classes=2, void=0)
    assert result.sq == pytest.approx((2 / 3 + 0) / 2)
    np.testing.assert_allclose(result.iou_per_class, [np.nan, 2 / 3])
