"""What the web page shows of a message, as plain values that JSON can carry."""

from __future__ import annotations

from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from videocups_msgs.msg import LabelInfo, PanopticFrame

from videocups_core.palette import track_colors
from videocups_core.types import SegmentState


def track_table(frame: PanopticFrame, names: dict[int, str]) -> list[dict[str, Any]]:
    """Return one row a thing, largest first. Ids are text: they have 64 bits and JavaScript's numbers 53."""
    things = sorted((row for row in frame.segments if row.is_thing), key=lambda row: -row.area_px)
    colors = track_colors(np.asarray([row.track_id for row in things], dtype=np.uint64))
    return [
        {
            "track": str(row.track_id),
            "class": names.get(row.class_id, f"class {row.class_id}"),
            "score": round(float(row.score), 3),
            "state": SegmentState(row.state).name.lower(),
            "age": row.age,
            "area_px": row.area_px,
            "color": "#{:02x}{:02x}{:02x}".format(*color.tolist()),
        }
        for row, color in zip(things, colors, strict=True)
    ]


def label_names(labels: LabelInfo) -> dict[int, str]:
    """Return the name of each class id."""
    return {info.class_id: info.name for info in labels.classes}


def diagnostics_table(message: DiagnosticArray) -> list[dict[str, Any]]:
    """Return each status: level 0 ok, 1 warning, 2 error, 3 stale; its sentence and its values."""
    return [
        {
            "name": status.name,
            "level": int.from_bytes(status.level, "little"),
            "message": status.message,
            "values": {pair.key: pair.value for pair in status.values},
        }
        for status in message.status
    ]
