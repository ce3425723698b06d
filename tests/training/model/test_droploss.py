"""Video DropLoss: an object that no label explains gets no gradient at all, a labelled one all of it."""

from __future__ import annotations

import pytest
import torch
from tests.training.model.shapes import render

from videocups.model.boxes import encode
from videocups.model.classes import IGNORE
from videocups.model.config import DropLossConfig, RpnConfig
from videocups.model.droploss import supervised
from videocups.model.labels import read_batch
from videocups.model.matching import NEITHER
from videocups.model.objective import Rows, rpn_losses, stage_losses

UNITS = (10.0, 10.0, 5.0, 5.0)
THINGS, BACKGROUND = 2, 2
ROAD = [40.0, 100, 80, 124]  # nothing but road
CAR = [20.0, 60, 70, 90]  # labelled box, row 0
PARKED = [150.0, 70, 194, 98]  # a box that looks the same
DROP = DropLossConfig(confident=0.3)


def image_labels(labelled=(0, 2), parked_is="thing"):
    batch = render(labelled=labelled)
    unlabelled = (batch["semantic"] == 0) & (batch["instances"] == 0)
    if parked_is == "stuff":
        batch["semantic"][unlabelled] = 2
    if parked_is == "unknown":
        batch["semantic"][unlabelled] = IGNORE
    if parked_is == "ignored":
        batch["ignore"] |= unlabelled
    return read_batch(batch)


def gate(boxes, scores, *, background=True, config=DROP, labels=None):
    marked = torch.full((len(boxes),), background)
    return supervised(torch.tensor(boxes), torch.tensor(scores), marked, labels or image_labels()[0], config).tolist()


def test_a_labelled_detection_is_learned_from_whatever_it_is_sure_of():
    near = [24.0, 62, 72, 90]
    for background in (True, False):
        assert gate([CAR, near], [0.01, 0.99], background=background) == [True, True]


def test_the_overlap_must_exceed_the_threshold():
    # 50×30 moved by d has (50 − d) / (50 + d): exactly .5 is not more than .5
    third = [20 + 50 / 3, 60, 70 + 50 / 3, 90]
    assert gate([third], [0.9], background=False, config=DropLossConfig(confident=0.3, iou=0.5 + 1e-4)) == [False]
    assert gate([third], [0.9], background=False, config=DropLossConfig(confident=0.3, iou=0.5 - 1e-4)) == [True]


@pytest.mark.parametrize("parked_is", ["thing", "unknown", "ignored"])
@pytest.mark.parametrize("score", [0.0, 0.2, 0.99])
def test_what_labels_do_not_explain_is_left_alone(parked_is, score):
    assert gate([PARKED, ROAD], [score, 0.0], labels=image_labels(parked_is=parked_is)[0]) == [False, True]


def test_sure_objects_are_left_alone_even_on_labelled_stuff():
    labels = image_labels(parked_is="stuff")[0]
    assert gate([PARKED, ROAD, ROAD], [0.31, 0.0, 0.1], labels=labels) == [False, True, True]
    assert gate([PARKED, ROAD, ROAD], [0.29, 0.0, 0.1], labels=labels) == [True, True, True]


def test_semantics_may_have_to_agree():
    batch = render(labelled=(0,))
    batch["semantic"][(batch["semantic"] == 0) & (batch["instances"] == 0)] = 2
    seen = torch.zeros_like(batch["ignore"])
    seen[..., :90, :] = True  # 20 of the parked car's 28 rows
    labels = read_batch(batch, seen)[0]
    boxes, scores = [PARKED, ROAD, ROAD], [0.9, 0.9, 0.0]
    assert gate(boxes, scores, labels=labels) == [False, False, True], "being sure is enough"
    for share, expected in ((0.7, [False, True, True]), (0.73, [True, True, True])):
        config = DropLossConfig(confident=0.3, seen=share)
        assert gate(boxes, scores, labels=labels, config=config) == expected


def test_a_part_of_a_labelled_object_is_background_however_sure():
    part, around = [22.0, 62, 45, 88], [10.0, 40, 80, 128]
    assert gate([part, around, ROAD, ROAD], [0.99, 0.99, 0.0, 0.0]) == [True, False, True, True]


def test_a_network_that_sees_objects_everywhere_still_learns():
    scores = [0.9, 0.5, 0.7, 0.6]
    assert gate([ROAD] * 4, scores, config=DropLossConfig(confident=0.3, max_confident=0.5)) == [
        False,
        True,
        False,
        True,
    ]
    assert gate([ROAD] * 4, scores, config=DropLossConfig(confident=0.3, max_confident=0.75)) == [
        False,
        True,
        False,
        False,
    ]
    assert gate([ROAD] * 4, scores, config=DropLossConfig(confident=0.3, max_confident=0)) == [True] * 4


def test_a_strayed_box_is_left_alone():
    assert gate([PARKED], [0.9], background=False) == [False]


def test_switched_off_it_teaches_everything():
    assert gate([PARKED, ROAD, CAR], [0.99, 0.99, 0.0], config=DropLossConfig(enabled=False)) == [True] * 3


def test_an_image_without_labels_is_judged_by_itself():
    empty = image_labels(labelled=())[0]
    # the parked car is unexplained; of the two candidates the surest may be left alone
    assert gate([PARKED, ROAD, ROAD], [0.9, 0.0, 0.9], labels=empty) == [False, True, False]
    few = DropLossConfig(confident=0.3, max_confident=0.4)
    assert gate([PARKED, ROAD, ROAD], [0.9, 0.0, 0.9], labels=empty, config=few) == [False, True, True]


def rows_of(boxes, classes, indices, image=None):
    image = torch.zeros(len(boxes), dtype=torch.int64) if image is None else torch.tensor(image)
    return Rows(image, torch.tensor(boxes), torch.tensor(classes), torch.tensor(indices))


def stage(rows, labels, sure, config):
    """Return the gradients of logits and deltas, and the loss; rows in ``sure`` are surely class 0."""
    logits = torch.zeros(len(rows.boxes), THINGS + 1)
    logits[:, -1] = 4.0
    logits[sure] = torch.tensor([4.0, 0, 0])
    deltas = torch.full((len(rows.boxes), 4), 0.05)
    logits.requires_grad_()
    deltas.requires_grad_()
    of_class, of_box, kept = stage_losses(logits, deltas, rows, labels, UNITS, config)
    (of_class + of_box).backward()
    return logits.grad, deltas.grad, of_class.item(), kept.tolist()


@pytest.mark.parametrize("parked_is", ["thing", "stuff"])
def test_gradients_of_a_stage(parked_is):
    labels = image_labels(parked_is=parked_is)[:1]
    car = int(torch.nonzero(labels[0].rows == 0))
    rows = rows_of([CAR, PARKED, ROAD, ROAD], [0, BACKGROUND, BACKGROUND, BACKGROUND], [car, -1, -1, -1])
    classes, boxes, loss, kept = stage(rows, labels, [1], DROP)
    assert kept == [True, False, True, True]
    assert classes[1].abs().max() == 0, "exactly none for the unlabelled object"
    assert boxes[1:].abs().max() == 0
    # by hand: three rows of probability p = e⁴ / (e⁴ + 2), the car's class has 1 / (e⁴ + 2)
    rest = float(torch.exp(torch.tensor(4.0)) + 2)
    sure, other = (rest - 2) / rest, 1 / rest
    assert classes[0].tolist() == pytest.approx([(other - 1) / 3, other / 3, sure / 3], abs=1e-6)
    assert classes[2].tolist() == pytest.approx([other / 3, other / 3, (sure - 1) / 3], abs=1e-6)
    assert boxes[0].abs().tolist() == pytest.approx([1 / 3] * 4)
    alone = rows_of([CAR, ROAD, ROAD], [0, BACKGROUND, BACKGROUND], [car, -1, -1])
    without = stage(alone, labels, [], DropLossConfig(enabled=False))
    assert torch.allclose(classes[[0, 2, 3]], without[0]), "all gradient for the others, as if it were not there"
    assert torch.equal(boxes[[0, 2, 3]], without[1])
    assert loss == pytest.approx(without[2])


def test_vanilla_teaches_it_as_background():
    labels = image_labels()[:1]
    rows = rows_of([PARKED, ROAD], [BACKGROUND, BACKGROUND], [-1, -1])
    classes, _, _, kept = stage(rows, labels, [0], DropLossConfig(enabled=False))
    assert kept == [True, True]
    assert classes[0].tolist()[0] > 0.4


def test_rows_that_are_neither_have_no_gradient():
    rows = rows_of([CAR, ROAD], [NEITHER, BACKGROUND], [-1, -1])
    for config in (DROP, DropLossConfig(enabled=False)):
        classes, boxes, _, kept = stage(rows, image_labels()[:1], [0], config)
        assert kept == [False, True]
        assert classes[0].abs().max() == 0
        assert boxes.abs().max() == 0


def test_an_image_without_labels_does_not_switch_the_others_off():
    labelled, empty = image_labels()[0], image_labels(labelled=())[1]
    car = int(torch.nonzero(labelled.rows == 0))
    boxes = [CAR, PARKED, ROAD, PARKED, ROAD]
    rows = rows_of(boxes, [0] + [BACKGROUND] * 4, [car, -1, -1, -1, -1], image=[0, 0, 0, 1, 1])
    classes, _, _, kept = stage(rows, [labelled, empty], [1, 3], DROP)
    assert kept == [True, False, True, False, True]
    alone = stage(rows_of(boxes[:3], [0, BACKGROUND, BACKGROUND], [car, -1, -1]), [labelled], [1], DROP)
    assert torch.allclose(classes[:3], alone[0] / 2), "the other image halves its share and changes nothing else"


def objectness(labels, logits, config, batch=64):
    """Return the gradient of the objectness of four anchors: car, parked, two on the road."""
    anchors = torch.tensor([CAR, PARKED, ROAD, [90.0, 100, 130, 124]])
    logits = torch.tensor([logits]).requires_grad_()
    deltas = torch.zeros(1, 4, 4, requires_grad=True)
    generator = [torch.Generator().manual_seed(0)]
    losses = rpn_losses(logits, deltas, anchors, labels, RpnConfig(batch=batch), config, generator)
    sum(losses).backward()
    return logits.grad[0], deltas.grad[0]


@pytest.mark.parametrize("parked_is", ["thing", "stuff"])
def test_objectness_of_an_unlabelled_object(parked_is):
    labels = image_labels(labelled=(0,), parked_is=parked_is)[:1]
    found, deltas = objectness(labels, [3.0, 3.0, -3.0, 0.0], DropLossConfig(confident=0.3, max_confident=0.75))
    p = torch.tensor([3.0, -3.0]).sigmoid().tolist()
    assert found[1].item() == 0
    assert found[[0, 2]].tolist() == pytest.approx([(p[0] - 1) / 2, p[1] / 2], abs=1e-6)
    assert found[3].item() == 0, "this one is sure of an object too"
    assert deltas.abs().max() == 0, "the car's anchor fits exactly"
    vanilla, _ = objectness(labels, [3.0, 3.0, -3.0, 0.0], DropLossConfig(enabled=False))
    assert vanilla.tolist() == pytest.approx([(p[0] - 1) / 4, p[0] / 4, p[1] / 4, 0.125], abs=1e-6)


@pytest.mark.parametrize("config", [DROP, DropLossConfig(enabled=False)], ids=["droploss", "vanilla"])
def test_ignored_anchors_are_no_background(config):
    labels = image_labels(labelled=(0,), parked_is="ignored")[:1]
    found, _ = objectness(labels, [3.0, -3.0, -3.0, -3.0], config)
    assert found[1].item() == 0
    assert found[[0, 2, 3]].abs().min() > 0


def test_the_gate_looks_at_the_regressed_box():
    labels = image_labels()[:1]
    car = int(torch.nonzero(labels[0].rows == 0))
    away = [26.0, 76, 76, 106]  # overlaps the car by less than .5
    deltas = encode(torch.tensor([CAR]), torch.tensor([away]), UNITS)
    logits = torch.tensor([[4.0, 0, 0]], requires_grad=True)
    rows = rows_of([away], [BACKGROUND], [-1])
    stage_losses(logits, deltas, rows, labels, UNITS, DROP)[0].backward()
    assert logits.grad[0, 0] > 0.9, "it went to the car and is judged like any detection there"
    strayed = encode(torch.tensor([PARKED]), torch.tensor([CAR]), UNITS).requires_grad_()
    logits = torch.zeros(1, 3, requires_grad=True)
    losses = stage_losses(logits, strayed, rows_of([CAR], [0], [car]), labels, UNITS, DROP)
    (losses[0] + losses[1]).backward()
    assert logits.grad.abs().max() == 0
    assert strayed.grad.abs().max() == 0
