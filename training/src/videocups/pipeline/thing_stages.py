"""The stages from pseudo-classes and tracks to things: describe and split, or align and split as the paper has it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from videocups.fusion.alignment import ClassCounts, align, count_classes, majority_classes, track_votes
from videocups.fusion.instance_classes import TrackDescription, describe_segments
from videocups.fusion.split import SplitConfig, ThingStuffSplit, split_things
from videocups.fusion.things import ClipTracks, Things, ThingsConfig, find_things
from videocups.pipeline.feature_settings import Features, extractor_of, modules_of, resolve
from videocups.pipeline.semantic_stages import SemanticsConfig, clusters_from_arrays, clusters_to_arrays
from videocups.pipeline.stage import Input, Output, Stage
from videocups.pipeline.work import Work

LOOKS = 12
"""at so many frames each track is looked at, if it is in so many; a median of more is hardly another."""
READS = (Input("semantics_smooth", need="any"), Input("tracks", need="any"))


@dataclass(frozen=True)
class DescribeSettings:
    """What the description of a clip's tracks depends on."""

    features: Features
    classes: int
    looks: int = LOOKS


@dataclass(frozen=True)
class SplitSettings:
    """What the things depend on."""

    split: SplitConfig
    things: ThingsConfig


@dataclass(frozen=True)
class AlignSettings:
    """What the alignment depends on."""

    classes: int


def thing_stages(semantics: SemanticsConfig, split: SplitConfig, things: ThingsConfig) -> tuple[Stage, ...]:
    """Return the stages; they read what the instance and semantic stages write."""
    classes = semantics.kmeans.classes
    if things.classes_from == "pixels":
        aligned = (Output("semantics_aligned", ".png", each_frame=True), Output("class_counts", ".json"))
        counts, stuff = Input("class_counts", need="any"), Output("thing_stuff", ".json")
        return (
            Stage("align", "clip", align_clip, AlignSettings(classes), READS, aligned),
            Stage("split", "data", split_classes, split, (counts,), (stuff,), final=True),
        )
    settings = DescribeSettings(resolve(semantics.features), classes)
    reads = (*READS, Input("frames", need="any"))
    found = (Output("thing_stuff", ".json"), Output("things", ".npz"))
    described = Output("track_votes", ".npz")
    return (
        Stage(
            "describe",
            "clip",
            describe_clip,
            settings,
            reads,
            (described,),
            loads=modules_of(semantics.features.kind),
        ),
        Stage(
            "split",
            "data",
            split_tracks,
            SplitSettings(split, things),
            (Input("track_votes", need="any"),),
            found,
            final=True,
        ),
    )


def describe_clip(work: Work, settings: DescribeSettings) -> dict[str, Any]:
    """Count the classes under each track and everywhere, and describe each track as a whole."""
    numbers = [number for number in work.numbers("semantics_smooth") if work.has("tracks", number)]
    votes = clip_votes(work, numbers, settings.classes)
    ids = np.flatnonzero(votes[1:].any(axis=1)) + 1
    seen = _describe(work, numbers, settings)
    vectors = [np.median(seen[track], axis=0) for track in ids.tolist()]
    frames = np.array([len(seen[track]) for track in ids.tolist()], np.int64)
    stacked = np.stack(vectors).astype(np.float32) if vectors else np.zeros((0, 0), np.float32)
    arrays = {"ids": ids, "votes": votes[ids], "all_px": votes.sum(axis=0), "vectors": stacked, "frames": frames}
    return {"track_votes": arrays}


def clip_votes(work: Work, numbers: Sequence[int], classes: int) -> NDArray[np.int64]:
    """Return (highest track + 1, K): pixels of each class in each track of a clip, row 0 outside all."""
    highest = max((int(work.read("tracks", number).max(initial=0)) for number in numbers), default=0)
    votes = np.zeros((highest + 1, classes), np.int64)
    for number in numbers:
        found = track_votes([work.read("semantics_smooth", number)], [work.read("tracks", number)], classes)
        votes[: len(found)] += found
    return votes


def _describe(work: Work, numbers: Sequence[int], settings: DescribeSettings) -> dict[int, list[NDArray[np.float32]]]:
    """Look at the frames in a random order until every track was looked at often enough."""
    extractor, seen = extractor_of(settings.features), dict[int, list[NDArray[np.float32]]]()
    for number in np.random.default_rng(0).permutation(numbers).tolist() if numbers else ():
        tracks = work.read("tracks", number)
        present = np.unique(tracks[tracks > 0]).tolist()
        if all(len(seen.get(track, ())) >= settings.looks for track in present):
            continue
        described = describe_segments(tracks, extractor.extract(work.read("frames", number).copy()))
        for track, vector in described.items():
            seen.setdefault(track, []).append(vector)
    return seen


def split_tracks(work: Work, settings: SplitSettings) -> dict[str, Any]:
    """Decide over all clips which tracks are things, of which classes, and which pixel classes are stuff."""
    found = [clip.read("track_votes") for clip in work.members() if clip.has("track_votes", None)]
    tracks = [tracks_from_arrays(arrays) for arrays in found]
    inside = sum((clip.votes.sum(axis=0) for clip in tracks), np.zeros_like(found[0]["all_px"]))
    counts = ClassCounts(inside, sum((arrays["all_px"] for arrays in found), np.zeros_like(inside)))
    things = find_things(tracks, counts, settings.split, settings.things)
    table = things.split.table()
    for row in table["classes"]:
        row["panoptic_class"] = int(things.class_of_pixel_class[row["class_id"]])
    ignored = sum(len(clip.ids) - len(things.kept(clip, settings.things)) for clip in tracks)
    table["tracks"] = {"all": sum(len(clip.ids) for clip in tracks), "unlike_movers": ignored}
    table["panoptic_classes"] = {"stuff": things.stuff, "things": things.things}
    return {"thing_stuff": table, "things": things_to_arrays(things)}


def align_clip(work: Work, settings: AlignSettings) -> dict[str, Any]:
    """Give every track one class, and count what classes have inside tracks and everywhere."""
    numbers = [number for number in work.numbers("semantics_smooth") if work.has("tracks", number)]
    class_of = majority_classes(clip_votes(work, numbers, settings.classes))
    frames, counts = [], ClassCounts(*(np.zeros(settings.classes, np.int64) for _ in range(2)))
    for number in numbers:
        tracks = [work.read("tracks", number)]
        aligned = align([work.read("semantics_smooth", number)], tracks, class_of)
        counts += count_classes(aligned, tracks, settings.classes)
        frames.append((number, aligned[0]))
    by_track = {str(track): class_id for track, class_id in class_of.items()}
    table = {"inside_px": counts.inside_px.tolist(), "all_px": counts.all_px.tolist(), "class_of_track": by_track}
    return {"semantics_aligned": frames, "class_counts": table}


def split_classes(work: Work, config: SplitConfig) -> dict[str, Any]:
    """Decide over all clips which pseudo-classes are things."""
    counts = [counts_from_json(clip.read("class_counts")) for clip in work.members() if clip.has("class_counts", None)]
    total = counts[0]
    for other in counts[1:]:
        total += other
    return {"thing_stuff": split_things(total, config).table()}


def counts_from_json(table: Mapping[str, Any]) -> ClassCounts:
    """Return the counts of a clip."""
    return ClassCounts(*(np.array(table[name], np.int64) for name in ("inside_px", "all_px")))


def tracks_from_arrays(arrays: Mapping[str, NDArray[Any]]) -> ClipTracks:
    """Return the tracks that ``describe_clip`` stored; those that no frame showed have no description."""
    rows = zip(arrays["ids"].tolist(), arrays["vectors"], arrays["frames"].tolist(), strict=True)
    described = {track: TrackDescription(vector, frames) for track, vector, frames in rows}
    return ClipTracks(arrays["ids"], arrays["votes"], described)


def things_to_arrays(things: Things) -> dict[str, NDArray[Any]]:
    """Return what the panoptic stage needs as arrays."""
    counts = things.split.counts
    arrays = {"inside_px": counts.inside_px, "all_px": counts.all_px, "is_thing": things.split.is_thing}
    arrays |= {"class_of_pixel_class": things.class_of_pixel_class}
    arrays |= {"panoptic_classes": np.array([things.stuff, things.things])}
    return arrays if things.clusters is None else {**arrays, **clusters_to_arrays(things.clusters)}


def things_from_arrays(arrays: Mapping[str, NDArray[Any]], config: ThingsConfig) -> Things:
    """Return what ``things_to_arrays`` stored."""
    counts = ClassCounts(arrays["inside_px"], arrays["all_px"])
    split = ThingStuffSplit(np.zeros(len(counts.all_px)), arrays["is_thing"], 0.0, counts)
    stuff, things = arrays["panoptic_classes"].tolist()
    clusters = clusters_from_arrays(arrays, config.instances.kmeans) if "centers" in arrays else None
    return Things(split, arrays["class_of_pixel_class"], stuff, things, clusters)
