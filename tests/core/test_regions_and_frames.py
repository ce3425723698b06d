"""Runs, boxes and frames from maps, against loops over pixels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from videocups_core.panoptic.frames import check_frame, panoptic_from_maps
from videocups_core.panoptic.regions import measure_regions, row_runs
from videocups_core.types import ClassInfo, PanopticFrame, Segment

ROAD, SKY = ClassInfo(0, "road", False, (1, 2, 3)), ClassInfo(7, "sky", False, (4, 5, 6))
CAR, PERSON = ClassInfo(2, "car", True, (7, 8, 9)), ClassInfo(3, "person", True, (9, 9, 9))
CLASSES = (ROAD, CAR, PERSON, SKY)
PROPERTY = settings(max_examples=80, deadline=None)
ID_MAPS = npst.arrays(
    np.uint16, npst.array_shapes(min_dims=2, max_dims=2, max_side=10), elements=st.sampled_from([0, 1, 2, 300, 65_535])
)


@PROPERTY
@given(ids=ID_MAPS)
def test_runs_rebuild_the_image_and_are_maximal(ids):
    runs = row_runs(ids)
    rebuilt = np.full(ids.shape, 9, np.uint16)
    for value, row, start, length in zip(runs.values, runs.rows, runs.starts, runs.lengths, strict=True):
        rebuilt[row, start : start + length] = value
        assert start + length == ids.shape[1] or ids[row, start + length] != value
    np.testing.assert_array_equal(rebuilt, ids)
    assert runs.lengths.sum() == ids.size


@PROPERTY
@given(ids=ID_MAPS)
def test_areas_and_boxes_against_masks(ids):
    regions = measure_regions(ids)
    assert regions.ids.tolist() == sorted(set(ids.ravel().tolist()) - {0})
    for segment_id, area, box in zip(regions.ids, regions.areas_px, regions.boxes_xywh, strict=True):
        rows, columns = np.nonzero(ids == segment_id)
        assert area == len(rows)
        x, y, width, height = columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1
        assert box.tolist() == [x, y, width, height]


def test_an_image_without_pixels_or_segments_has_no_regions():
    for shape in ((0, 0), (0, 5), (5, 0), (4, 4)):
        regions = measure_regions(np.zeros(shape, np.uint16))
        assert len(regions.ids) == 0
        assert regions.boxes_xywh.shape == (0, 4)


def test_from_maps_by_hand():
    class_map = np.array([[7, 7, 7, 7], [0, 2, 2, 2], [0, 2, 3, 255]], np.uint8)
    track_map = np.array([[0, 0, 0, 0], [0, 5, 5, 6], [0, 5, 0, 0]], np.uint16)
    frame = panoptic_from_maps(class_map, track_map, CLASSES, 42, frame_index=3, scores={5: 0.5}, ages={5: 4})
    assert frame.segment_ids.tolist() == [[8, 8, 8, 8], [1, 260, 260, 261], [1, 260, 4, 0]]
    assert (frame.stamp_ns, frame.frame_index, len(frame.segments)) == (42, 3, 5)
    assert frame.segment(260) == Segment(260, 2, True, 5, 0.5, age=4, area_px=3, bbox_xywh=(1, 1, 2, 2))
    assert frame.segment(8) == Segment(8, 7, False, area_px=4, bbox_xywh=(0, 0, 4, 1))
    crowd = frame.segment(4)  # a person nobody told apart
    assert (crowd.is_thing, crowd.track_id, crowd.ignore) == (True, 0, True)


@PROPERTY
@given(data=st.data(), shape=npst.array_shapes(min_dims=2, max_dims=2, max_side=8))
def test_from_maps_gives_the_maps_back(data, shape):
    class_map = data.draw(npst.arrays(np.uint8, shape, elements=st.sampled_from([0, 2, 3, 7, 255])))
    track_ids = [0, 1, 2, 65_280, 65_281, 1 << 40, (1 << 64) - 1]
    track_map = data.draw(npst.arrays(np.uint64, shape, elements=st.sampled_from(track_ids)))
    track_map[~np.isin(class_map, [2, 3])] = 0
    frame = check_frame(panoptic_from_maps(class_map, track_map, CLASSES, 0))
    np.testing.assert_array_equal(frame.class_map(), class_map)
    np.testing.assert_array_equal(frame.track_map(), track_map)
    wanted = {(int(c), int(t)) for c, t in zip(class_map.ravel(), track_map.ravel(), strict=True) if c != 255}
    assert {(row.class_id, row.track_id) for row in frame.segments} == wanted


def test_segment_ids_do_not_depend_on_what_else_is_visible():
    def id_of_car_9(others):
        class_map = np.full((1, 1 + len(others)), 2, np.uint8)
        frame = panoptic_from_maps(class_map, np.array([[9, *others]]), CLASSES, 0)
        return int(frame.segment_ids[0, 0])

    assert id_of_car_9([]) == id_of_car_9([1, 2, 3]) == id_of_car_9([500, 65_000]) == 255 + 9


def test_a_frame_holds_65_535_segments_and_no_more():
    tracks = np.arange(1, 65_536).reshape(1, -1)
    frame = panoptic_from_maps(np.full(tracks.shape, 2, np.uint8), tracks, CLASSES, 0)
    assert len(frame.segments) == len(np.unique(frame.segment_ids)) == 65_535
    np.testing.assert_array_equal(frame.track_map(), tracks)
    tracks = np.arange(1, 65_537).reshape(1, -1)
    with pytest.raises(ValueError, match="65535 segments at most, got 65536"):
        panoptic_from_maps(np.full(tracks.shape, 2, np.uint8), tracks, CLASSES, 0)


@pytest.mark.parametrize(
    ("class_map", "track_map", "words"),
    [
        (np.array([[9]], np.uint8), np.array([[0]]), "class 9, which is not among"),
        (np.array([[0]], np.uint8), np.array([[4]]), "track 4 covers pixels of class 0"),
        (np.array([[255]], np.uint8), np.array([[4]]), "track 4 covers pixels of class 255"),
        (np.array([[2]], np.uint8), np.array([[-4]]), "at least 0"),
        (np.array([[2]], np.uint8), np.array([[1.0]]), "integers"),
        (np.array([[2]], np.int32), np.array([[1]]), "uint8"),
        (np.array([[2]], np.uint8), np.array([[1, 1]]), "same shape"),
    ],
)
def test_maps_that_contradict_themselves_are_refused(class_map, track_map, words):
    with pytest.raises(ValueError, match=words):
        panoptic_from_maps(class_map, track_map, CLASSES, 0)


def test_check_frame_names_an_id_without_row():
    frame = PanopticFrame(0, np.array([[0, 1, 77]], np.uint16), (Segment(1, 0, False),))
    with pytest.raises(ValueError, match="segment_id 77 is in the image but has no row"):
        check_frame(frame)
