"""Waymo's official parquet files, written here with the columns of the v2 component."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from videocups.evaluate.datasets import open_dataset
from videocups.evaluate.datasets.waymo import FIRST_UNTRACKED_ID, decode_label

LABEL = "[CameraSegmentationLabelComponent]."
IDS = LABEL + "instance_id_to_global_id_mapping."


def row(stamp_us: int, camera: int, sequence: str, pixels: list[list[int]], ids: dict[int, int]) -> dict[str, object]:
    written, png = cv2.imencode(".png", np.array(pixels, np.uint16))
    assert written
    return {
        "key.frame_timestamp_micros": stamp_us,
        "key.camera_name": camera,
        LABEL + "panoptic_label": png.tobytes(),
        LABEL + "panoptic_label_divisor": 1000,
        LABEL + "sequence_id": sequence,
        IDS + "local_instance_ids": list(ids),
        IDS + "global_instance_ids": list(ids.values()),
    }


def test_local_ids_become_global_and_others_stay_apart() -> None:
    # road 20, car 2 with local ids 1 (global 77) and 5 (no global id), pedestrian 9 without an id
    raw, ids = decode_label(row(0, 1, "a", [[20_000, 2001], [2005, 9000]], {1: 77}), "here")
    assert raw.tolist() == [[20, 2], [2, 9]]
    assert ids.tolist() == [[0, 77], [FIRST_UNTRACKED_ID + 5, 0]]


def test_front_camera_by_label_sequence(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is an optional dependency, only for Waymo's own files")
    from pyarrow import parquet

    rows = [
        row(200, 1, "a", [[20_000, 2003]], {3: 77}),
        row(100, 1, "a", [[20_000, 2001]], {1: 77}),
        row(100, 2, "a", [[25_000, 25_000]], {}),  # another camera
        row(300, 1, "b", [[20_000, 2001]], {1: 77}),  # another label sequence: another car
    ]
    path = tmp_path / "validation/camera_segmentation/1024_000.parquet"
    path.parent.mkdir(parents=True)
    parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    dataset = open_dataset("waymo-vps", tmp_path)
    assert [(s.key, [f.name for f in s.frames]) for s in dataset.sequences()] == [
        ("1024_000_a", ["100", "200"]),
        ("1024_000_b", ["300"]),
    ]
    first = dataset.sequences()[0]
    for frame in first.frames:
        class_map, ids = dataset.truth(first, frame)
        assert class_map.tolist() == [[0, 13]]
        assert ids.tolist() == [[0, 77]]
