"""From panoptic frames to rows, areas, boxes and a batch, by hand-made pictures."""

from __future__ import annotations

import numpy as np
import pytest
from tests.training.train.film import BAR, CLASSES, DISC, ROAD, SKY

from videocups.model.classes import IGNORE, THING, ClassTable
from videocups.train.pair import IGNORED, Pair, expand, frame_labels, join, pack, settle, unpack
from videocups_core.types import PanopticFrame, Segment

TABLE = ClassTable.of(CLASSES)
IDS = np.array([[0, 1, 2, 300, 300, 301, 302, 303]], np.uint16)
SEGMENTS = (
    Segment(1, SKY, False),
    Segment(2, ROAD, False),
    Segment(300, DISC, True, track_id=7),
    Segment(301, BAR, True, track_id=9),
    Segment(302, DISC, True, ignore=True),  # a crowd
    Segment(303, ROAD, False, ignore=True),  # something moves there
)


@pytest.mark.parametrize(("unknown", "crowd"), [("thing", THING), ("ignore", IGNORE)])
def test_every_kind_of_segment_becomes_what_it_teaches(unknown, crowd):
    labels = frame_labels(PanopticFrame(0, IDS, SEGMENTS), TABLE, unknown_things=unknown)
    assert labels.semantic.tolist() == [[IGNORE, 1, 2, THING, THING, THING, crowd, IGNORE]]
    assert labels.objects.tolist() == [[IGNORED, 0, 0, 1, 1, 2, IGNORED, IGNORED]]
    assert (labels.tracks, labels.classes) == ((7, 9), (0, 1))


def labelled(ids, tracks):
    segments = (Segment(2, ROAD, False), *(Segment(300 + track, kind, True, track_id=track) for track, kind in tracks))
    return frame_labels(PanopticFrame(0, np.array(ids, np.uint16), segments), TABLE)


def test_the_same_track_is_the_same_row_in_both_frames():
    first = labelled([[309, 2, 307]], [(9, BAR), (7, DISC)])
    second = labelled([[308, 309, 309]], [(8, DISC), (9, BAR)])
    pair = join(np.zeros((2, 1, 3, 3), np.uint8), (first, second))
    # rows in the order of track ids: 7, 8, 9
    assert pair.rows.tolist() == [[[3, 0, 1]], [[2, 3, 3]]]
    assert pair.classes.tolist() == [[0, -1, 1], [-1, 0, 1]]
    assert not pair.ignore.any()


def hand_made():
    """Row 0 has 6 and 2 px, row 1 has 0 and 1 px, row 2 is padding."""
    rows = np.zeros((2, 4, 5), np.int16)
    rows[0, 1:3, 1:4] = 1
    rows[1, 3, 3:5] = 1
    rows[1, 0, 0] = 2
    classes = np.array([[0, -1, -1], [0, 1, -1]], np.int16)
    return Pair(
        np.zeros((2, 4, 5, 3), np.uint8), np.zeros((2, 4, 5), np.uint8), rows, np.zeros((2, 4, 5), bool), classes
    )


def test_boxes_end_one_pixel_behind_the_object():
    pair, boxes = settle(hand_made(), 1)
    assert boxes.tolist() == [[[1, 1, 4, 3], [0, 0, 0, 0]], [[3, 3, 5, 4], [0, 0, 1, 1]]]
    assert pair.classes.tolist() == [[0, -1], [0, 1]]


def test_what_is_too_small_is_ignored_and_its_row_goes():
    pair, boxes = settle(hand_made(), 2)
    assert pair.classes.tolist() == [[0], [0]]
    assert boxes.shape == (2, 1, 4)
    assert pair.ignore[1].nonzero() == (0, 0)
    assert pair.ignore.sum() == 1
    assert set(np.unique(pair.rows)) == {0, 1}


def test_rows_are_numbered_anew_without_gaps():
    whole = hand_made()
    whole.rows[1, 2, :] = 3
    whole.classes[1, 2] = 1
    pair, boxes = settle(whole, 2)
    assert pair.classes.tolist() == [[0, -1], [0, 1]]
    assert pair.rows[1, 2].tolist() == [2] * 5
    assert boxes[1, 1].tolist() == [0, 2, 5, 3]


def test_a_batch_is_padded_and_comes_back():
    few, many = settle(hand_made(), 2), settle(hand_made(), 1)
    batch = pack([few, many])
    assert batch["classes"].tolist() == [[[0, -1], [0, -1]], [[0, -1], [0, 1]]]
    assert batch["boxes"][0, :, 1].abs().sum() == 0
    again = unpack(batch)[1]
    assert (again.rows == many[0].rows).all()
    wide = expand(batch)
    assert tuple(wide["images"].shape) == (2, 2, 3, 4, 5)
    assert all(str(wide[name].dtype) == "torch.int64" for name in ("semantic", "instances", "classes"))


def test_a_pair_without_objects_is_a_pair():
    empty = labelled([[2, 2]], [])
    pair, boxes = settle(join(np.zeros((2, 1, 2, 3), np.uint8), (empty, empty)), 5)
    assert pair.classes.shape == (2, 0)
    assert expand(pack([(pair, boxes)]))["boxes"].shape == (1, 2, 0, 4)
