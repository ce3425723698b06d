"""Class tables and the mapping from pseudo-classes to names."""

from __future__ import annotations

import json

import numpy as np
import pytest

from videocups_core.labels import (
    ClassNaming,
    check_classes,
    classes_from_json,
    classes_to_json,
    default_classes,
    read_classes,
)
from videocups_core.panoptic.frames import check_frame, panoptic_from_maps
from videocups_core.types import ClassInfo

PSEUDO = default_classes([False, False, False, True, True])
ROAD, SKY = ClassInfo(0, "road", False, (1, 2, 3)), ClassInfo(1, "sky", False, (4, 5, 6))
CAR = ClassInfo(2, "car", True, (7, 8, 9))
#                      class 0 and 1 are stuff, 3 and 4 things
CLASS_MAP = np.array([[0, 0, 1, 1], [2, 2, 3, 3], [4, 4, 3, 255]], np.uint8)
TRACK_MAP = np.array([[0, 0, 0, 0], [0, 0, 11, 11], [12, 12, 11, 0]], np.uint16)
FRAME = panoptic_from_maps(CLASS_MAP, TRACK_MAP, PSEUDO, 5, frame_index=6, scores={11: 0.5})


def test_default_names_colours_and_flags():
    assert [info.name for info in PSEUDO] == ["class_00", "class_01", "class_02", "class_03", "class_04"]
    assert [info.is_thing for info in PSEUDO] == [False, False, False, True, True]
    assert len({info.color_rgb for info in PSEUDO}) == 5
    assert default_classes([True] * 27)[7].name == "class_07"


def test_json_round_trip(tmp_path):
    assert classes_from_json(json.loads(json.dumps(classes_to_json(PSEUDO)))) == PSEUDO
    path = tmp_path / "classes.json"
    path.write_text(json.dumps(classes_to_json(PSEUDO)))
    assert read_classes(path) == PSEUDO
    path.write_text("{")
    with pytest.raises(ValueError, match=r"classes\.json"):
        read_classes(path)


def test_doubles_are_named():
    with pytest.raises(ValueError, match="class_id 0 is used by 2 classes"):
        check_classes([ROAD, ClassInfo(0, "street", False, (1, 2, 3))])
    with pytest.raises(ValueError, match="name 'road' is used by 3 classes"):
        check_classes([ClassInfo(index, "road", False, (1, 2, 3)) for index in range(3)])


GOOD = {"class_id": 1, "name": "sky", "is_thing": False, "color_rgb": [1, 2, 3]}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({}, "must be a list"),
        (["sky"], "entry 0 must have exactly the keys"),
        ([{**GOOD, "colour": 1}], "exactly the keys"),
        ([GOOD, {key: GOOD[key] for key in ("class_id", "name")}], "entry 1 must have exactly"),
        ([{**GOOD, "class_id": "1"}], "class_id of class entry 0 has the wrong type"),
        ([{**GOOD, "class_id": True}], "class_id of class entry 0 has the wrong type"),
        ([{**GOOD, "is_thing": 1}], "is_thing of class entry 0"),
        ([{**GOOD, "class_id": 255}], "255 is void"),
        ([{**GOOD, "name": ""}], "empty name"),
        ([{**GOOD, "color_rgb": [1, 2]}], "three whole numbers"),
        ([{**GOOD, "color_rgb": [1, 2, 0.5]}], "three whole numbers"),
        ([{**GOOD, "color_rgb": [1, 2, 256]}], r"0\.\.255"),
        ([GOOD, GOOD], "used by 2 classes"),
    ],
)
def test_wrong_tables_are_named(content, words):
    with pytest.raises(ValueError, match=words):
        classes_from_json(content)


def test_mapping_names_merges_and_voids():
    mapping = ClassNaming((ROAD, SKY, CAR), {0: 0, 1: 0, 2: None, 3: 2})
    frame = check_frame(mapping.apply(FRAME))
    assert frame.class_map().tolist() == [[0, 0, 0, 0], [255, 255, 2, 2], [255, 255, 2, 255]]
    assert frame.track_map().tolist() == [[0, 0, 0, 0], [0, 0, 11, 11], [0, 0, 11, 0]]
    assert len(frame.segments) == 2
    road = frame.segment(int(frame.segment_ids[0, 0]))
    assert (road.area_px, road.bbox_xywh, road.score) == (4, (0, 0, 4, 1), 1.0)
    car = frame.segment(int(frame.segment_ids[1, 2]))
    assert (car.segment_id, car.score, car.area_px) == (FRAME.segment_ids[1, 2], 0.5, 3)
    assert (frame.stamp_ns, frame.frame_index) == (5, 6)


def test_mapping_between_things_and_stuff():
    mapping = ClassNaming((ROAD, SKY, CAR), {0: 2, 3: 1, 4: 2})
    frame = check_frame(mapping.apply(FRAME))
    crowd = frame.segment(int(frame.segment_ids[0, 0]))  # stuff called a car: nobody knows how many cars
    assert (crowd.class_id, crowd.is_thing, crowd.track_id, crowd.ignore) == (2, True, 0, True)
    sky = frame.segment(int(frame.segment_ids[1, 2]))  # a thing called sky has no track any more
    assert (sky.class_id, sky.is_thing, sky.track_id) == (1, False, 0)
    assert frame.segment(int(frame.segment_ids[2, 0])).track_id == 12


def test_mapping_weighs_scores_by_area():
    from dataclasses import replace

    rows = tuple(replace(row, score=0.2 if row.class_id == 0 else 1.0) for row in FRAME.segments)
    big = replace(FRAME, segments=tuple(replace(row, area_px=3) if row.class_id == 0 else row for row in rows))
    frame = ClassNaming((ROAD,), {0: 0, 1: 0}).apply(big)
    assert frame.segments[0].score == pytest.approx((3 * 0.2 + 2 * 1.0) / 5)


def test_mapping_to_an_unknown_class_is_refused():
    with pytest.raises(ValueError, match="pseudo-class 3 maps to class 9"):
        ClassNaming((ROAD,), {3: 9})
