"""Which pairs of which clips are learned from."""

from __future__ import annotations

import json
import shutil

import cv2
import numpy as np
import pytest
from tests.training.train.film import BAR, CLASSES, DISC, ROAD, SKY, write_film

from videocups.model.classes import IGNORE, THING, ClassTable
from videocups.train.labelled_clips import LabelledFrames, PairIndex
from videocups.train.panoptic_config import PairConfig
from videocups_core.labels import default_classes
from videocups_core.panoptic.frames import panoptic_from_maps
from videocups_core.panoptic.storage import PanopticClipWriter


def opened(folders, working_height=64, table=None, **settings):
    return LabelledFrames(
        folders, PairConfig(height=64, width=128, **settings), working_height=working_height, table=table
    )


def test_all_consecutive_pairs_of_all_clips(films):
    index = PairIndex(opened(films))
    assert index.pairs == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]
    assert index.left_out == 0
    assert PairIndex(opened(films, gap=2)).pairs == [(0, 0), (0, 1), (1, 0), (1, 1)]


def test_frames_whose_labels_failed_are_left_out(tmp_path):
    film = write_film(tmp_path / "film", 3, frames=6)
    (film / "left_out.json").write_text(json.dumps({"without_classes": [2], "without_tracks": [4]}))
    index = PairIndex(opened([film]))
    assert index.pairs == [(0, 0), (0, 3), (0, 4)]
    assert index.left_out == 2


def test_pairs_without_enough_objects_are_left_out_and_none_at_all_is_an_error(tmp_path):
    film = write_film(tmp_path / "film", 3, frames=3, objects=2)
    assert len(PairIndex(opened([film], min_objects=2))) == 2
    with pytest.raises(ValueError, match=r"none of 2 pairs of frames in 1 clips can be trained on.*lower data.min_obj"):
        PairIndex(opened([film], min_objects=3))


def test_a_clip_with_truth_alone_is_told_how_to_learn_from_it(tmp_path):
    film = write_film(tmp_path / "film", 3)
    (film / "panoptic").rename(film / "truth")
    with pytest.raises(ValueError, match="but the truth of a rendered or labelled clip; learn from it with --set data"):
        opened([film])


def test_clips_must_share_their_classes(tmp_path, films):
    other = tmp_path / "other"
    shutil.copytree(films[0], other)
    shutil.rmtree(other / "panoptic")
    with PanopticClipWriter(other, default_classes([False, True, True, True])) as writer:
        for stamp in range(4):
            maps = np.zeros((64, 128), np.uint8), np.zeros((64, 128), np.int32)
            writer.append(panoptic_from_maps(*maps, default_classes([False]), stamp))
    with pytest.raises(ValueError, match="labelled with different classes"):
        opened([films[0], other])


def test_unfinished_and_short_labels_are_refused(tmp_path, films):
    other = tmp_path / "other"
    shutil.copytree(films[0], other)
    table = json.loads((other / "panoptic" / "segments.json").read_text())
    table["frames"].pop()
    (other / "panoptic" / "segments.json").write_text(json.dumps(table))
    with pytest.raises(ValueError, match="4 frames but 3 labels"):
        opened([other])
    (other / "panoptic" / "segments.json").unlink()
    header = json.dumps({key: table[key] for key in ("schema_version", "classes")})
    (other / "panoptic" / "segments.jsonl").write_text(header + "\n")
    with pytest.raises(ValueError, match="is not finished"):
        opened([other])


def test_frames_shrink_to_the_working_size_and_labels_with_them(tmp_path):
    film = write_film(tmp_path / "film", 3, size_hw=(128, 256))
    image, labels = opened([film], working_height=64).frame(0, 0)
    assert image.shape == (64, 128, 3)
    assert labels.semantic.shape == labels.objects.shape == (64, 128)
    assert set(np.unique(labels.semantic)) == {THING, 1, 2}
    assert set(np.unique(labels.objects)) == {0, 1, 2, 3}


def test_truth_images_are_labels_too_and_classes_merge(tmp_path):
    film = write_film(tmp_path / "film", 3, frames=1)
    shutil.rmtree(film / "panoptic")
    names = {"0": "sky", "1": "road", "2": "disc", "3": "bar", "4": "lane"}
    (film / "truth" / "class").mkdir(parents=True)
    (film / "truth" / "track").mkdir()
    (film / "truth" / "truth.json").write_text(json.dumps({"classes": names, "thing_classes": [2, 3]}))
    classes, tracks = np.full((64, 128), ROAD, np.uint8), np.zeros((64, 128), np.uint16)
    classes[:10], classes[10:20], classes[20:30], classes[30:40], classes[40:50] = SKY, 4, DISC, BAR, IGNORE
    tracks[20:30], tracks[50:] = 5, 6  # the id on the road means nothing; the bars have none
    cv2.imwrite(str(film / "truth" / "class" / "000000.png"), classes)
    cv2.imwrite(str(film / "truth" / "track" / "000000.png"), tracks)
    frames = opened([film], labels="truth", merge={"lane": "road"})
    assert [info.name for info in (*frames.table.stuff, *frames.table.things)] == ["sky", "road", "disc", "bar"]
    _, labels = frames.frame(0, 0)
    assert labels.tracks == (5,)
    assert labels.semantic[[0, 15, 25, 35, 45, 60], 0].tolist() == [1, 2, THING, THING, IGNORE, 2]
    assert labels.objects[[0, 15, 25, 35, 45, 60], 0].tolist() == [0, 0, 1, 65535, 65535, 0]
    with pytest.raises(ValueError, match=r"data.merge names \['kerb'\]"):
        opened([film], labels="truth", merge={"kerb": "road"})


def test_with_a_table_nothing_is_read_of_the_labels(tmp_path, films):
    bare = tmp_path / "bare"
    shutil.copytree(films[0], bare)
    shutil.rmtree(bare / "panoptic")
    frames = opened([bare], table=ClassTable.of(CLASSES))
    assert len(PairIndex(frames)) == 3
    _, labels = frames.frame(0, 0)
    assert (labels.semantic == IGNORE).all()
    assert labels.tracks == ()


def test_frames_are_read_once_as_long_as_memory_lasts(films):
    frames = opened(films[:1])
    assert frames.frame(0, 1)[0] is frames.frame(0, 1)[0]
    forgetful = opened(films[:1], cache_mib=0)
    assert forgetful.frame(0, 1)[0] is not forgetful.frame(0, 1)[0]
    assert (forgetful.frame(0, 1)[0] == frames.frame(0, 1)[0]).all()
