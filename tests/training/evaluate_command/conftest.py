"""A tiny world with two streets, and predictions of it in every format."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from videocups_core.panoptic.storage import PanopticClipWriter, panoptic_from_maps
from videocups_core.types import ClassInfo

HEIGHT, WIDTH, FRAMES = 24, 40, 4
SKY, ROAD, LANE, CAR, PERSON, VOID = 0, 1, 2, 3, 4, 255
NAMES = ("sky", "road", "lane_line", "car", "pedestrian")
SEQUENCES = ("north", "south")
Maps = tuple[NDArray[np.int64], NDArray[np.int64]]


def draw(sequence: str, frame: int) -> Maps:
    """Two cars drive apart, a person stands; a strip on the left has no truth."""
    class_map = np.full((HEIGHT, WIDTH), ROAD)
    ids = np.zeros((HEIGHT, WIDTH), np.int64)
    class_map[:10] = SKY
    class_map[20, ::4] = LANE
    shift = frame + SEQUENCES.index(sequence)
    for track, left in ((1, 12 + shift), (70_000, 25 - shift)):
        class_map[12:17, left : left + 6], ids[12:17, left : left + 6] = CAR, track
    class_map[8:15, 34:37], ids[8:15, 34:37] = PERSON, 3
    class_map[:, :2], ids[:, :2] = VOID, 0
    return class_map, ids


def frames() -> Iterator[tuple[str, int, Maps]]:
    for sequence in SEQUENCES:
        for frame in range(FRAMES):
            yield sequence, frame, draw(sequence, frame)


def write_png(path: Path, pixels: NDArray[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.ascontiguousarray(pixels if pixels.ndim == 2 else pixels[..., ::-1]))


def write_truth(root: Path) -> None:
    """Write the layout of the rendered world: truth/truth.json, truth/class, truth/track and pictures."""
    for sequence, frame, (class_map, ids) in frames():
        track = np.where(ids == 70_000, 2, ids)
        write_png(root / sequence / f"truth/class/{frame:06d}.png", class_map.astype(np.uint8))
        write_png(root / sequence / f"truth/track/{frame:06d}.png", track.astype(np.uint16))
        picture = np.dstack([class_map * 40] * 3).astype(np.uint8)
        write_png(root / sequence / f"frames/{frame:06d}.png", picture)
    for sequence in SEQUENCES:
        content = {
            "classes": {str(i): name for i, name in enumerate(NAMES)} | {"255": "other"},
            "thing_classes": [3, 4],
        }
        (root / sequence / "truth/truth.json").write_text(json.dumps(content))


Damage = Callable[[str, int, NDArray[np.int64], NDArray[np.int64]], Maps]


@dataclass(frozen=True)
class World:
    """Where truth lies, and how to write a prediction: truth with permuted class numbers, damaged if wanted.

    Void is predicted as road, so that no prediction is void.
    """

    root: Path
    pseudo_of: Mapping[int, int]

    @property
    def truth(self) -> Path:
        return self.root / "truth"

    @property
    def things(self) -> set[int]:
        return {self.pseudo_of[CAR], self.pseudo_of[PERSON]}

    def predicted(self, sequence: str, frame: int, damage: Damage | None) -> Maps:
        class_map, ids = draw(sequence, frame)
        class_map[class_map == VOID] = ROAD
        if damage:
            class_map, ids = damage(sequence, frame, class_map, ids)
        return np.vectorize(self.pseudo_of.__getitem__)(class_map), ids

    def step(self, folder: Path, damage: Damage | None = None) -> Path:
        for sequence, frame, _ in frames():
            class_map, ids = self.predicted(sequence, frame, damage)
            ids = np.where(ids == 70_000, 65_000, ids)  # 16 bits
            rgb = np.dstack([class_map, ids // 256, ids % 256]).astype(np.uint8)
            write_png(folder / sequence / f"{frame:06d}.png", rgb)
        return folder

    def coco(self, folder: Path, damage: Damage | None = None, *, named: bool = False, kinds: bool = True) -> Path:
        annotations = []
        for sequence, frame, _ in frames():
            class_map, ids = self.predicted(sequence, frame, damage)
            keys = ids * 8 + class_map + 1  # 70,000 × 8 needs all three bytes
            rgb = np.dstack([keys % 256, keys // 256 % 256, keys // 65_536]).astype(np.uint8)
            file = f"{sequence}_{frame:06d}.png"
            write_png(folder / "pan_pred" / file, rgb)
            rows = [{"id": int(key), "category_id": int((key - 1) % 8)} for key in np.unique(keys)]
            if kinds and not named:
                rows = [{**row, "isthing": row["category_id"] in self.things} for row in rows]
            annotations.append({"image_id": f"{sequence}/{frame:06d}", "file_name": file, "segments_info": rows})
        categories = [{"id": self.pseudo_of[c], "name": name, "isthing": int(c >= CAR)} for c, name in enumerate(NAMES)]
        content = {"annotations": annotations} | ({"categories": categories} if named else {})
        (folder / "pred.json").write_text(json.dumps(content))
        return folder

    def clips(self, folder: Path, damage: Damage | None = None) -> Path:
        classes = sorted(
            (ClassInfo(self.pseudo_of[c], f"class_{self.pseudo_of[c]:02d}", c >= CAR, (c, 90, 200)) for c in range(5)),
            key=lambda info: info.class_id,
        )
        for sequence in SEQUENCES:
            with PanopticClipWriter(folder / sequence, classes) as writer:
                for frame in range(FRAMES):
                    class_map, ids = self.predicted(sequence, frame, damage)
                    ids = ids.astype(np.uint64) << np.uint64(33)  # ids beyond 32 bits
                    writer.append(panoptic_from_maps(class_map.astype(np.uint8), ids, classes, frame))
        return folder


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Truth on disk; class numbers of predictions are shuffled with a gap (5 is not used)."""
    found = World(tmp_path, {SKY: 3, ROAD: 6, LANE: 0, CAR: 1, PERSON: 4})
    write_truth(found.truth)
    return found


@pytest.fixture
def damage() -> Damage:
    """In the south the cars swap their ids halfway and the sky sinks by two rows."""

    def damaged(sequence: str, frame: int, class_map: NDArray[np.int64], ids: NDArray[np.int64]) -> Maps:
        if sequence == "south":
            class_map[10:12][class_map[10:12] == ROAD] = SKY
            if frame >= FRAMES // 2:
                ids = np.select([ids == 1, ids == 70_000], [70_000, 1], ids)
        return class_map, ids

    return damaged
