"""What training shows: a pair's labels and the model's predictions as one picture."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from videocups.model.classes import IGNORE, THING, ClassTable
from videocups.train.network_engine import FramePair
from videocups.train.pair import Pair
from videocups_core.overlay import draw_overlay
from videocups_core.panoptic.frames import panoptic_from_maps
from videocups_core.types import VOID_CLASS, PanopticFrame


def comparison(pair: Pair, predicted: FramePair, table: ClassTable) -> NDArray[np.uint8]:
    """Return (2 H, 2 W, 3): labels on the left, predictions on the right, the second frame below."""
    classes = table.bundle_classes
    rows = [
        np.hstack(
            [
                draw_overlay(pair.images[at], labelled_frame(pair, at, table), classes),
                draw_overlay(pair.images[at], predicted[at], classes),
            ]
        )
        for at in range(2)
    ]
    return np.vstack(rows)


def labelled_frame(pair: Pair, at: int, table: ClassTable) -> PanopticFrame:
    """Return frame ``at`` of a pair as a panoptic frame in the bundle's classes; what teaches nothing is void."""
    of_channel = np.full(256, VOID_CLASS, np.uint8)
    of_channel[1 : len(table.stuff) + 1] = table.stuff_ids
    of_channel[[THING, IGNORE]] = VOID_CLASS
    of_row = np.array(
        [VOID_CLASS, *[table.thing_ids[index] if index >= 0 else VOID_CLASS for index in pair.classes[at]]]
    )
    rows = pair.rows[at].astype(np.int32)
    class_map = np.where(rows > 0, of_row[rows], of_channel[pair.semantic[at]]).astype(np.uint8)
    return panoptic_from_maps(class_map, rows, table.bundle_classes, stamp_ns=at)
