"""COCO panoptic frames: our own come back, foreign ones are read, wrong ones are named."""

from __future__ import annotations

import json

import numpy as np
import pytest

from videocups_core.panoptic.coco import categories_to_coco, frame_from_coco, frame_to_coco
from videocups_core.panoptic.codecs import CodecError, coco_ids_to_png
from videocups_core.panoptic.frames import panoptic_from_maps
from videocups_core.types import ClassInfo, PanopticFrame, Segment

CLASSES = (ClassInfo(0, "road", False, (1, 2, 3)), ClassInfo(2, "car", True, (7, 8, 9)))
IDS = np.array([[0, 5, 5], [70_000, 70_000, 9]], np.uint32)
PNG = coco_ids_to_png(IDS)


def entry(segment_id, category_id, **more):
    return {"id": segment_id, "category_id": category_id, **more}


ENTRIES = [entry(5, 0, area=-1, bbox=[9, 9, 9, 9]), entry(70_000, 2), entry(9, 2, iscrowd=1)]


def test_own_frames_come_back():
    class_map = np.array([[0, 0, 2], [255, 2, 2]], np.uint8)
    frame = panoptic_from_maps(class_map, np.where(class_map == 2, [[1, 1, 4], [1, 4, 0]], 0), CLASSES, 8)
    png, annotation = frame_to_coco(frame, image_id=3, file_name="3.png")
    again = frame_from_coco(png, json.loads(json.dumps(annotation)), CLASSES, 8)
    np.testing.assert_array_equal(again.segment_ids, frame.segment_ids)
    assert again.segments == frame.segments
    assert (annotation["image_id"], annotation["file_name"]) == (3, "3.png")
    assert annotation["segments_info"][0] == {
        "id": 1, "category_id": 0, "area": 2, "bbox": [0, 0, 2, 1], "iscrowd": 0, "track_id": 0, "score": 1.0,
    }  # fmt: skip


def test_rows_without_pixels_are_left_out():
    frame = PanopticFrame(0, np.ones((1, 1), np.uint16), (Segment(1, 0, False), Segment(2, 2, True, 8)))
    assert [row["id"] for row in frame_to_coco(frame, image_id=0, file_name="")[1]["segments_info"]] == [1]


def test_foreign_ids_are_renumbered_and_measured():
    frame = frame_from_coco(PNG, {"segments_info": ENTRIES}, CLASSES, 0)
    assert frame.class_map().tolist() == [[255, 0, 0], [2, 2, 2]]
    assert frame.track_map().tolist() == [[0, 0, 0], [70_000, 70_000, 0]]
    assert frame.segment_ids.tolist() == [[0, 1, 1], [3, 3, 2]]  # 5, 9, 70000 in order
    road = frame.segment(1)
    assert (road.area_px, road.bbox_xywh) == (2, (1, 0, 2, 1))
    assert frame.segment(2).ignore


def test_categories_are_mapped():
    entries = [{**row, "category_id": row["category_id"] + 90} for row in ENTRIES]
    frame = frame_from_coco(PNG, {"segments_info": entries}, CLASSES, 0, class_of_category={90: 0, 92: 2})
    assert frame.class_map().tolist() == [[255, 0, 0], [2, 2, 2]]


def test_an_image_of_void_only():
    frame = frame_from_coco(coco_ids_to_png(np.zeros((2, 2), int)), {"segments_info": []}, CLASSES, 0)
    assert (frame.segments, frame.segment_ids.max()) == ((), 0)


def test_categories_table():
    assert categories_to_coco(CLASSES)[1] == {"id": 2, "name": "car", "isthing": 1, "color": [7, 8, 9]}


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        (None, "segments_info"),
        ([3], "needs 'id'"),
        ([entry("5", 0)], "needs 'id'"),
        ([entry(0, 0)], "needs 'id'"),
        ([entry(1 << 70, 0)], "needs 'id'"),
        (ENTRIES[:2], "id 9 is in the PNG but segments_info does not list it"),
        ([], "id 5 is in the PNG"),
        ([*ENTRIES, entry(5, 0)], "lists id 5 twice"),
        ([*ENTRIES[:2], entry(9, 44)], "category 44 is not among the classes"),
        ([*ENTRIES[:2], entry(9, 2, score="high")], "cannot be used"),
        ([*ENTRIES[:2], entry(9, 2, track_id=-3)], "cannot be used"),
    ],
)
def test_wrong_annotations_are_named(entries, words):
    with pytest.raises(CodecError, match=words):
        frame_from_coco(PNG, {"segments_info": entries}, CLASSES, 0)
