"""Variants of the way from cues to panoptic labels, with everything that they share computed once and kept.

A ``Bench`` is a folder: clips with truth beside links to their frames, the artefacts of the pipeline up to tracks, and
the class maps of every variant of the semantics.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from videocups.evaluate.choose_mapping import PredictedClasses, match
from videocups.evaluate.counting import without_stuff_ids
from videocups.evaluate.datasets import TableDataset, open_dataset
from videocups.evaluate.overlaps import PairCounts, add_pairs, count_pairs
from videocups.evaluate.stq import StqAccumulator
from videocups.fusion.alignment import ClassCounts, align, count_classes, majority_classes, track_votes
from videocups.fusion.instance_classes import describe_tracks
from videocups.fusion.panoptic_clip import class_table, panoptic_frames
from videocups.fusion.smoothing import smooth_frame
from videocups.fusion.split import split_things
from videocups.fusion.things import ClipTracks, find_things
from videocups.pipeline.cue_formats import flow_from_arrays
from videocups.pipeline.formats import decode, encode
from videocups.pipeline.label_config import LabelConfig
from videocups.pipeline.run import RunConfig, run_stages
from videocups.pipeline.workspace import Workspace
from videocups.semantics.features import FeatureMap
from videocups.semantics.features_classical import ClassicalFeatures
from videocups.semantics.inference import InferenceConfig, SemanticModel, predict
from videocups.semantics.kmeans import KMeansConfig, find_clusters, sample_vectors
from videocups_core.clip import Clip, ClipInfo, frame_name, read_clip_info, write_atomically, write_clip_info
from videocups_core.types import CameraModel, ClassInfo

Maps = Sequence[np.ndarray]
FRAME_NS = 100_000_000
KMEANS = KMeansConfig()


@dataclass(frozen=True)
class Semantics:
    """A way to pseudo-classes. ``name`` is its folder; ``codes`` describe an image, ``weights`` as features have."""

    name: str
    codes: Callable[[np.ndarray], FeatureMap]
    weights: np.ndarray | None
    inference: InferenceConfig
    windowed: bool = False


class Bench:
    """The clips of one data set, at most ``frames`` frames of each."""

    def __init__(self, root: Path, dataset: str, truth: Path, frames: int) -> None:
        self.root, self.config = root, LabelConfig()
        self.dataset: TableDataset = open_dataset(dataset, truth)
        for sequence in self.dataset.sequences():
            source = truth / sequence.key if (truth / sequence.key).is_dir() else truth
            link_labelled(source, root / sequence.key, frames)
        self.workspace = Workspace.open(root)

    @cached_property
    def clips(self) -> dict[str, Clip]:
        """The clips by name."""
        return {folder.name: Clip(folder) for folder in self.workspace.clips}

    def make_tracks(self) -> None:
        """Bring cues, instances and tracks up to date."""
        run_stages(self.config.stages().up_to(["tracks"]), self.workspace, RunConfig(executor="inline"))

    def classes(self, semantics: Semantics, seed: int = 0) -> dict[str, Maps]:
        """Return the class maps of all frames; they are computed once."""
        model, found = None, {}
        for name, clip in self.clips.items():
            maps = []
            for number in range(len(clip)):
                path = self.root / "variants" / f"{semantics.name}-{seed}" / name / f"{frame_name(number)}.png"
                if not path.is_file():
                    model = model or self._model(semantics, seed)
                    labels = predict(clip.frame_rgb(number), model, self.depth_m(clip, number), semantics.inference)
                    write_atomically(path, encode(labels, ".png"))
                maps.append(decode(path))
            found[name] = maps
        return found

    def smoothed(self, classes: dict[str, Maps]) -> dict[str, Maps]:
        """Return the class maps after the vote of three frames."""
        return {name: list(_smooth(self.clips[name], maps)) for name, maps in classes.items()}

    def masks(self) -> dict[str, Maps]:
        """Return the instances of single frames: each mask of each frame is a track of its own."""
        found = {}
        for name, clip in self.clips.items():
            maps = self._ids(clip, "instances")
            offsets = np.cumsum([0, *(int(ids.max(initial=0)) for ids in maps[:-1])])
            found[name] = [np.where(ids > 0, ids + offset, 0) for ids, offset in zip(maps, offsets, strict=True)]
        return found

    def tracks(self) -> dict[str, Maps]:
        """Return the tracks."""
        return {name: self._ids(clip, "tracks") for name, clip in self.clips.items()}

    def panoptic(self, classes: dict[str, Maps], tracks: dict[str, Maps], by: str) -> Scores:
        """Fuse classes and tracks by "pixels" or by "instances" and score the result."""
        fuse = self._by_pixels if by == "pixels" else self._by_instances
        table, maps = fuse(classes, tracks)
        pairs = {name: list(self._pairs(name, *both, table, dropped)) for name, (*both, dropped) in maps.items()}
        return score(self.dataset, pairs, table)

    def _by_pixels(self, classes, tracks):
        counts = ClassCounts(*(np.zeros(KMEANS.classes, np.int64) for _ in range(2)))
        maps = {}
        for name in classes:
            class_of = majority_classes(track_votes(classes[name], tracks[name], KMEANS.classes))
            aligned = align(classes[name], tracks[name], class_of)
            counts += count_classes(aligned, tracks[name], KMEANS.classes)
            maps[name] = (aligned, tracks[name], frozenset())
        return class_table(split_things(counts, self.config.split).is_thing), maps

    def _by_instances(self, classes, tracks):
        extractor, clips = ClassicalFeatures(), {}
        everywhere = np.zeros(KMEANS.classes, np.int64)
        for name, maps in classes.items():
            votes = track_votes(maps, tracks[name], KMEANS.classes)
            everywhere += votes.sum(axis=0)
            seen = [n for n, ids in enumerate(tracks[name]) if ids.any()]
            features = (extractor.extract(self.clips[name].frame_rgb(n)) for n in seen)
            ids = np.flatnonzero(votes[1:].any(axis=1)) + 1
            clips[name] = ClipTracks(ids, votes[ids], describe_tracks([tracks[name][n] for n in seen], features))
        inside = sum(clip.votes.sum(axis=0) for clip in clips.values())
        config = self.config.things
        if max(track.frames for clip in clips.values() for track in clip.described.values()) == 1:  # no tracking
            config = replace(config, instances=replace(config.instances, min_frames=1))
        things = find_things([*clips.values()], ClassCounts(inside, everywhere), self.config.split, config)
        result = {}
        for name, maps in classes.items():
            class_of, dropped = things.classes_of(clips[name], config)
            renamed = [things.class_of_pixel_class.astype(np.uint8)[labels] for labels in maps]
            result[name] = (align(renamed, tracks[name], class_of), tracks[name], dropped)
        return class_table([False] * things.stuff, things.things), result

    def _pairs(
        self, name: str, classes: Maps, tracks: Maps, table: tuple[ClassInfo, ...], dropped: frozenset[int]
    ) -> Iterator[PairCounts]:
        sequence = next(item for item in self.dataset.sequences() if item.key == name)
        stamps = range(len(classes))
        frames = panoptic_frames(classes, tracks, table, stamps, self.config.panoptic, dropped)
        for frame, truth in zip(frames, sequence.frames, strict=False):
            true_class, true_id = self.dataset.truth(sequence, truth)
            yield count_pairs((frame.class_map(), frame.track_map().astype(np.int64), true_class, true_id))

    def _model(self, semantics: Semantics, seed: int) -> SemanticModel:
        images = (clip.frame_rgb(n) for clip in self.clips.values() for n in range(0, len(clip), 3))
        vectors = sample_vectors((semantics.codes(rgb) for rgb in images), 1000, seed)
        clusters = find_clusters(vectors, replace(KMEANS, seed=seed), semantics.weights)
        return SemanticModel(semantics.codes, clusters, semantics.windowed)

    def depth_m(self, clip: Clip, number: int, far: float = np.inf) -> np.ndarray:
        """Return a frame's depth; where it is not known, all is ``far``."""
        path = clip.path("depth", number, ".npz")
        if not path.is_file():
            return np.full((clip.info.height, clip.info.width), far, np.float32)
        return decode(path)["depth_heights"].astype(np.float32) * np.float32(1.5)

    def _ids(self, clip: Clip, kind: str) -> list[np.ndarray]:
        paths = [clip.path(kind, number, ".png") for number in range(len(clip))]
        nothing = np.zeros((clip.info.height, clip.info.width), np.int32)
        return [decode(path) if path.is_file() else nothing for path in paths]


@dataclass(frozen=True)
class Scores:
    """``aq_tracks``: AQ of the tracks alone. In ``aq`` a crowd, which training ignores, counts as one more track."""

    stq: float
    aq: float
    sq: float
    aq_tracks: float


def score(dataset: TableDataset, pairs: dict[str, list[PairCounts]], table: Sequence[ClassInfo]) -> Scores:
    """Match the classes over all clips and return the scores."""
    count = len(table)
    overlap = np.zeros((count + 1, dataset.num_classes), np.int64)
    for frame in (frame for frames in pairs.values() for frame in frames):
        for (pred_class, _, true_class, _), pixels in frame.items():
            if true_class != dataset.void:
                overlap[min(pred_class, count), true_class] += pixels
    things = frozenset(info.class_id for info in table if info.is_thing)
    mapping = match(dataset, PredictedClasses(count, frozenset(range(count)), things, {}), overlap)
    total, alone = (StqAccumulator(dataset.things, dataset.num_classes, dataset.void) for _ in range(2))
    stuff = min(dataset.scored - dataset.things)
    for name, frames in pairs.items():
        for frame in frames:
            mapped = without_stuff_ids(mapping.apply_pairs(frame), dataset.things)
            total.update_pairs(name, mapped)
            alone.update_pairs(name, without_crowds(mapped, dataset.things, stuff))
    result = total.result()
    return Scores(result.stq, result.aq, result.sq, alone.result().aq)


def without_crowds(pairs: PairCounts, things: frozenset[int], stuff: int) -> PairCounts:
    """Take predicted things without an id for ``stuff``: then they are no track."""
    kept: PairCounts = {}
    for (pred_class, pred_id, true_class, true_id), pixels in pairs.items():
        crowd = pred_class in things and pred_id == 0
        add_pairs(kept, {(stuff if crowd else pred_class, pred_id, true_class, true_id): pixels})
    return kept


def _smooth(clip: Clip, maps: Maps) -> Iterator[np.ndarray]:
    def neighbour(frame: int, pair: int):
        path = clip.path("flow", max(pair, 0), ".npz")
        if not 0 <= frame < len(maps) or not path.is_file():
            return None
        return maps[frame], flow_from_arrays(decode(path))

    for t, own in enumerate(maps):
        yield smooth_frame(own, neighbour(t - 1, t - 1), neighbour(t + 1, t))


def link_labelled(source: Path, target: Path, frames: int) -> None:
    """Make a clip of the first ``frames`` frames of a labelled one, without copying images."""
    target.mkdir(parents=True, exist_ok=True)
    if not (target / "frames").exists():
        (target / "frames").symlink_to((source / "frames").resolve(), target_is_directory=True)
    content = json.loads((source / "clip.json").read_text())
    if "schema_version" in content:
        info = read_clip_info(source)
        speeds = info.ego_speed_mps[:frames]
        info = replace(info, stamps_ns=info.stamps_ns[:frames], ego_speed_mps=speeds)
    else:
        k = (content["fx"], 0.0, content["cx"], 0.0, content["fy"], content["cy"], 0.0, 0.0, 1.0)
        size = content["width"], content["height"]
        stamps = tuple(range(0, FRAME_NS * min(frames, content["frames"]), FRAME_NS))
        info = ClipInfo(source.name, "camera", *size, stamps, CameraModel(*size, k))
    write_clip_info(target, info)
