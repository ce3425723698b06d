"""The Waymo Open Dataset in its parquet form (v2): front-camera labels straight from the official files."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from videocups.evaluate.datasets.codings import Maps
from videocups.evaluate.datasets.types import Frame, Sequence

FRONT_CAMERA = 1
FIRST_UNTRACKED_ID = 1 << 20
"""Objects without a global id keep their local one, moved out of the way of the global ones."""
_LABEL = "[CameraSegmentationLabelComponent]."
_IDS = _LABEL + "instance_id_to_global_id_mapping."
_TIME, _CAMERA = "key.frame_timestamp_micros", "key.camera_name"


@dataclass(frozen=True)
class WaymoParquetReader:
    """``camera_segmentation/<segment>.parquet``: object ids hold within a label sequence, which is our sequence."""

    root: Path
    layout: Mapping[str, Any]
    split: str

    def sequences(self) -> list[Sequence]:
        """List the labeled front-camera frames of every segment, by label sequence, in time order."""
        found: dict[str, list[Frame]] = defaultdict(list)
        for path in sorted(self.root.glob(f"{self.split}/camera_segmentation/*.parquet")):
            for stamp_us, row in sorted(_front_rows(path).items()):
                key = f"{path.stem}_{row[_LABEL + 'sequence_id']}"
                parts = {"split": self.split, "sequence": key, "frame": str(stamp_us)}
                found[key].append(Frame(str(stamp_us), None, (path,), parts))
        return [Sequence(key, tuple(frames)) for key, frames in sorted(found.items())]

    def read(self, frame: Frame) -> Maps:
        """Decode the panoptic PNG of one row and give objects their global ids."""
        return decode_label(_front_rows(frame.files[0])[int(frame.name)], f"{frame.files[0]}, {frame.name}")


def decode_label(row: Mapping[str, Any], where: str) -> Maps:
    """Return (raw class, object id) of one label row: class * divisor + local id, local ids mapped to global ones."""
    buffer = np.frombuffer(row[_LABEL + "panoptic_label"], dtype=np.uint8)
    pixels: NDArray[Any] | None = cv2.imdecode(buffer, cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.ndim != 2:
        raise ValueError(f"{where}: the panoptic label is no single-channel PNG; the file is damaged")
    divisor = int(row[_LABEL + "panoptic_label_divisor"])
    raw_class, local = np.divmod(pixels.astype(np.int32), divisor)
    table = np.arange(divisor, dtype=np.int32) + FIRST_UNTRACKED_ID
    table[0] = 0
    table[row[_IDS + "local_instance_ids"]] = row[_IDS + "global_instance_ids"]
    return raw_class, table[local]


@lru_cache(maxsize=4)
def _front_rows(path: Path) -> dict[int, dict[str, Any]]:
    """Read the front camera's rows of one segment, by time."""
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise ValueError(f"{path} needs pyarrow; install it with 'pip install pyarrow', or export PNGs") from error
    names = ["panoptic_label", "panoptic_label_divisor", "sequence_id"]
    columns = [_TIME, _CAMERA, *(_LABEL + name for name in names)]
    columns += [_IDS + "local_instance_ids", _IDS + "global_instance_ids"]
    rows = parquet.read_table(path, columns=columns, filters=[(_CAMERA, "=", FRONT_CAMERA)]).to_pylist()
    return {int(row[_TIME]): row for row in rows}
