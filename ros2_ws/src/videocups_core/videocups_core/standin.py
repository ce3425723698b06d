"""The stand-in world: coloured rectangles before flat bands, and what a stand-in bundle must answer to it.

A stand-in bundle ('videocups standin') tells classes by colour and has one detection slot for each thing colour. In
this world its answer is exact, so that a node's data can be checked and not only its shapes. The oracle below
shares nothing with the merge and the tracker it checks: it knows the world and counts frames.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from videocups_core.palette import class_colors
from videocups_core.types import ClassInfo, PanopticFrame, Segment, SegmentState

STUFF_NAMES = ("sky", "building", "vegetation", "sidewalk", "road")
STUFF_RGB = ((135, 195, 235), (150, 130, 115), (70, 115, 50), (195, 185, 190), (90, 90, 96))
THING_NAMES = ("vehicle", "person")
SLOT_RGB = (
    (215, 30, 35), (20, 60, 200), (250, 205, 20), (170, 230, 0), (160, 75, 0), (0, 170, 165),
    (250, 125, 10), (125, 10, 40), (225, 20, 215), (110, 30, 190), (0, 235, 60), (250, 90, 150),
)  # fmt: skip
"""Thing colours; slot k of the network's detections is the thing of colour k."""
VEHICLE_SLOTS = 8
"""The first slots are vehicles, the others persons."""
SLOT_SCORES = (np.float32(0.95) - np.float32(0.01) * np.arange(len(SLOT_RGB), dtype=np.float32)).astype(np.float32)
MIN_RUN_PX = 2
"""A row or column belongs to a slot's box when it holds this many of its pixels."""

_GRID_ROWS = 64  # the world is drawn on a grid of 64 rows, so that sizes that are multiples of it scale without loss
_BANDS = (0, 16, 28, 36, 42, 64)  # first grid row of each stuff band
_LANE_ROWS = 5
_PILLAR_COLUMNS = 12  # wider than every thing, so that what is left visible is always one rectangle
_PILLARS_AT = (0.3, 0.7)
COAST_FRAMES, MEMORY_FRAMES = 5, 20  # as in the stand-in bundle


def standin_classes(color_seed: int = 0) -> tuple[ClassInfo, ...]:
    """Return the class table: stuff first, then things."""
    names = STUFF_NAMES + THING_NAMES
    colors = class_colors(len(names), seed=color_seed).tolist()
    return tuple(
        ClassInfo(index, name, index >= len(STUFF_NAMES), (red, green, blue))
        for index, (name, (red, green, blue)) in enumerate(zip(names, colors, strict=True))
    )


def slot_class_id(slot: int) -> int:
    """Class of a slot's detections."""
    return len(STUFF_NAMES) + (0 if slot < VEHICLE_SLOTS else 1)


@dataclass(frozen=True)
class StandInWorld:
    """A film of ``things`` rectangles, each in its own lane, hidden by two pillars and by the image's borders.

    The answer is exact where the world has the network's size or a whole multiple of it.
    """

    height: int = 256
    width: int = 512
    things: int = len(SLOT_RGB)

    def __post_init__(self) -> None:
        if self.height % _GRID_ROWS or self.width % (self.height // _GRID_ROWS) or self.height < 2 * _GRID_ROWS:
            raise ValueError(
                f"the stand-in world needs a height of 128, 192, 256, … and a width that is a multiple of height / 64, "
                f"got {self.height}×{self.width}"
            )
        if not 1 <= self.things <= len(SLOT_RGB):
            raise ValueError(f"things must be in 1..{len(SLOT_RGB)}, got {self.things}")

    @property
    def unit_px(self) -> int:
        """Side of a grid cell."""
        return self.height // _GRID_ROWS

    @property
    def columns(self) -> int:
        """Grid columns."""
        return self.width // self.unit_px

    def pillars(self) -> list[tuple[int, int]]:
        """First and last + 1 grid column of each pillar."""
        starts = [int(share * self.columns) - _PILLAR_COLUMNS // 2 for share in _PILLARS_AT]
        return [(max(start, 0), max(start, 0) + _PILLAR_COLUMNS) for start in starts]

    def visible_boxes(self, frame: int) -> dict[int, tuple[int, int, int, int]]:
        """Visible rectangle x0 y0 x1 y1 in px of every slot that shows in this frame."""
        boxes = {}
        for slot in range(self.things):
            left, right = self._span(slot, frame)
            left, right = max(left, 0), min(right, self.columns)
            for start, end in self.pillars():
                if start <= left < end:
                    left = end
                if start < right <= end:
                    right = start
            if left < right:
                top = 4 + _LANE_ROWS * slot
                rows = 3 + slot % 2
                boxes[slot] = tuple(value * self.unit_px for value in (left, top, right, top + rows))
        return boxes  # type: ignore[return-value]

    def image_rgb(self, frame: int) -> NDArray[np.uint8]:
        """Render one frame as (H, W, 3) uint8 RGB."""
        image = np.array(STUFF_RGB, dtype=np.uint8)[self.stuff_map()]
        for slot, (x0, y0, x1, y1) in self.visible_boxes(frame).items():
            image[y0:y1, x0:x1] = SLOT_RGB[slot]
        return image

    def stuff_map(self) -> NDArray[np.int64]:
        """(H, W) stuff class of the empty world."""
        grid = np.empty((_GRID_ROWS, self.columns), dtype=np.int64)
        for class_id, (top, bottom) in enumerate(pairwise(_BANDS)):
            grid[top:bottom] = class_id
        for start, end in self.pillars():
            grid[:, start:end] = STUFF_NAMES.index("building")
        return grid.repeat(self.unit_px, axis=0).repeat(self.unit_px, axis=1)

    def _span(self, slot: int, frame: int) -> tuple[int, int]:
        """Grid columns of a thing, borders and pillars ignored; it comes round again after a while out of sight."""
        columns = 4 + slot % 7 if slot < VEHICLE_SLOTS else 2
        pause = 3 + 14 * (slot % 4)  # some come back within the memory, some after it
        period = self.columns + columns + pause
        speed = 1 + slot // 3 % 2
        position = (slot * 29 + speed * frame) % period - columns
        if slot % 3 == 2:
            position = self.columns - columns - position
        return position, position + columns


class StandInOracle:
    """The frames a stream with the stand-in bundle must give, in the order in which it is fed."""

    def __init__(self, world: StandInWorld) -> None:
        self.world = world
        self.epoch = 0
        self._fed = 0
        self._next_track, self._next_segment = 1, 256
        self._tracks: dict[int, dict[str, int]] = {}

    def reset(self) -> None:
        """Mirror ``Stream.reset``."""
        self._tracks = {}
        self.epoch += 1

    def step(self, frame: int, stamp_ns: int) -> PanopticFrame:
        """Return the answer for the world's frame ``frame``, fed now."""
        boxes = self.world.visible_boxes(frame)
        for track in self._tracks.values():
            track["age"] += 1
            track["missed"] += 1
        for slot in sorted(boxes):
            self._see(slot)
        ids = (self.world.stuff_map() + 1).astype(np.uint16)
        for slot, (x0, y0, x1, y1) in boxes.items():
            ids[y0:y1, x0:x1] = self._tracks[slot]["segment"]
        rows = [self._stuff_row(ids, class_id) for class_id in (np.unique(ids[ids < 256]).astype(int) - 1).tolist()]
        rows += [row for slot in sorted(self._tracks) if (row := self._thing_row(slot, boxes)) is not None]
        self._tracks = {slot: track for slot, track in self._tracks.items() if track["missed"] <= MEMORY_FRAMES}
        self._fed += 1
        return PanopticFrame(stamp_ns, ids, tuple(rows), frame_index=self._fed - 1, track_epoch=self.epoch)

    def _see(self, slot: int) -> None:
        if slot not in self._tracks:
            self._tracks[slot] = {"id": self._next_track, "segment": self._next_segment, "age": 0, "missed": 0}
            self._next_track += 1
            self._next_segment += 1
        self._tracks[slot]["missed"] = 0

    def _thing_row(self, slot: int, boxes: dict[int, tuple[int, int, int, int]]) -> Segment | None:
        track, score = self._tracks[slot], float(SLOT_SCORES[slot])
        common = (track["segment"], slot_class_id(slot), True, track["id"], score)
        if slot in boxes:
            x0, y0, x1, y1 = boxes[slot]
            state = SegmentState.TRACKED if track["age"] else SegmentState.NEW
            box = (x0, y0, x1 - x0, y1 - y0)
            return Segment(*common, state, track["age"], (x1 - x0) * (y1 - y0), box)
        if track["missed"] > COAST_FRAMES + 1:
            return None
        state = SegmentState.COASTED if track["missed"] <= COAST_FRAMES else SegmentState.LOST
        return Segment(*common, state, track["age"])

    @staticmethod
    def _stuff_row(ids: NDArray[np.uint16], class_id: int) -> Segment:
        rows, columns = np.nonzero(ids == class_id + 1)
        x, y = int(columns.min()), int(rows.min())
        box = (x, y, int(columns.max()) + 1 - x, int(rows.max()) + 1 - y)
        return Segment(class_id + 1, class_id, False, area_px=len(rows), bbox_xywh=box)
