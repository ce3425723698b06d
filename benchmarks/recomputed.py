"""Labels made frame by frame: every stage makes anew what it reads, as a script without a pipeline would."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from videocups.pipeline.stage import Stages
from videocups.pipeline.work import Cache, Task, Work, new_chunk, one_thread
from videocups.pipeline.workspace import Workspace
from videocups_core.panoptic.storage import PanopticClip

KEPT = frozenset({"semantics_smooth"})
"""frame by frame, too, a frame's own classes are written down: align and panoptic read them."""


class Recomputed:
    """Runs stages without stored artefacts of frames and pairs; those of whole clips are read where they lie."""

    def __init__(self, stages: Stages, workspace: Workspace, again: frozenset[str] | None) -> None:
        self.stages, self.workspace, self.again = stages, workspace, again
        self.clip = workspace.clips[0]
        self.made: dict[tuple[str, int | None], Any] = {}

    def panoptic(self) -> tuple[list[Any], list[Any]]:
        """Make the clip's labels; return class maps and track maps."""
        for stage in self.stages.all:
            if stage.per == "data" or stage.name == "vectors":
                continue  # not timed in the pipeline either
            if self.again is None and stage.per in ("frame", "pair") and not self._is_kept(stage.name):
                continue  # made where it is read
            numbers = range(len(PanopticClip(self.clip)) - (stage.per == "pair"))
            for number in numbers if stage.per in ("frame", "pair") else (None,):
                self._keep(stage.name, number, self.run(stage.name, number))
        content = self.made["panoptic/segments", None]["frames"]
        ids = [self.made["panoptic", number] for number in range(len(content))]
        return maps_of(ids, content)

    def run(self, name: str, number: int | None) -> Mapping[str, Any]:
        """Run a stage on one item."""
        stage = self.stages.by_name[name]
        chunk = new_chunk(self.stages, self.workspace, stage, self.clip, (Task(number, ""),))
        with one_thread():
            values = stage.run(Recomputing(chunk, self.clip, number, frozenset(), Cache(0), {}, self), stage.config)
            if not isinstance(values, Mapping):
                gathered: dict[str, Any] = {output.kind: [] for output in stage.outputs if output.each_frame}
                for kind, index, value in values:
                    gathered[kind] = [*gathered[kind], (index, value)] if stage.output(kind).each_frame else value
                return gathered
            return {kind: list(v) if stage.output(kind).each_frame else v for kind, v in values.items()}

    def read(self, kind: str, number: int | None) -> Any:
        """Make or fetch an artefact; None where it must be read from the finished run."""
        stage = self.stages.of_kind.get(kind)
        if stage is None or stage.per == "data" or kind in ("ego", "survey", "survey_pair"):
            return self.made.get((kind, number))
        makes_again = kind in self.again if self.again is not None else stage.per in ("frame", "pair")
        if makes_again and kind not in KEPT:
            return self.run(stage.name, number)[kind]
        return self.made[kind, number]

    def _is_kept(self, name: str) -> bool:
        kinds = {output.kind for output in self.stages.by_name[name].outputs}
        return bool(kinds & (KEPT | {"ego", "survey"}))

    def _keep(self, name: str, number: int | None, values: Mapping[str, Any]) -> None:
        for kind, value in values.items():
            if self.stages.by_name[name].output(kind).each_frame:
                self.made.update({(kind, each): item for each, item in value})
            else:
                self.made[kind, number] = value


class Recomputing(Work):
    """A stage's view of artefacts that are made when they are read."""

    def __init__(self, *fields: Any) -> None:
        *own, maker = fields
        super().__init__(*own)
        object.__setattr__(self, "maker", maker)

    def read(self, kind: str, number: int | None = None) -> Any:
        """Make the artefact, or read it where it is one of a whole clip or data set."""
        value = self.maker.read(kind, number)
        return super().read(kind, number) if value is None else value


def stored_labels(clip: Path) -> tuple[list[Any], list[Any]]:
    labels = PanopticClip(clip)
    return [frame.class_map() for frame in labels], [frame.track_map() for frame in labels]


def maps_of(ids: list[Any], content: list[dict[str, Any]]) -> tuple[list[Any], list[Any]]:
    classes, tracks = [], []
    for image, row in zip(ids, content, strict=True):
        tables = np.zeros((2, 65_536), np.int64)
        for segment in row["segments"]:
            tables[:, segment["segment_id"]] = segment["class_id"], segment["track_id"]
        classes.append(tables[0][image])
        tracks.append(tables[1][image])
    return classes, tracks


def label_iou(first: tuple[list[Any], list[Any]], second: tuple[list[Any], list[Any]]) -> tuple[float, float]:
    """Return the IoU of classes, pooled over pixels, and of the pixels in tracks of the same id."""
    classes = [np.stack(maps).astype(np.int64) for maps in (first[0], second[0])]
    same = int((classes[0] == classes[1]).sum())
    tracks = [np.stack(maps).astype(np.int64) for maps in (first[1], second[1])]
    inside = int(((tracks[0] > 0) | (tracks[1] > 0)).sum())
    matched = int(((tracks[0] == tracks[1]) & (tracks[0] > 0)).sum())
    return same / (2 * classes[0].size - same), matched / inside if inside else 1.0
