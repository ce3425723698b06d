"""The model that comes with the project, on streets it never learned from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from videocups.synthetic import World, WorldConfig
from videocups_core.bundle import ModelBundle, read_bundle
from videocups_core.engine.onnx import OnnxConfig, OnnxEngine
from videocups_core.stream import Stream
from videocups_core.types import PanopticFrame

FOLDER = Path(__file__).parents[3] / "ros2_ws/src/videocups_perception/models/street_small"
SEED, FRAMES = 1001, range(8, 14)  # seeds from 1000 on are for evaluation only


@pytest.fixture(scope="module")
def bundle() -> ModelBundle:
    return read_bundle(FOLDER)


@pytest.fixture(scope="module")
def answers(bundle: ModelBundle) -> list[tuple[PanopticFrame, np.ndarray, np.ndarray, tuple[int, ...]]]:
    """Answer, true classes, true tracks and those that move, of each frame."""
    world = World(WorldConfig(seed=SEED, num_frames=30))
    names = {info.class_id: info.name for info in world.classes}
    engine = OnnxEngine(bundle, OnnxConfig("cpu", threads=1))
    engine.load()
    stream = Stream(bundle, engine)
    found = []
    for index in FRAMES:
        truth = world.frame(index)
        class_names = np.array([names.get(number, "") for number in range(256)])[truth.class_map]
        found.append((stream.step(truth.rgb, index * 100_000_000), class_names, truth.track_map, truth.moving_tracks))
    return found


def test_it_is_small_and_says_where_it_comes_from(bundle):
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 12e6
    assert bundle.model_id == "street_small"
    assert bundle.training_config["data"]["labels"] == "panoptic"  # pseudo-labels, no truth
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert "training/configs/shipped.yaml" in card


def test_it_tells_road_and_sky(bundle, answers):
    names = {info.class_id: info.name.split()[0] for info in bundle.classes}
    for wanted, members in (("road", ("road", "lane_line", "crosswalk")), ("sky", ("sky",))):
        hits = total = 0
        for frame, class_names, _, _ in answers:
            said = np.zeros(frame.segment_ids.shape, bool)
            for segment in frame.segments:
                if names[segment.class_id] == wanted:
                    said |= frame.segment_ids == segment.segment_id
            true = np.isin(class_names, members)
            hits, total = hits + int((said & true).sum()), total + int((said | true).sum())
        assert hits / total > 0.6, wanted


def test_it_finds_vehicles_and_follows_them(answers):
    """Also parked ones, which pseudo-labels hardly ever showed it."""
    followed: dict[int, set[int]] = {}
    moved = {track for *_, moving in answers for track in moving}
    for frame, class_names, tracks, _ in answers:
        vehicles = np.where(np.isin(class_names, ("car", "truck", "bus")), tracks, 0)
        for track in np.unique(vehicles[vehicles > 0]).tolist():
            mask = vehicles == track
            if mask.sum() > 600:
                for segment in frame.segments:
                    own = frame.segment_ids == segment.segment_id
                    if segment.is_thing and (own & mask).sum() > 0.5 * (own | mask).sum():
                        followed.setdefault(track, set()).add(segment.track_id)
    assert len(followed) >= 3
    assert followed.keys() - moved, "one of them stands all the time"
    assert sum(len(ids) == 1 for ids in followed.values()) >= 3
