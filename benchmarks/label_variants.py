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
from instances import Row, count_row
from label_scores import Scores, Ways, matched_score, mean_iou, ways_of_clip
from labelled_clips import labelled_clip

from videocups.evaluate.datasets import TableDataset, open_dataset
from videocups.evaluate.overlaps import PairCounts, count_pairs
from videocups.fusion.alignment import ClassCounts, align, count_classes, majority_classes, track_votes
from videocups.fusion.instance_classes import TrackDescription, describe_tracks
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
    """A way to pseudo-classes. ``name`` is its folder; ``codes`` describe an image, ``weights`` as features have.

    Images are not cut into windows: what describes one scale of a frame serves all clusterings.
    """

    name: str
    codes: Callable[[np.ndarray], FeatureMap]
    weights: np.ndarray | None
    inference: InferenceConfig


class Bench:
    """The clips of one data set, at most ``frames`` frames of each, with ``seeds`` clusterings of each semantics."""

    def __init__(
        self, root: Path, dataset: str, truth: Path, frames: int, seeds: int = 1, config: LabelConfig | None = None
    ) -> None:
        self.root, self.config, self.seeds = root, config or LabelConfig(), seeds
        self.dataset: TableDataset = open_dataset(dataset, truth)
        self.sources = {
            sequence.key: truth / sequence.key if (truth / sequence.key).is_dir() else truth
            for sequence in self.dataset.sequences()
        }
        for name, source in self.sources.items():
            link_labelled(source, root / name, frames)
        self.workspace = Workspace.open(root)
        self._described: dict[int, tuple[dict[str, Maps], dict[str, dict[int, TrackDescription]]]] = {}

    @cached_property
    def clips(self) -> dict[str, Clip]:
        """The clips by name."""
        return {folder.name: Clip(folder) for folder in self.workspace.clips}

    @cached_property
    def ways(self) -> Ways:
        """How the true tracks move."""
        return {
            (name, track): way
            for name, clip in self.clips.items()
            for track, way in ways_of_clip(self.sources[name], len(clip)).items()
        }

    def make_tracks(self) -> None:
        """Bring cues, instances and tracks up to date."""
        run_stages(self.config.stages().up_to(["tracks"]), self.workspace, RunConfig(executor="inline"))

    def classes(self, semantics: Semantics, seed: int = 0) -> dict[str, Maps]:
        """Return the class maps of all frames; those of all clusterings are computed together, once."""
        folders = [self.root / "variants" / f"{semantics.name}-{number}" for number in range(self.seeds)]
        memory = Memory(semantics.codes)
        models: list[SemanticModel] = []
        for name, clip in self.clips.items():
            for number in range(len(clip)):
                paths = [folder / name / f"{frame_name(number)}.png" for folder in folders]
                if all(path.is_file() for path in paths):
                    continue
                models = models or self.models(semantics, range(self.seeds))
                rgb, depth_m = clip.frame_rgb(number), self.depth_m(clip, number)
                memory.forget()
                for path, model in zip(paths, models, strict=True):
                    if not path.is_file():
                        labels = predict(rgb, replace(model, codes=memory.codes), depth_m, semantics.inference)
                        write_atomically(path, encode(labels, ".png"))
        return {
            name: [decode(folders[seed] / name / f"{frame_name(number)}.png") for number in range(len(clip))]
            for name, clip in self.clips.items()
        }

    def class_iou(self, semantics: Semantics, every: int, seed: int) -> float:
        """Return the mean IoU of classes alone, of every ``every``-th frame."""
        (model,) = self.models(semantics, [seed])
        pairs: dict[str, list[PairCounts]] = {name: [] for name in self.clips}
        for name, clip in self.clips.items():
            sequence = next(item for item in self.dataset.sequences() if item.key == name)
            for number in range(0, len(clip), every):
                labels = predict(clip.frame_rgb(number), model, self.depth_m(clip, number), semantics.inference)
                true_class, true_id = self.dataset.truth(sequence, sequence.frames[number])
                pairs[name].append(count_pairs((labels, np.zeros_like(true_id), true_class, true_id)))
        return mean_iou(self.dataset, pairs, KMEANS.classes)

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

    def movers(self) -> Row:
        """Count how well the tracks find what moves, whatever its class."""
        total = Row()
        for name, maps in self.tracks().items():
            clip = labelled_clip(self.sources[name])
            truths = [clip.truth(number).objects for number in range(len(maps))]
            total.merge(count_row(maps, truths, [clip.ways(number) for number in range(len(maps))]))
        return total

    def panoptic(self, classes: dict[str, Maps], tracks: dict[str, Maps], by: str) -> Scores:
        """Fuse classes and tracks by "pixels" or by "instances" and score the result."""
        fuse = self._by_pixels if by == "pixels" else self._by_instances
        table, maps = fuse(classes, tracks)
        pairs = {name: list(self._pairs(name, *both, table, dropped)) for name, (*both, dropped) in maps.items()}
        return matched_score(self.dataset, pairs, table, self.ways)

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
        clips, described = {}, self._descriptions(tracks)
        everywhere = np.zeros(KMEANS.classes, np.int64)
        for name, maps in classes.items():
            votes = track_votes(maps, tracks[name], KMEANS.classes)
            everywhere += votes.sum(axis=0)
            ids = np.flatnonzero(votes[1:].any(axis=1)) + 1
            clips[name] = ClipTracks(ids, votes[ids], described[name])
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

    def _descriptions(self, tracks: dict[str, Maps]) -> dict[str, dict[int, TrackDescription]]:
        """Describe tracks once: neither classes nor clusterings change how they look."""
        if id(tracks) not in self._described:
            extractor, found = ClassicalFeatures(), {}
            for name, maps in tracks.items():
                seen = [n for n, ids in enumerate(maps) if ids.any()]
                features = (extractor.extract(self.clips[name].frame_rgb(n)) for n in seen)
                found[name] = describe_tracks([maps[n] for n in seen], features)
            self._described[id(tracks)] = tracks, found  # the maps are kept, so that their id is not given away
        return self._described[id(tracks)][1]

    def _pairs(
        self, name: str, classes: Maps, tracks: Maps, table: tuple[ClassInfo, ...], dropped: frozenset[int]
    ) -> Iterator[PairCounts]:
        sequence = next(item for item in self.dataset.sequences() if item.key == name)
        stamps = range(len(classes))
        frames = panoptic_frames(classes, tracks, table, stamps, self.config.panoptic, dropped)
        for frame, truth in zip(frames, sequence.frames, strict=False):
            true_class, true_id = self.dataset.truth(sequence, truth)
            yield count_pairs((frame.class_map(), frame.track_map().astype(np.int64), true_class, true_id))

    def models(self, semantics: Semantics, seeds: Sequence[int]) -> list[SemanticModel]:
        """Cluster the codes of every third frame, once for each seed."""
        images = [clip.frame_rgb(n) for clip in self.clips.values() for n in range(0, len(clip), 3)]
        maps = [semantics.codes(rgb) for rgb in images]
        found = []
        for seed in seeds:
            vectors = sample_vectors(maps, 1000, seed)
            clusters = find_clusters(vectors, replace(KMEANS, seed=seed), semantics.weights)
            found.append(SemanticModel(semantics.codes, clusters, windowed=False))
        return found

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


class Memory:
    """What was said of the image in hand: clusterings of one frame share its features at each scale."""

    def __init__(self, codes: Callable[[np.ndarray], FeatureMap]) -> None:
        self._codes = codes
        self._known: dict[tuple[int, ...], FeatureMap] = {}

    def codes(self, rgb: np.ndarray) -> FeatureMap:
        """Describe the image, or remember it by its size."""
        if rgb.shape not in self._known:
            self._known[rgb.shape] = self._codes(rgb)
        return self._known[rgb.shape]

    def forget(self) -> None:
        """Go on to another frame."""
        self._known.clear()


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
