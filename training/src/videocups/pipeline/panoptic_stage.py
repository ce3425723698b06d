"""The last stage: panoptic clips, readable by evaluation and training."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from videocups.fusion.alignment import align
from videocups.fusion.panoptic_clip import (
    PanopticConfig,
    class_table,
    panoptic_frames,
    with_ignored_stuff,
    write_panoptic_clip,
)
from videocups.fusion.things import ThingsConfig
from videocups.pipeline.formats import decode
from videocups.pipeline.stage import Input, Output, Stage
from videocups.pipeline.thing_stages import things_from_arrays, tracks_from_arrays
from videocups.pipeline.work import Work
from videocups_core.panoptic.storage import KIND, TABLE_FILE
from videocups_core.types import ClassInfo, PanopticFrame


@dataclass(frozen=True)
class PanopticSettings:
    """What a panoptic clip depends on."""

    panoptic: PanopticConfig
    things: ThingsConfig


@dataclass(frozen=True)
class Meaning:
    """What the tracks and pixel classes of a clip are.

    ``class_of``: panoptic class of each pixel class (K,); ``class_of_track`` of each track that is a thing, wherever it
    is; ``no_things``: tracks that are none. Where frames hold aligned classes, tracks need nothing more.
    """

    table: tuple[ClassInfo, ...]
    class_of: NDArray[np.uint8]
    class_of_track: Mapping[int, int] = field(default_factory=dict)
    no_things: frozenset[int] = frozenset()


def panoptic_stage(config: PanopticConfig, things: ThingsConfig) -> Stage:
    """Return the stage; it reads classes, tracks and what all clips say of things and stuff."""
    more: tuple[Input, ...] = (Input("track_votes", need="optional"), Input("things"))
    if things.classes_from == "pixels":
        more = (Input("semantics_aligned", need="optional"),)
    return Stage(
        "panoptic",
        "clip",
        panoptic_clip,
        PanopticSettings(config, things),
        (
            Input("semantics_smooth", need="any"),
            *more,
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


def meaning_of(work: Work, config: ThingsConfig) -> Meaning:
    """Return what all clips say of this one's classes and tracks."""
    if config.classes_from == "pixels":
        rows = sorted(work.read("thing_stuff")["classes"], key=lambda row: int(row["class_id"]))
        table = class_table([row["is_thing"] for row in rows])
        return Meaning(table, np.arange(len(table), dtype=np.uint8))
    things = things_from_arrays(work.read("things"), config)
    table = class_table([False] * things.stuff, things.things)
    class_of = things.class_of_pixel_class.astype(np.uint8)
    if not work.has("track_votes", None):
        return Meaning(table, class_of)
    return Meaning(table, class_of, *things.classes_of(tracks_from_arrays(work.read("track_votes")), config))


def panoptic_clip(work: Work, settings: PanopticSettings) -> dict[str, Any]:
    """Put classes and tracks together.

    A frame without tracks has no things, so its thing classes are ignored; a frame without classes is ignored as a
    whole. Both are listed, and neither is an empty label.
    """
    meaning = meaning_of(work, settings.things)
    frames = range(len(work.clip))
    without_classes = [number for number in frames if not work.has("semantics_smooth", number)]
    without_tracks = [number for number in frames if not work.has("tracks", number)]
    shape = work.clip.info.height, work.clip.info.width
    aligned = settings.things.classes_from == "pixels"

    def tracks_of(number: int) -> Any:
        known = number not in without_classes and number not in without_tracks
        return work.read("tracks", number) if known else np.zeros(shape, np.int32)

    def classes_of(number: int) -> Any:
        if number in without_classes:
            return np.zeros(shape, np.uint8)
        kind = "semantics_aligned" if aligned and work.has("semantics_aligned", number) else "semantics_smooth"
        classes = meaning.class_of[work.read(kind, number)]
        return align([classes], [tracks_of(number)], meaning.class_of_track)[0]

    def labelled() -> Iterator[PanopticFrame]:
        classes, tracks = (cast("Any", map(read, frames)) for read in (classes_of, tracks_of))
        stamps_ns, table = work.clip.info.stamps_ns, meaning.table
        found = panoptic_frames(classes, tracks, table, stamps_ns, settings.panoptic, meaning.no_things)
        for number, frame in enumerate(found):
            yield with_ignored_stuff(frame, np.ones(shape, bool)) if number in without_classes else frame

    folder = tempfile.TemporaryDirectory()
    with folder:
        write_panoptic_clip(Path(folder.name), labelled(), meaning.table)
        written = Path(folder.name) / KIND
        ids = [(number, decode(path)) for number, path in enumerate(sorted(written.glob("[0-9]*.png")))]
        content = json.loads((written / TABLE_FILE).read_text())
    lists = {"without_classes": without_classes, "without_tracks": without_tracks}
    return {KIND: ids, f"{KIND}/{Path(TABLE_FILE).stem}": content, "left_out": lists}
