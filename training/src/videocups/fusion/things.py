"""Things from whole instances: which tracks are things, of which class, and what that makes of the pixel classes.

Pixel classes that often lie in tracks ("thing-like") are no classes of their own then: their pixels outside tracks
belong to the class of instances that they mostly lie in, as a crowd that nobody told apart. So the panoptic classes are
the remaining pixel classes and, after them, the classes of instances.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from videocups.fusion.alignment import ClassCounts
from videocups.fusion.instance_classes import (
    InstanceClassConfig,
    TrackDescription,
    classify_tracks,
    find_instance_classes,
)
from videocups.fusion.likeness import likeness
from videocups.fusion.split import SplitConfig, ThingStuffSplit, split_things
from videocups.semantics.kmeans import Clusters
from videocups_core.config import setting


@dataclass(frozen=True)
class ThingsConfig:
    """How tracks become things."""

    # pixels: a track has the class of most of its pixels, and is a thing if that is a thing class (VideoCUPS);
    # instances: tracks are described as wholes and clustered
    classes_from: Literal["instances", "pixels"] = setting(
        "instances", "whether classes of things come from whole instances or from the majority of their pixels"
    )
    # tracks that look less like what else moves than this are ignored; 1 is by chance, 0 keeps all
    min_likeness: float = setting(0.8, "tracks that look less like other movers are ignored; 1 is chance", minimum=0.0)
    likeness_prior: float = setting(0.3, "what is assumed of rarely seen classes, in average classes", minimum=0.0)
    instances: InstanceClassConfig = field(default_factory=InstanceClassConfig)


@dataclass(frozen=True)
class ClipTracks:
    """The tracks of one clip: ``ids`` (T,), ``votes`` (T, K) pixels of each class under them, and descriptions."""

    ids: NDArray[np.int64]
    votes: NDArray[np.int64]
    described: Mapping[int, TrackDescription] = field(default_factory=dict)


@dataclass(frozen=True)
class Things:
    """What all clips together say.

    ``split``: of the K pixel classes, from counts before any track took a class. ``class_of_pixel_class``: (K,) the
    panoptic class of each. ``stuff``: number of panoptic classes that are stuff; those of instances follow.
    ``clusters``: of the descriptions, None where no track was described.
    """

    split: ThingStuffSplit
    class_of_pixel_class: NDArray[np.int64]
    stuff: int
    things: int
    clusters: Clusters | None

    def classes_of(self, tracks: ClipTracks, config: ThingsConfig) -> tuple[dict[int, int], frozenset[int]]:
        """Return the panoptic class of each track that is a thing, and the tracks that are too unlike the others."""
        kept = self.kept(tracks, config)
        described = {track: tracks.described[track] for track in kept if track in tracks.described}
        if self.clusters is None:
            return {}, frozenset(tracks.ids.tolist())
        found = classify_tracks(described, self.clusters, self.stuff)
        return found, frozenset(tracks.ids.tolist()) - found.keys()

    def kept(self, tracks: ClipTracks, config: ThingsConfig) -> list[int]:
        """Return the tracks of a clip that look like what moves."""
        counts = self.split.counts
        alike = likeness(tracks.votes, counts.inside_px, counts.all_px, config.likeness_prior)
        return [int(track) for track in tracks.ids[alike >= config.min_likeness]]


def find_things(clips: Sequence[ClipTracks], counts: ClassCounts, split: SplitConfig, config: ThingsConfig) -> Things:
    """Decide over all clips; ``counts``: pixels of the K classes inside tracks and everywhere, before alignment."""
    divided = split_things(counts, split)
    nobody = Things(divided, np.arange(len(divided.is_thing)), len(divided.is_thing), 0, None)
    kept = [(clip, nobody.kept(clip, config)) for clip in clips]
    described = [{t: clip.described[t] for t in tracks if t in clip.described} for clip, tracks in kept]
    seen = sum(track.frames >= config.instances.min_frames for clip in described for track in clip.values())
    if seen == 0:  # nothing moves in these clips: all classes are stuff
        return nobody
    settings = replace(config.instances, classes=min(config.instances.classes, seen))
    clusters = find_instance_classes(described, settings)
    stuff = int((~divided.is_thing).sum())
    inside = np.zeros((settings.classes, len(divided.is_thing)), np.int64)
    for (clip, _), tracks in zip(kept, described, strict=True):
        row_of = {int(track): row for row, track in enumerate(clip.ids)}
        for track, class_id in classify_tracks(tracks, clusters, 0).items():
            inside[class_id] += clip.votes[row_of[track]]
    renumbered = np.cumsum(~divided.is_thing) - 1
    class_of = np.where(divided.is_thing, stuff + inside.argmax(axis=0), renumbered)
    return Things(divided, class_of, stuff, settings.classes, clusters)
