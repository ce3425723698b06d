"""Write a few pixels in each official layout and read them back; expected maps are written out by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from videocups.evaluate.datasets import LayoutError, TableDataset, dataset_names, load_spec, open_dataset

V = 255  # void


def maps(dataset: TableDataset, key: str, name: str) -> tuple[list[list[int]], list[list[int]]]:
    (sequence,) = (s for s in dataset.sequences() if s.key == key)
    (frame,) = (f for f in sequence.frames if f.name == name)
    class_map, ids = dataset.truth(sequence, frame)
    assert class_map.dtype == np.uint8
    assert ids.dtype == np.uint32
    return class_map.tolist(), ids.tolist()


def array(rows: list[list[int]]) -> NDArray[np.int64]:
    return np.array(rows)


# Road 7, sky 23, car group 26 (no instance), two cars 26000 and 26001, ego vehicle 1, caravan 29.
INSTANCE_IDS = array([[7, 7, 23, 26], [26000, 26001, 1, 29]]).astype(np.uint16)


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("cityscapes", "gtFine/val/ulm/ulm_000000_000019_gtFine_instanceIds.png"),
        ("kitti-panoptic", "validation/cityscapes_instance_format/000000_10.png"),
    ],
)
def test_instance_ids_on_19_classes(tmp_path: Path, png: Any, name: str, file: str) -> None:
    png(tmp_path / file, INSTANCE_IDS)
    dataset = open_dataset(name, tmp_path)
    key = "ulm_000000_000019" if name == "cityscapes" else "000000_10"
    # the car group is a thing pixel without id, that is crowd; ego vehicle and caravan are not evaluated
    assert maps(dataset, key, key) == ([[0, 0, 10, 13], [13, 13, V, V]], [[0, 0, 0, 0], [26000, 26001, 0, 0]])
    assert dataset.things == set(range(11, 19))
    assert not dataset.has_video_ids


@pytest.mark.parametrize("name", ["cityscapes-27", "kitti-panoptic-27"])
def test_instance_ids_on_27_classes(tmp_path: Path, png: Any, name: str) -> None:
    cityscapes = name == "cityscapes-27"
    key = "ulm_000000_000019" if cityscapes else "000000_10"
    file = (
        f"gtFine/val/ulm/{key}_gtFine_instanceIds.png"
        if cityscapes
        else f"validation/cityscapes_instance_format/{key}.png"
    )
    png(tmp_path / file, INSTANCE_IDS)
    # ids shifted by 7: road 0, sky 16, car 19, and the caravan (29 -> 22) is a class of its own
    assert maps(open_dataset(name, tmp_path), key, key)[0] == [[0, 0, 16, 19], [19, 19, V, 22]]


def test_cityscapes_panoptic_json(tmp_path: Path, coco: Any) -> None:
    ids = array([[7, 7, 23, 26], [26000, 26001, 0, 26001]])
    rows = [
        {"id": 7, "category_id": 7, "iscrowd": 0},
        {"id": 23, "category_id": 23, "iscrowd": 0},
        {"id": 26, "category_id": 26, "iscrowd": 1},
        {"id": 26000, "category_id": 26, "iscrowd": 0},
        {"id": 26001, "category_id": 26, "iscrowd": 0},
    ]
    folder = tmp_path / "gtFine"
    file = "ulm_000000_000019_gtFine_panoptic.png"
    coco(
        folder / "cityscapes_panoptic_val.json",
        folder / "cityscapes_panoptic_val",
        {"ulm_000000_000019": (file, ids, rows)},
    )
    found = maps(open_dataset("cityscapes", tmp_path), "ulm_000000_000019", "ulm_000000_000019")
    assert found == ([[0, 0, 10, 13], [13, 13, V, 13]], [[0, 0, 0, 0], [26000, 26001, 0, 26001]])


def test_cityscapes_panoptic_json_with_train_ids(tmp_path: Path, coco: Any) -> None:
    folder = tmp_path / "gtFine"
    image = ("ulm_000000_000019_gtFine_panoptic.png", array([[7, 26000]]), [
        {"id": 7, "category_id": 0, "iscrowd": 0},
        {"id": 26000, "category_id": 13, "iscrowd": 0},
    ])  # fmt: skip
    name = "cityscapes_panoptic_val_trainId"
    coco(folder / f"{name}.json", folder / name, {"ulm_000000_000019": image})
    found = maps(open_dataset("cityscapes", tmp_path), "ulm_000000_000019", "ulm_000000_000019")
    assert found == ([[0, 13]], [[0, 26000]])


def test_cityscapes_vps(tmp_path: Path, coco: Any, png: Any) -> None:
    road, car = {"id": 901, "category_id": 0, "iscrowd": 0}, {"id": 65_700, "category_id": 13, "iscrowd": 0}
    name = "0005_{:04d}_frankfurt_000000_0017{:02d}"
    images = {
        name.format(n, n): (f"{name.format(n, n)}_final_mask.png", array([[901, 65_700], [0, 65_700]]), [road, car])
        for n in (25, 30)
    }
    coco(tmp_path / "panoptic_gt_val_city_vps.json", tmp_path / "val/panoptic_video", images)
    for n in range(25, 31):  # all six frames of the video lie in img_all, two are labeled
        png(tmp_path / f"val/img_all/{name.format(n, n)}_newImg8bit.png", np.zeros((2, 2, 3), np.uint8))
    dataset = open_dataset("cityscapes-vps", tmp_path)
    (sequence,) = dataset.sequences()
    assert sequence.key == "0005"
    assert [frame.index for frame in sequence.frames] == [0, 5]
    assert len(sequence.context) == 4
    assert maps(dataset, "0005", name.format(25, 25)) == ([[0, 13], [V, 13]], [[0, 65_700], [0, 65_700]])
    assert dataset.image(sequence, sequence.frames[0]) is not None


def test_muses(tmp_path: Path, coco: Any) -> None:
    rows = [{"id": 300, "category_id": 21, "iscrowd": 0}, {"id": 5, "category_id": 24, "iscrowd": 1}]
    file = "clear/day/REC0006_frame_043620_gt_panoptic.png"
    coco(
        tmp_path / "gt_panoptic/val.json",
        tmp_path / "gt_panoptic/val",
        {"REC0006_frame_043620": (file, array([[300, 5, 0]]), rows)},
    )
    key = "REC0006_frame_043620"
    assert maps(open_dataset("muses", tmp_path), key, key) == ([[8, 11, V]], [[0, 0, 0]])


def test_muses_clear_day(tmp_path: Path, coco: Any) -> None:
    rows = [{"id": 300, "category_id": 26, "iscrowd": 0}]
    key, file = "REC0006_frame_043620", "REC0006_frame_043620_gt_panoptic.png"
    json_path = tmp_path / "gt_panoptic/gt_panoptic_by_condition/val_clear_day.json"
    coco(json_path, tmp_path / "gt_panoptic/val/clear/day", {key: (file, array([[300, 0]]), rows)})
    assert maps(open_dataset("muses-clear-day", tmp_path), key, key) == ([[13, V]], [[300, 0]])


def test_kitti_step(tmp_path: Path, png: Any, step: Any) -> None:
    for key in load_spec("kitti-step").splits["val"]:
        # a truck (14) with an id: only person and car are tracked, so the id is dropped; a car without id is crowd
        class_map, ids = array([[0, 13, 13], [14, 11, V]]), array([[0, 700, 0], [5, 65_535, 0]])
        png(tmp_path / f"panoptic_maps/val/{key}/000003.png", step(class_map, ids))
    dataset = open_dataset("kitti-step", tmp_path)
    assert [sequence.key for sequence in dataset.sequences()] == [f"{n:04d}" for n in (2, 6, 7, 8, 10, 13, 14, 16, 18)]
    assert dataset.things == {11, 13}
    assert maps(dataset, "0013", "000003") == ([[0, 13, 13], [14, 11, V]], [[0, 700, 0], [0, 65_535, 0]])


def test_a_missing_listed_sequence_is_named(tmp_path: Path, png: Any, step: Any) -> None:
    png(tmp_path / "panoptic_maps/val/0002/000000.png", step(array([[0]]), array([[0]])))
    with pytest.raises(LayoutError, match="0006, 0007"):
        open_dataset("kitti-step", tmp_path)
    assert len(open_dataset("kitti-step", tmp_path, sequences=["0002"]).sequences()) == 1


def test_motchallenge_step(tmp_path: Path, png: Any, step: Any) -> None:
    for key in ("0002", "0009"):
        png(
            tmp_path / f"panoptic_maps/train/{key}/000001.png",
            step(array([[0, 4, 4, 5, V]]), array([[0, 17, 0, 3, 0]])),
        )
    dataset = open_dataset("motchallenge-step", tmp_path)
    assert maps(dataset, "0009", "000001") == ([[0, 4, 4, 5, V]], [[0, 17, 0, 0, 0]])
    assert dataset.num_classes == 7
    assert dataset.sequences()[0].frames[0].index == 0  # frames count from 1 there, clips from 0


MOTS = array([[0, 2000, 2005], [10_000, 1003, 0]]).astype(np.uint16)


@pytest.mark.parametrize(
    ("name", "expected"), [("mots", [[0, 1, 1], [V, 0, 0]]), ("mots-background-ignored", [[V, 1, 1], [V, V, V]])]
)
def test_mots_png(tmp_path: Path, png: Any, name: str, expected: list[list[int]]) -> None:
    for key in ("0002", "0005", "0009", "0011"):
        png(tmp_path / f"instances/{key}/000001.png", MOTS)
    dataset = open_dataset(name, tmp_path)
    # instances count from 0 in MOTS and 0 means crowd to the metrics, so ids are one higher
    assert maps(dataset, "0005", "000001") == (expected, [[0, 1, 6], [0, 0, 0]])
    assert dataset.scored == ({0, 1} if name == "mots" else {1})


@pytest.mark.parametrize("file", ["instances_txt/0002.txt", "train/MOTS20-02/gt/gt.txt"])
def test_mots_text(tmp_path: Path, file: str) -> None:
    path = tmp_path / file
    path.parent.mkdir(parents=True)
    # 2 rows × 3 columns, runs down the columns: object 2000 is the second column (2, 2, 2), the ignore region (5, 1)
    path.write_text("1 2000 2 2 3 222\n1 10000 10 2 3 51\n7 2000 2 2 3 06\n")
    dataset = open_dataset("mots", tmp_path, sequences=["0002"])
    assert maps(dataset, "0002", "000001") == ([[0, 1, 0], [0, 1, V]], [[0, 1, 0], [0, 1, 0]])
    assert [frame.name for frame in dataset.sequences()[0].frames] == ["000001", "000007"]


def test_bdd100k(tmp_path: Path, png: Any) -> None:
    category = array([[7, 30, 35, 35, 35, 18]])
    attributes = array([[0, 0, 0b1100, 0b0010, 0b0001, 0]])  # truncated + occluded, crowd, ignore
    ids = array([[1, 2, 300, 4, 5, 6]])
    pixels = np.dstack([category, attributes, ids // 256, ids % 256]).astype(np.uint8)
    png(tmp_path / "labels/pan_seg/bitmasks/val/7d06fefd.png", pixels)
    assert maps(open_dataset("bdd100k", tmp_path), "7d06fefd", "7d06fefd") == (
        [[0, 10, 13, 13, V, V]],
        [[0, 0, 300, 0, 0, 0]],
    )
    assert maps(open_dataset("bdd100k-27", tmp_path), "7d06fefd", "7d06fefd")[0] == [[0, 16, 19, 19, V, V]]


@pytest.fixture
def waymo(tmp_path: Path, png: Any) -> Path:
    raw = np.full((20, 20), 20, np.uint16)  # road
    ids = np.zeros((20, 20), np.uint16)
    raw[:10, :10], ids[:10, :10] = 2, 40_000  # a car of exactly 100 px
    raw[12:14, :5], ids[12:14, :5] = 9, 7  # a pedestrian of 10 px
    raw[15, :3] = (21, 5, 8)  # lane marker, other large vehicle, trailer
    folder = tmp_path / "validation" / "segment-1"
    png(folder / "11_semantic.png", raw)
    png(folder / "11_instance.png", ids)
    return tmp_path


def test_waymo_with_every_object(waymo: Path) -> None:
    class_map, ids = (np.array(rows) for rows in maps(open_dataset("waymo-vps", waymo), "segment-1", "11"))
    assert (class_map[:10, :10] == 13).all()
    assert (ids[:10, :10] == 40_000).all()
    assert (class_map[12:14, :5] == 11).all()
    assert class_map[15, :4].tolist() == [0, 16, V, 0]
    assert open_dataset("waymo-vps", waymo).scored == set(range(19)) - {3, 4, 9}
    assert open_dataset("waymo-vps", waymo).things == set(range(11, 17))


def test_waymo_without_objects_below_100_px(waymo: Path) -> None:
    class_map, ids = (np.array(rows) for rows in maps(open_dataset("waymo-vps-100px", waymo), "segment-1", "11"))
    assert (class_map[:10, :10] == 13).all()  # 100 px is enough
    assert (class_map[12:14, :5] == V).all()
    assert (ids[12:14, :5] == 0).all()
    assert class_map[15, 1] == 16  # pixels without an id are no object


def test_centre_crop_of_27_classes(tmp_path: Path, png: Any) -> None:
    raw = np.full((640, 1280), 23, np.uint16)  # sky, and one road block that lies in the middle
    raw[300:340, 620:660] = 7
    png(tmp_path / "gtFine/val/ulm/ulm_000000_000019_gtFine_instanceIds.png", raw)
    dataset = open_dataset("cityscapes-27-crop", tmp_path)
    class_map = np.array(maps(dataset, "ulm_000000_000019", "ulm_000000_000019")[0])
    assert class_map.shape == (320, 320)
    assert np.count_nonzero(class_map == 0) == 20 * 20
    assert dataset.prepare(raw).shape == (320, 320)


def write_street(root: Path, png: Any, names: dict[str, str]) -> None:
    png(root / "truth/class/000000.png", array([[0, 1, 2], [3, 6, 255]]).astype(np.uint8))
    png(root / "truth/track/000000.png", array([[0, 0, 0], [0, 300, 0]]).astype(np.uint16))
    (root / "clip.json").write_text(json.dumps({"classes": names, "thing_classes": [6]}))


NAMES = {"0": "sky", "1": "road", "2": "lane_line", "3": "crosswalk", "6": "car", "255": "other"}


@pytest.mark.parametrize("name", ["streets", "rendered"])
def test_streets_merge_markings_into_road(tmp_path: Path, png: Any, name: str) -> None:
    write_street(tmp_path / "clip_a", png, NAMES)
    dataset = open_dataset(name, tmp_path)
    assert [info.name for info in dataset.classes] == ["sky", "road", "car"]
    assert maps(dataset, "clip_a", "000000") == ([[0, 1, 1], [1, 2, V]], [[0, 0, 0], [0, 300, 0]])
    assert dataset.things == {2}
    # the root may be the clip itself
    assert maps(open_dataset(name, tmp_path / "clip_a"), "clip_a", "000000")[0] == [[0, 1, 1], [1, 2, V]]


def test_streets_with_different_classes_are_refused(tmp_path: Path, png: Any) -> None:
    write_street(tmp_path / "clip_a", png, NAMES)
    write_street(tmp_path / "clip_b", png, {**NAMES, "1": "street"})
    with pytest.raises(LayoutError, match="different classes"):
        open_dataset("streets", tmp_path)


def test_a_class_outside_the_table_is_an_error_not_void(tmp_path: Path, png: Any) -> None:
    write_street(tmp_path / "clip_a", png, {key: name for key, name in NAMES.items() if key != "3"})
    dataset = open_dataset("streets", tmp_path)
    with pytest.raises(ValueError, match="holds class 3"):
        maps(dataset, "clip_a", "000000")


@pytest.mark.parametrize("name", dataset_names())
def test_a_wrong_folder_shows_the_expected_tree(tmp_path: Path, name: str) -> None:
    (tmp_path / "something.txt").write_text("else")
    with pytest.raises(LayoutError) as error:
        open_dataset(name, tmp_path)
    assert load_spec(name).tree in str(error.value)
    assert load_spec(name).title in str(error.value)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match="does not exist"):
        open_dataset("kitti-step", tmp_path / "nowhere")


def test_an_unknown_dataset_lists_the_known(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="kitti-step"):
        open_dataset("kitty", tmp_path)


def test_an_unknown_split_lists_the_known(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="val, train"):
        open_dataset("kitti-step", tmp_path, split="test")


def test_a_segment_that_the_json_forgets_is_an_error(tmp_path: Path, coco: Any) -> None:
    image = ("a.png", array([[7, 9]]), [{"id": 7, "category_id": 7, "iscrowd": 0}])
    coco(tmp_path / "gt_panoptic/val.json", tmp_path / "gt_panoptic/val", {"a": image})
    with pytest.raises(ValueError, match=r"segment ids \[9\]"):
        maps(open_dataset("muses", tmp_path), "a", "a")


def test_a_colour_rendering_is_refused(tmp_path: Path, png: Any) -> None:
    png(tmp_path / "validation/cityscapes_instance_format/000000_10.png", np.zeros((2, 2, 3), np.uint8))
    with pytest.raises(ValueError, match="colour rendering"):
        maps(open_dataset("kitti-panoptic", tmp_path), "000000_10", "000000_10")


def test_the_same_class_names_and_colours_everywhere() -> None:
    """The 19-class table is the Cityscapes benchmark: its 27-class sister must agree on every shared name."""
    from videocups.evaluate.datasets.spec import load_classes

    of_27 = {info.name: info for info in load_classes("cityscapes_27")}
    for info in load_classes("cityscapes_19"):
        assert of_27[info.name].color_rgb == info.color_rgb
        assert of_27[info.name].is_thing == info.is_thing
    assert [
        len(load_classes(table)) for table in ("cityscapes_19", "cityscapes_27", "motchallenge_step_7", "mots_2")
    ] == [19, 27, 7, 2]


@pytest.mark.parametrize("name", dataset_names())
def test_every_description_is_complete(name: str) -> None:
    spec = load_spec(name)
    assert spec.default_split in spec.splits
    assert spec.download
    assert spec.notes
    assert spec.tree.startswith("ROOT/")
