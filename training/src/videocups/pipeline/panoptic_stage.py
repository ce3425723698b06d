"""The last stage: panoptic clips, readable by evaluation and training."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np

from videocups.fusion.panoptic_clip import (
    PanopticConfig,
    class_table,
    panoptic_frames,
    with_ignored_stuff,
    write_panoptic_clip,
)
from videocups.pipeline.formats import decode
from videocups.pipeline.stage import Input, Output, Stage
from videocups.pipeline.work import Work
from videocups_core.panoptic.storage import KIND, TABLE_FILE
from videocups_core.types import PanopticFrame


def panoptic_stage(config: PanopticConfig) -> Stage:
    """Return the stage; it reads aligned classes, tracks and the split of things and stuff."""
    return Stage(
        "panoptic",
        "clip",
        panoptic_clip,
        config,
        (
            Input("semantics_smooth", need="any"),
            Input("semantics_aligned", need="optional"),
            Input("tracks", need="optional"),
            Input("thing_stuff"),
            Input("clip"),
        ),
        (
            Output(KIND, ".png", each_frame=True),
            Output(f"{KIND}/{Path(TABLE_FILE).stem}", ".json"),
            Output("left_out", ".json"),
        ),
        final=True,
    )


def panoptic_clip(work: Work, config: PanopticConfig) -> dict[str, Any]:
    """Put classes and tracks together.

    A frame without tracks has no things, so its thing classes are ignored; a frame without classes is ignored as a
    whole. Both are listed, and neither is an empty label.
    """
    rows = sorted(work.read("thing_stuff")["classes"], key=lambda row: int(row["class_id"]))
    table = class_table([row["is_thing"] for row in rows])
    frames = range(len(work.clip))
    without_classes = [number for number in frames if not work.has("semantics_smooth", number)]
    without_tracks = [number for number in frames if not work.has("tracks", number)]
    shape = work.clip.info.height, work.clip.info.width

    def classes() -> Iterator[Any]:
        for number in frames:
            kind = "semantics_aligned" if work.has("semantics_aligned", number) else "semantics_smooth"
            yield np.zeros(shape, np.uint8) if number in without_classes else work.read(kind, number)

    def tracks() -> Iterator[Any]:
        for number in frames:
            known = number not in without_classes and number not in without_tracks
            yield work.read("tracks", number) if known else np.zeros(shape, np.int32)

    def labelled() -> Iterator[PanopticFrame]:
        found = panoptic_frames(cast("Any", classes()), cast("Any", tracks()), table, work.clip.info.stamps_ns, config)
        for number, frame in enumerate(found):
            yield with_ignored_stuff(frame, np.ones(shape, bool)) if number in without_classes else frame

    folder = tempfile.TemporaryDirectory()
    with folder:
        write_panoptic_clip(Path(folder.name), labelled(), table)
        written = Path(folder.name) / KIND
        ids = [(number, decode(path)) for number, path in enumerate(sorted(written.glob("[0-9]*.png")))]
        content = json.loads((written / TABLE_FILE).read_text())
    lists = {"without_classes": without_classes, "without_tracks": without_tracks}
    return {KIND: ids, f"{KIND}/{Path(TABLE_FILE).stem}": content, "left_out": lists}
