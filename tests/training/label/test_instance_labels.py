"""What the classical branch does with clips as they really come."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from videocups.cues.known_depth import KnownDepth
from videocups.instances.quality import MaskQuality
from videocups.label.config import PRESETS
from videocups.label.instance_labels import label_instances

FAST, QUALITY = PRESETS["fast"], PRESETS["quality"]


def label(images, camera, config=FAST):
    return list(label_instances(images.__getitem__, len(images), camera, config))


def share_moving(labels):
    return float(np.mean([found.cues.motion > 0.15 for found in labels]))


def passing_cars(frames):
    """A still street with two textured boxes that pass at 4 and -3 px a frame; returns images and true labels."""
    rng = np.random.default_rng(0)

    def texture(height, width):
        return cv2.GaussianBlur(rng.integers(0, 255, (height, width, 3)).astype(np.uint8), (0, 0), 1.5)

    background, near, far = texture(128, 256), texture(40, 60), texture(24, 44)
    images, truths = [], []
    for at in range(frames):
        image, truth = background.copy(), np.zeros((128, 256), np.int32)
        for number, box, top, left in ((1, near, 70, 40 + 4 * at), (2, far, 56, 180 - 3 * at)):
            height, width = box.shape[:2]
            image[top : top + height, left : left + width] = box
            truth[top : top + height, left : left + width] = number
        images.append(image)
        truths.append(truth)
    return images, truths


def test_traffic_before_a_standing_camera_is_found_and_keeps_its_ids(render):
    images, truths = passing_cars(6)
    labels = label(images, render(5, "parked", 1).camera, QUALITY)
    assert [found.cues.pair.motion.kind for found in labels[:-1]] == ["standing"] * 5
    quality = MaskQuality(min_iou=0.7, areas_px=(100,))
    for found, truth in zip(labels, truths, strict=True):
        quality.add(found.instances, truth)
    assert quality.recall(100) == 1.0
    assert quality.precision(100) > 0.8
    for number in (1, 2):
        ids = {
            int(np.bincount(found.tracks[truth == number]).argmax())
            for found, truth in zip(labels, truths, strict=True)
        }
        assert len(ids) == 1


def test_a_street_where_nothing_moves_has_no_objects(render):
    clip = render(5, "parked", 5)
    labels = label(clip.images, clip.camera)
    assert all(found.cues.known for found in labels)
    assert {found.cues.pair.motion.kind for found in labels[:-1]} == {"moving"}
    assert share_moving(labels) < 0.01
    assert sum(found.instances.max() for found in labels) <= 2


def test_one_frame_says_nothing_and_does_not_claim_stillness(render):
    clip = render(5, "parked", 1)
    (only,) = label(clip.images, clip.camera)
    assert not only.cues.known
    assert not only.instances.any()
    assert only.cues.pair is None
    assert np.isfinite(only.cues.depth_heights).all()


def test_the_same_frame_twice_is_a_standing_camera(render):
    clip = render(5, "parked", 1)
    labels = label(clip.images * 3, clip.camera)
    assert [found.cues.pair.motion.kind for found in labels[:-1]] == ["standing", "standing"]
    assert not any(found.instances.any() for found in labels)


def test_black_frames_part_the_clip(render):
    clip = render(5, "parked", 6)
    images = list(clip.images)
    images[2] = np.zeros_like(images[2])
    images[3] = np.zeros_like(images[3])
    labels = label(images, clip.camera)
    assert [found.cues.known for found in labels] == [True, True, False, False, True, True]
    assert not labels[2].cues.pair.flow.visible_forward.any()
    assert share_moving(labels) < 0.01


def test_a_cut_parts_the_clip(render):
    first, second = render(5, "parked", 3), render(2, "stand", 3)
    labels = label([*first.images, *second.images], first.camera)
    assert labels[2].cues.pair.motion.kind == "unknown"
    assert all(found.cues.known for found in labels)  # each frame still has a neighbour of its own scene
    before = set(np.unique([found.tracks for found in labels[:3]])) - {0}
    after = set(np.unique([found.tracks for found in labels[3:]])) - {0}
    assert not before & after


def test_a_jump_of_the_exposure_moves_nothing(render):
    clip = render(5, "parked", 6)
    images = [
        image if index < 3 else np.clip(image * 0.6 + 10, 0, 255).astype(np.uint8)
        for index, image in enumerate(clip.images)
    ]
    labels = label(images, clip.camera)
    assert all(found.cues.known for found in labels)
    assert share_moving(labels) < 0.02


def test_depth_is_in_camera_heights(render):
    clip = render(5, "parked", 5)
    labels = label(clip.images, clip.camera, QUALITY)
    for found, frame in zip(labels[1:-1], clip.frames[1:-1], strict=True):
        road = (frame.depth_m > 4) & (frame.depth_m < 15)
        ratio = frame.depth_m[road] / found.cues.depth_heights[road]
        assert np.median(ratio) == pytest.approx(1.55, rel=0.08)  # the camera's height in the rendered world


def test_the_cues_of_a_frame_do_not_depend_on_what_comes_much_later(render):
    clip = render(2, "stand", 6)
    short, long = label(clip.images[:4], clip.camera), label(clip.images, clip.camera)
    for index in range(3):
        np.testing.assert_array_equal(short[index].instances, long[index].instances)


def test_motion_is_held_against_a_depth_that_is_known(render):
    clip = render(5, "drive", 4)
    true = {frame.rgb.tobytes(): frame.depth_m for frame in clip.frames}

    def known(share):
        def of_image(rgb):
            depth = true[rgb.tobytes()]
            inverse = np.where(depth > 0, 1 / np.maximum(depth, 1e-3), 1 / 250).astype(np.float32)
            nearer = np.where((inverse > 1 / 40) & (inverse < 1 / 8), share, 1).astype(np.float32)
            return KnownDepth(inverse * nearer, np.full(inverse.shape, 0.05, np.float32))

        return of_image

    read = clip.images.__getitem__
    shares = [
        share_moving(list(label_instances(read, 4, clip.camera, QUALITY, known=depth)))
        for depth in (None, known(1), known(3))
    ]
    # what is said to be three times nearer than its parallax must be moving, where it does not stand on the ground
    assert shares[2] > shares[1] + 0.001
    assert abs(shares[1] - shares[0]) < 0.001
