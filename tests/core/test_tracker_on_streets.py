"""The tracker on true masks of recorded traffic, blind to looks: how far do overlap and motion alone carry it?"""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from videocups_core.panoptic.merge import Merged
from videocups_core.tracking import AssociationConfig, Tracker, TrackerConfig

DATA = Path(os.environ.get("VIDEOCUPS_DATA", Path(__file__).parents[3] / "shared" / "data")) / "streets"


def read_things(clip: Path) -> list[tuple[list[int], Merged]]:
    """True track ids and things of every frame; things below 20 px are left out."""
    frames = []
    for path in sorted((clip / "truth" / "track").glob("*.png")):
        tracks = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        classes = cv2.imread(str(clip / "truth" / "class" / path.name), cv2.IMREAD_UNCHANGED)
        names, areas = np.unique(tracks[tracks > 0], return_counts=True)
        names = names[areas >= 20].tolist()
        labels, boxes, class_ids = np.ones(tracks.shape, np.uint8), [], []
        for row, name in enumerate(names):
            mask = tracks == name
            labels[mask] = 2 + row
            ys, xs = np.nonzero(mask)
            boxes.append((xs.min(), ys.min(), xs.max() + 1, ys.max() + 1))
            class_ids.append(np.bincount(classes[mask]).argmax())
        count = len(names)
        merged = Merged(
            labels=labels,
            first_thing_label=2,
            source=np.arange(count),
            boxes=np.array(boxes, np.float32).reshape(count, 4),
            scores=np.full(count, 0.9, np.float32),
            class_ids=np.array(class_ids, np.int64),
            embeddings=np.zeros((count, 1), np.float32),
            areas_px=areas[areas >= 20],
        )
        frames.append((names, merged))
    return frames


def follow(frames: list[tuple[list[int], Merged]], config: TrackerConfig) -> tuple[float, int]:
    """Share of frame-to-frame links kept, and how often a track went over to another object."""
    tracker = Tracker(config)
    kept = links = takeovers = 0
    before: dict[int, int] = {}
    owner: dict[int, int] = {}
    for names, merged in frames:
        now = {name: row.track_id for name, row in zip(names, tracker.update(merged)[0], strict=True)}
        links += len(now.keys() & before.keys())
        kept += sum(before.get(name) == track_id for name, track_id in now.items())
        takeovers += sum(owner.get(track_id, name) != name for name, track_id in now.items())
        owner.update({track_id: name for name, track_id in now.items()})
        before = now
    return kept / links, takeovers


@pytest.mark.skipif(not DATA.is_dir(), reason=f"no streets at {DATA}; set VIDEOCUPS_DATA")
@pytest.mark.parametrize("name", ["clip_a", "clip_b"])
def test_proximity_keeps_more_links_and_takes_over_fewer(name: str) -> None:
    frames = read_things(DATA / name)
    kept, takeovers = follow(frames, TrackerConfig())
    without = TrackerConfig(association=AssociationConfig(proximity_weight=0))
    kept_without, takeovers_without = follow(frames, without)
    assert kept > kept_without
    assert takeovers < takeovers_without
    assert kept > 0.95
