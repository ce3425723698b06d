"""The picture people look at: a camera frame with its segments coloured, outlined and numbered."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from videocups_core.palette import track_colors
from videocups_core.panoptic.regions import RowRuns, row_runs
from videocups_core.types import ClassInfo, PanopticFrame, Segment

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_STUFF, _THING = 1, 2
_STUFF_SHARE = 0.6  # stuff is tinted less than things, so that things stand out
_MIN_LABEL_WIDTH_PX = 12  # a narrower thing gets no number: it would cover the thing


def draw_overlay(
    rgb: NDArray[np.uint8],
    frame: PanopticFrame,
    classes: Sequence[ClassInfo],
    *,
    alpha: float = 0.5,
    outlines: bool = True,
    ids: bool = True,
) -> NDArray[np.uint8]:
    """Return a new (H, W, 3) RGB image: things in their track's colour, stuff in its class's, void untouched.

    ``alpha`` is the opacity of things (0..1; stuff has 0.6 of it), ``outlines`` draws a light line round every thing,
    ``ids`` writes its track id into it.
    """
    if rgb.shape != (*frame.segment_ids.shape, 3) or rgb.dtype != np.uint8:
        raise ValueError(
            f"the image must be {(*frame.segment_ids.shape, 3)} uint8 like the panoptic frame, "
            f"got {rgb.shape} {rgb.dtype}; resize one of them"
        )
    if not 0.0 <= alpha <= 1.0:
        raise ValueError(f"alpha must be in 0..1, got {alpha}")
    table = segment_color_table(frame, classes)
    rgba = _look_up(table, _kinds(frame, len(table)), frame.segment_ids)
    painted, kind = cv2.cvtColor(rgba, cv2.COLOR_RGBA2RGB), rgba[..., 3]
    picture = np.asarray(rgb).copy()
    for kind_value, opacity in ((_STUFF, alpha * _STUFF_SHARE), (_THING, alpha)):
        blended = cv2.addWeighted(painted, opacity, rgb, 1.0 - opacity, 0.0)
        cv2.copyTo(blended, (kind == kind_value).view(np.uint8), picture)
    if outlines:
        _draw_outlines(picture, frame, table)
    if ids:
        _draw_ids(picture, frame)
    return picture


def color_segments(frame: PanopticFrame, classes: Sequence[ClassInfo]) -> NDArray[np.uint8]:
    """Return the segments as (H, W, 3) RGB without the camera image; void is black."""
    table = segment_color_table(frame, classes)
    rgba = _look_up(table, np.zeros(len(table), np.uint8), frame.segment_ids)
    return np.asarray(cv2.cvtColor(rgba, cv2.COLOR_RGBA2RGB), dtype=np.uint8)


def segment_color_table(frame: PanopticFrame, classes: Sequence[ClassInfo]) -> NDArray[np.uint8]:
    """Return (max id + 1, 3) uint8 RGB by segment_id: track colours for things, class colours for the rest."""
    class_color = {info.class_id: info.color_rgb for info in classes}
    highest = max((segment.segment_id for segment in frame.segments), default=0)
    highest = max(highest, int(frame.segment_ids.max(initial=0)))
    table = np.zeros((highest + 1, 3), np.uint8)
    things = [segment for segment in frame.segments if segment.track_id]
    for segment in frame.segments:
        if segment.class_id not in class_color:
            raise ValueError(f"segment {segment.segment_id} has class {segment.class_id}, which classes do not list")
        table[segment.segment_id] = class_color[segment.class_id]
    if things:
        track_ids = np.array([segment.track_id for segment in things], np.uint64)
        table[[segment.segment_id for segment in things]] = track_colors(track_ids)
    return table


def _look_up(table: NDArray[np.uint8], fourth: NDArray[np.uint8], ids: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """Return (H, W, 4): colour and a fourth value by id, as one 32-bit look-up a pixel (fast)."""
    packed = np.concatenate([table, fourth[:, None]], axis=1)
    return packed.view(np.uint32)[:, 0].take(ids).view(np.uint8).reshape(*ids.shape, 4)


def _kinds(frame: PanopticFrame, length: int) -> NDArray[np.uint8]:
    kinds = np.zeros(length, np.uint8)
    for segment in frame.segments:
        kinds[segment.segment_id] = _THING if segment.track_id else _STUFF
    return kinds


def _draw_outlines(picture: NDArray[np.uint8], frame: PanopticFrame, table: NDArray[np.uint8]) -> None:
    """Paint the outermost pixels of every thing in a light tint of its colour."""
    ids = frame.segment_ids
    is_thing = _kinds(frame, len(table)) == _THING
    tint = (table.astype(np.uint16) + 2 * 255) // 3
    flat_ids, pixels, width = ids.reshape(-1), picture.reshape(-1, 3), frame.width
    across = np.zeros(ids.shape, bool)
    np.not_equal(ids[:, 1:], ids[:, :-1], out=across[:, :-1])
    for first, offset in ((np.flatnonzero(across), 1), (np.flatnonzero(ids[1:] != ids[:-1]), width)):
        for side in (first, first + offset):
            owners = flat_ids[side]
            drawn = is_thing[owners]
            pixels[side[drawn]] = tint[owners[drawn]]


def _draw_ids(picture: NDArray[np.uint8], frame: PanopticFrame) -> None:
    """Write each thing's track id, white on a dark rim, where the thing is broad."""
    scale = float(np.clip(frame.width / 2000.0, 0.36, 1.0))
    thin = max(1, round(scale * 1.6))
    for text, (x, y, width) in _labels(frame):
        (text_width, text_height), _ = cv2.getTextSize(text, _FONT, scale, thin)
        if width < _MIN_LABEL_WIDTH_PX:
            continue
        left = int(np.clip(x - text_width // 2, 1, max(1, frame.width - text_width - 2)))
        base = int(np.clip(y + text_height // 2, text_height + 1, max(text_height + 1, frame.height - 2)))
        cv2.putText(picture, text, (left, base), _FONT, scale, (0, 0, 0), thin + 2, cv2.LINE_AA)
        cv2.putText(picture, text, (left, base), _FONT, scale, (255, 255, 255), thin, cv2.LINE_AA)


def _labels(frame: PanopticFrame) -> list[tuple[str, tuple[int, int, int]]]:
    """Return (text, (x, y, width there)) for every thing with pixels: the middle of its best row run."""
    track_of = {row.segment_id: row.track_id for row in _things(frame)}
    runs = row_runs(frame.segment_ids)
    mine = np.flatnonzero(np.isin(runs.values, np.array(sorted(track_of), np.uint16)))
    best = _best_runs(runs, mine)
    return [
        (
            str(track_of[int(runs.values[index])]),
            (int(runs.starts[index] + runs.lengths[index] // 2), int(runs.rows[index]), int(runs.lengths[index])),
        )
        for index in best
    ]


def _best_runs(runs: RowRuns, mine: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return, per value, the index of the run that is long and close to the middle row of its segment."""
    if mine.size == 0:
        return mine
    order = mine[np.argsort(runs.values[mine], kind="stable")]
    values, rows, lengths = runs.values[order], runs.rows[order], runs.lengths[order]
    first = np.flatnonzero(np.concatenate([[True], values[1:] != values[:-1]]))
    sizes = np.diff(first, append=len(values))
    middle = np.add.reduceat(rows * lengths, first) / np.add.reduceat(lengths, first)
    merit = lengths - np.abs(rows - np.repeat(middle, sizes))
    ranked = np.lexsort((merit, values))
    return order[ranked[first + sizes - 1]]


def _things(frame: PanopticFrame) -> list[Segment]:
    return [segment for segment in frame.segments if segment.track_id]
