from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from tests.training.export.micro import FRAMES, write_world_clip

from videocups.export.loss import Loss, Maps, Scores, fullest, loss_complaints, measure_loss
from videocups.export.views import Views, open_pictures, open_views
from videocups_core.engine.base import InputSpec
from videocups_core.standin import StandInOracle, StandInWorld, standin_classes

CLASSES = standin_classes()


def true_maps(count: int = FRAMES) -> list[list[Maps]]:
    oracle = StandInOracle(StandInWorld())
    frames = [oracle.step(index, index) for index in range(count)]
    return [[(frame.class_map().astype(np.int32), frame.track_map().astype(np.int64)) for frame in frames]]


def test_labelled_clips_bring_their_truth(clip: Path) -> None:
    views = open_views(clip, None, count=3)
    assert len(views) == 3
    assert views.dataset is not None
    (stretch,) = views.stretches
    assert stretch[0].truth is not None
    np.testing.assert_array_equal(stretch[0].image_rgb, StandInWorld().image_rgb(0))
    np.testing.assert_array_equal(stretch[0].truth[0], true_maps()[0][0][0])


def test_clips_share_the_frames_and_unlabelled_ones_have_no_truth(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_world_clip(tmp_path / name, labelled=name == "a")
    views = open_views(tmp_path, None, count=4)  # one clip lacks labels
    assert views.dataset is None
    assert [len(stretch) for stretch in views.stretches] == [2, 2]
    np.testing.assert_array_equal(views.stretches[1][0].image_rgb, StandInWorld().image_rgb(1))  # from the middle
    assert open_views(tmp_path / "a", "none", count=4).dataset is None


def test_fewer_frames_are_the_first_of_each(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        write_world_clip(tmp_path / name, labelled=False)
    views = open_views(tmp_path, None, count=9)
    assert [len(stretch) for stretch in views.fewer(4).stretches] == [2, 2, 2]
    assert [len(stretch) for stretch in views.fewer(2).stretches] == [1, 1]
    assert views.fewer(2).stretches[0][0] is views.stretches[0][0]


def test_the_picture_is_of_the_frame_with_most_objects(clip: Path) -> None:
    views = open_views(clip, None, FRAMES)
    maps = [[(classes, np.zeros_like(ids)) for classes, ids in true_maps()[0]]]
    assert fullest(views, []) is fullest(views, maps) is views.stretches[0][0]
    maps[0][2][1][5:9, 5:9] = 1
    maps[0][1][1][0, 0] = 3
    assert fullest(views, maps) is views.stretches[0][2]


def test_float32_may_lose_no_pq_either() -> None:
    scores = Scores(50, 50, 50, 40)
    loss = Loss(4, "the truth", scores, replace(scores, stq=49.5, pq=38), scores)
    assert loss_complaints(loss, "int8", 1) == []
    assert loss_complaints(loss, "fp32", 1) == ["fp32 costs 2.00 points of PQ (limit 1)"]
    assert loss_complaints(loss, "int8", 0.4) == ["int8 costs 0.50 points of STQ (limit 0.4)"]


def test_pictures_are_taken_from_clips_or_from_a_dataset(tmp_path: Path, clip: Path) -> None:
    """Rendered clips have truth of their own, streets have a clip.json of another kind: both can be calibrated on."""
    assert open_pictures(clip, "streets", 2).dataset is None  # clips, whose truth is not read
    street = tmp_path / "street"
    (street / "frames").mkdir(parents=True)
    names = {str(number): name for number, name in enumerate(("road", "car"))}
    (street / "clip.json").write_text(json.dumps({"fps": 10, "classes": names, "thing_classes": [1]}))
    for kind, image in (("class", np.ones((8, 8), np.uint8)), ("track", np.ones((8, 8), np.uint16))):
        (street / "truth" / kind).mkdir(parents=True)
        cv2.imwrite(str(street / "truth" / kind / "000000.png"), image)
    cv2.imwrite(str(street / "frames" / "000000.jpg"), np.full((8, 8, 3), 90, np.uint8))
    views = open_pictures(tmp_path, "streets", 2)
    assert [frame.image_rgb.shape for frame in views.frames()] == [(8, 8, 3)]


def test_frames_become_network_images(clip: Path) -> None:
    images = open_views(clip, "none", FRAMES).network_images(InputSpec(64, 192), 2)
    assert [image.shape for image in images] == [(1, 64, 192, 3)] * 2
    assert (images[0][0, :, 128:] == 0).all()  # letterbox: 512×256 in 192×64 fills 128×64
    assert (images[0] != images[1]).any()


def test_without_clips_frames_are_drawn_and_always_the_same() -> None:
    first, second = (open_views(None, None, 2) for _ in range(2))
    for one, other in zip(first.frames(), second.frames(), strict=True):
        np.testing.assert_array_equal(one.image_rgb, other.image_rgb)


def test_the_truth_loses_nothing_against_itself(clip: Path) -> None:
    views = open_views(clip, None, FRAMES)
    maps = true_maps()
    loss = measure_loss(views, CLASSES, maps, maps)
    assert (loss.reference.stq, loss.reference.pq, loss.stq_points, loss.pq_points) == (100, 100, 0, 0)
    assert loss.agreement.stq == 100


def test_a_class_that_is_lost_costs_what_it_should(clip: Path) -> None:
    """A prediction that calls every sky pixel a building: by hand, SQ falls by the two classes' IoUs."""
    views = open_views(clip, None, FRAMES)
    right = true_maps()
    wrong = [[(np.where(classes == 0, 1, classes).astype(np.int32), ids) for classes, ids in right[0]]]
    loss = measure_loss(views, CLASSES, right, wrong)
    sky, building = (sum(int((classes == c).sum()) for classes, _ in right[0]) for c in (0, 1))
    present = len({int(c) for classes, _ in right[0] for c in np.unique(classes)})
    expected_sq = 100 * (present - 2 + building / (building + sky)) / present
    assert loss.other.aq == 100
    assert loss.other.sq == pytest.approx(expected_sq)
    assert loss.stq_points == pytest.approx(100 - np.sqrt(100 * expected_sq))
    assert loss.pq_points > 0
    assert loss.agreement.sq == pytest.approx(expected_sq)


def test_without_a_truth_the_reference_is_it(clip: Path) -> None:
    views: Views = replace(open_views(clip, None, FRAMES), dataset=None)
    right = true_maps()
    swapped = [[(classes, np.where(ids == 1, 999, ids)) for classes, ids in right[0]]]
    loss = measure_loss(views, CLASSES, right, swapped)
    assert loss.against == "the torch network's answer"
    assert loss.reference.stq == 100
    assert loss.stq_points == 0  # another name for a track is no other track
    broken = [
        [(classes, np.where((ids == 1) & (index > 1), 999, ids)) for index, (classes, ids) in enumerate(right[0])]
    ]
    assert measure_loss(views, CLASSES, right, broken).stq_points > 0


def test_frames_that_prove_nothing_are_refused(clip: Path) -> None:
    views, maps = open_views(clip, None, FRAMES), true_maps()
    empty = [[(classes, np.zeros_like(ids)) for classes, ids in maps[0]]]
    with pytest.raises(ValueError, match=f"shows no object in {FRAMES} frames"):
        measure_loss(replace(views, dataset=None), CLASSES, empty, empty)
    assert views.dataset is not None
    nothing = np.full_like(maps[0][0][0], views.dataset.void), np.zeros_like(maps[0][0][1])
    unknown = tuple(replace(frame, truth=nothing) for frame in views.stretches[0])
    with pytest.raises(ValueError, match=f"no pixel of {FRAMES} frames has a true class"):
        measure_loss(replace(views, stretches=(unknown,)), CLASSES, maps, maps)
