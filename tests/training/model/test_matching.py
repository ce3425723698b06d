from __future__ import annotations

import pytest
import torch
from tests.training.model.shapes import BALL, BOX, render
from tests.training.model.test_boxes import random_boxes

from videocups.model.boxes import iou
from videocups.model.classes import IGNORE
from videocups.model.labels import EXPLAINED, IGNORED, OBJECTS, read_batch
from videocups.model.masks import mask_targets
from videocups.model.matching import NEITHER, NO_OBJECT, match_anchors, match_boxes, sample

THINGS = 2


@pytest.fixture
def labels():
    return read_batch(render())[0]


def test_labels_of_an_image(labels):
    batch = render()
    assert labels.boxes.tolist() == [[20, 60, 70, 90], [90, 40, 120, 80], [150, 70, 194, 98], [210, 50, 236, 76]]
    assert labels.classes.tolist() == [BOX, BALL, BOX, BALL]
    assert labels.rows.tolist() == [0, 2, 1, 3]
    for box, row in zip(labels.boxes.long().tolist(), labels.rows.tolist(), strict=True):
        y, x = torch.nonzero(batch["instances"][0, 0] == row + 1, as_tuple=True)
        assert [x.min(), y.min(), x.max() + 1, y.max() + 1] == box
    explained = (batch["semantic"][0, 0] > 0) | (batch["instances"][0, 0] > 0)
    assert labels.regions[-1, -1, EXPLAINED] == explained.sum()


def test_explained_is_stuff_and_labelled_objects_outside_of_ignored():
    batch = render(labelled=(0, 1, 2))
    batch["semantic"][0, 0, :10] = IGNORE
    batch["ignore"][0, 0, -7:] = True
    ball = int((render()["instances"][0, 0] == 4).sum())
    found = read_batch(batch)[0]
    assert found.regions[-1, -1, EXPLAINED] == 256 * 128 - 10 * 256 - 7 * 256 - ball
    assert found.regions[-1, -1, IGNORED] == 7 * 256
    assert found.regions[-1, -1, OBJECTS] == (batch["instances"][0, 0] > 0).sum()


def test_matching_boxes_against_a_loop(labels):
    batch = render()
    batch["ignore"][0, 0, :, 128:] = True
    labels = read_batch(batch)[0]
    boxes = torch.cat([random_boxes(200, size=120.0), labels.boxes + torch.tensor([4.0, 3, 9, 2])])
    found = match_boxes(boxes, labels, 0.5, THINGS)
    seen = set()
    for box, class_, index in zip(boxes, found.classes.tolist(), found.labels.tolist(), strict=True):
        overlaps = [iou(box[None], label[None]).item() for label in labels.boxes]
        best = max(range(4), key=lambda row: overlaps[row])
        x0, y0, x1, y1 = (int(v) for v in (box[0].floor(), box[1].floor(), box[2].ceil(), box[3].ceil()))
        inside = batch["ignore"][0, 0, y0:y1, x0:x1].float()
        if overlaps[best] >= 0.5:
            expected = (labels.classes[best].item(), best)
        else:
            ignored = inside.numel() > 0 and inside.mean() > 0.5
            expected = (NEITHER if ignored else THINGS, NO_OBJECT)
        assert (class_, index) == expected
        seen.add(class_)
    assert seen == {BOX, BALL, THINGS, NEITHER}


def test_matching_anchors_against_a_loop(labels):
    generator = torch.Generator().manual_seed(0)
    near = labels.boxes.repeat(20, 1) + torch.randn(80, 4, generator=generator) * 6
    anchors = torch.cat([random_boxes(200, size=150.0), near])
    found = match_anchors(anchors, labels, 0.3, 0.7)
    overlaps = [[iou(a[None], b[None]).item() for b in labels.boxes] for a in anchors]
    top = [max(row[label] for row in overlaps) for label in range(4)]
    for row, class_, index in zip(overlaps, found.classes.tolist(), found.labels.tolist(), strict=True):
        if max(row) >= 0.7 or any(row[label] == top[label] for label in range(4)):
            assert (class_, index) == (0, row.index(max(row)))
        else:
            assert (class_, index) == (1 if max(row) < 0.3 else NEITHER, NO_OBJECT)
    assert {0, 1, NEITHER} == set(found.classes.tolist())


def test_the_nearest_anchor_is_on_the_object_however_far(labels):
    anchors = torch.tensor([[0.0, 0, 40, 70], [0, 100, 40, 120]])
    assert match_anchors(anchors, labels, 0.3, 0.7).classes.tolist() == [0, 1]


def test_without_labels_all_is_background_or_ignored():
    batch = render(labelled=())
    batch["ignore"][0, 0, :64] = True
    labels = read_batch(batch)[0]
    assert labels.boxes.shape == (0, 4)
    boxes = torch.tensor([[0.0, 0, 30, 40], [0, 60, 30, 100], [0, 0, 20, 128]])
    assert match_boxes(boxes, labels, 0.5, THINGS).classes.tolist() == [NEITHER, THINGS, THINGS]
    assert match_anchors(boxes, labels, 0.3, 0.7).classes.tolist() == [1, 1, 1]


def test_sampling_takes_its_share_and_fills_up():
    objects = torch.arange(100) < 30
    background = torch.arange(100) >= 60
    for count, share, expected in ((16, 0.25, (4, 12)), (50, 0.9, (30, 20)), (200, 0.25, (30, 40)), (0, 0.5, (0, 0))):
        first, second = sample(objects, background, count, share, torch.Generator().manual_seed(1))
        assert (len(first), len(second)) == expected
        assert bool(objects[first].all())
        assert bool(background[second].all())
        assert len(set(first.tolist() + second.tolist())) == sum(expected)


def test_sampling_hangs_on_its_generator_and_is_fair():
    marked, nothing = torch.ones(40, dtype=torch.bool), torch.zeros(40, dtype=torch.bool)
    draws = [sample(marked, nothing, 10, 1.0, torch.Generator().manual_seed(seed))[0].tolist() for seed in range(400)]
    assert draws[7] == sample(marked, nothing, 10, 1.0, torch.Generator().manual_seed(7))[0].tolist()
    counts = torch.bincount(torch.tensor(draws).flatten(), minlength=40)
    assert counts.min() > 60  # of 100 expected; below 60 is 4.6 deviations away
    assert counts.max() < 140


def test_a_masks_target_is_the_mask(labels):
    batch = render()
    instances = batch["instances"][0, 0]
    # boxes of 28×28 px: a cell is a pixel, wherever the box begins
    boxes = torch.tensor([[60.0, 70, 88, 98], [104, 30, 132, 58], [240, -10, 268, 18], [90.2, 60.3, 118.2, 88.3]])
    found = mask_targets(instances, torch.tensor([0, 2, 3, 2]), boxes, 28)
    padded = torch.nn.functional.pad(instances, (20, 20, 20, 20))
    for target, box, row in zip(found, boxes.floor().long().tolist(), [0, 2, 3, 2], strict=True):
        x, y = box[0] + 20, box[1] + 20
        assert torch.equal(target, (padded[y : y + 28, x : x + 28] == row + 1).float())
    whole = mask_targets(instances, labels.rows, labels.boxes, 28)
    assert whole[0].min() == 1, "a rectangle fills its box"
    assert whole[1].mean() == pytest.approx(3.14159 / 4, abs=0.02), "a disc does not"


@pytest.mark.parametrize("name", ["semantic", "boxes", "classes"])
def test_refuses_a_batch_that_does_not_fit(name):
    batch = render()
    batch[name] = batch[name][:, :, :-1]
    with pytest.raises(ValueError, match="must be"):
        read_batch(batch)


def test_refuses_single_frames():
    batch = {key: value[:, :1] for key, value in render().items()}
    with pytest.raises(ValueError, match="pairs"):
        read_batch(batch)
