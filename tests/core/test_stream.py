from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from videocups_core.bundle import ModelBundle
from videocups_core.engine.base import EngineInfo, InputSpec, RawOutputs
from videocups_core.engine.onnx import OnnxConfig, OnnxEngine
from videocups_core.panoptic.merge import MergeConfig
from videocups_core.standin import StandInOracle, StandInWorld
from videocups_core.stream import Stream, StreamConfig
from videocups_core.tracking import TrackerConfig
from videocups_core.types import ClassInfo, PanopticFrame, SegmentState

pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed here")


@pytest.fixture(scope="module")
def engine(standin_bundle: ModelBundle) -> OnnxEngine:
    loaded = OnnxEngine(standin_bundle, OnnxConfig("cpu", 1))
    loaded.load()
    return loaded


def assert_same(frame: PanopticFrame, expected: PanopticFrame) -> None:
    np.testing.assert_array_equal(frame.segment_ids, expected.segment_ids)
    assert {row.segment_id: row for row in frame.segments} == {row.segment_id: row for row in expected.segments}
    assert (frame.stamp_ns, frame.frame_index, frame.track_epoch) == (
        expected.stamp_ns,
        expected.frame_index,
        expected.track_epoch,
    )


@pytest.mark.parametrize(("size", "count"), [((256, 512), 150), ((512, 1024), 12), ((768, 1536), 4)])
def test_the_stand_in_answers_exactly(
    standin_bundle: ModelBundle, engine: OnnxEngine, size: tuple[int, int], count: int
) -> None:
    world = StandInWorld(*size)
    stream, oracle = Stream(standin_bundle, engine), StandInOracle(world)
    states = set()
    for index in range(count):
        expected = oracle.step(index, 1_000 * index)
        assert_same(stream.step(world.image_rgb(index), 1_000 * index), expected)
        states |= {row.state for row in expected.segments}
    if count >= 150:  # long enough for births, occlusions, losses and deaths
        assert states == set(SegmentState)
        assert stream.tracker.next_track_id > len(world.visible_boxes(0)) + 3


def test_dropped_frames_and_a_reset_are_followed(standin_bundle: ModelBundle, engine: OnnxEngine) -> None:
    world = StandInWorld()
    stream, oracle = Stream(standin_bundle, engine), StandInOracle(world)
    for index in [0, 1, 5, 6, 30, 31, 32, 40]:
        assert_same(stream.step(world.image_rgb(index), index), oracle.step(index, index))
    assert stream.goes_back(39)
    assert not stream.goes_back(40)
    stream.reset()
    oracle.reset()
    assert not stream.goes_back(0)
    for index in [0, 1, 2]:
        assert_same(stream.step(world.image_rgb(index), index), oracle.step(index, index))
    assert stream.track_epoch == 1


def test_two_streams_on_one_engine_do_not_mix(standin_bundle: ModelBundle, engine: OnnxEngine) -> None:
    world = StandInWorld()
    streams = [Stream(standin_bundle, engine) for _ in range(2)]
    oracles = [StandInOracle(world) for _ in range(2)]
    for index in range(6):
        for offset, (stream, oracle) in enumerate(zip(streams, oracles, strict=True)):
            frame = index + 40 * offset
            assert_same(stream.step(world.image_rgb(frame), frame), oracle.step(frame, frame))


def test_thresholds_change_between_frames(standin_bundle: ModelBundle, engine: OnnxEngine) -> None:
    world = StandInWorld()
    stream = Stream(standin_bundle, engine)
    before = stream.step(world.image_rgb(0), 0)
    stream.merge_config = replace(stream.merge_config, score_threshold=0.9)
    after = stream.step(world.image_rgb(0), 1)
    visible = [row.score for row in before.segments if row.is_thing and row.area_px]
    assert [row.score for row in after.segments if row.is_thing and row.area_px] == [s for s in visible if s >= 0.9]
    with pytest.raises(ValueError, match="exceed 255 labels"):
        stream.merge_config = replace(stream.merge_config, max_detections=254)
    assert stream.merge_config.score_threshold == 0.9


def test_confidence_is_given_on_request(standin_bundle: ModelBundle, engine: OnnxEngine) -> None:
    world = StandInWorld(512, 1024)
    stream = Stream(standin_bundle, engine)
    frame = stream.step(world.image_rgb(0), 0, confidence=True)
    assert stream.confidence is not None
    assert stream.confidence.shape == (512, 1024)
    for row in frame.segments:
        if row.is_thing and row.area_px:
            values = stream.confidence[frame.segment_ids == row.segment_id]
            assert set(np.unique(values)) == {round(row.score * 255)}
    road = frame.segment_ids == 5
    road[: 512 // 2] = False  # below, the prior speaks for the road
    assert (stream.confidence[road] == 255).all()
    stream.step(world.image_rgb(0), 1)
    assert stream.confidence is None


def test_timings_add_up(standin_bundle: ModelBundle, engine: OnnxEngine) -> None:
    stream = Stream(standin_bundle, engine)
    stream.step(StandInWorld(512, 1024).image_rgb(0), 0)
    timings = stream.timings
    assert min(timings.pre_ms, timings.infer_ms, timings.post_ms) > 0
    assert timings.total_ms == pytest.approx(timings.pre_ms + timings.infer_ms + timings.post_ms)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((256, 512), np.uint8),
        np.zeros((256, 512, 4), np.uint8),
        np.zeros((256, 512, 3), np.uint16),
        np.zeros((0, 512, 3), np.uint8),
    ],
)
def test_a_wrong_image_is_refused(standin_bundle: ModelBundle, engine: OnnxEngine, image: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"\(H, W, 3\) uint8 RGB|empty"):
        Stream(standin_bundle, engine).step(image, 0)


@pytest.mark.parametrize("size", [(1080, 1920), (480, 640), (97, 211), (16, 16), (600, 300)])
def test_any_resolution_comes_back_whole(
    standin_bundle: ModelBundle, engine: OnnxEngine, size: tuple[int, int]
) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*size, 3)).astype(np.uint8)
    frame = Stream(standin_bundle, engine).step(image, 0)
    assert frame.segment_ids.shape == size
    assert frame.segment_ids.min() >= 1  # no void, ever
    rows = {row.segment_id: row for row in frame.segments}
    ids, counts = np.unique(frame.segment_ids, return_counts=True)
    for segment_id, count in zip(ids.tolist(), counts.tolist(), strict=True):
        ys, xs = np.nonzero(frame.segment_ids == segment_id)
        assert rows[segment_id].area_px == count
        assert rows[segment_id].bbox_xywh == (xs.min(), ys.min(), np.ptp(xs) + 1, np.ptp(ys) + 1)


class ScriptedEngine:
    """Gives prepared outputs in turn; an exception among them is raised. Stands in for a network that fails."""

    def __init__(self, outputs: list[RawOutputs | Exception]) -> None:
        self._outputs = iter(outputs)

    def load(self) -> None: ...

    def warm_up(self, runs: int = 2) -> None: ...

    def infer(self, image: np.ndarray) -> RawOutputs:
        result = next(self._outputs)
        if isinstance(result, Exception):
            raise result
        return result

    def describe(self) -> EngineInfo:
        raise NotImplementedError


@pytest.fixture
def small_bundle(standin_bundle: ModelBundle, three_classes: tuple[ClassInfo, ...]) -> ModelBundle:
    return replace(standin_bundle, classes=three_classes, input=InputSpec(24, 32))


def test_a_failed_frame_leaves_the_tracks_alone(small_bundle: ModelBundle, make_raw: Callable[..., RawOutputs]) -> None:
    good = make_raw(np.zeros((24, 32)), [((2, 2, 12, 12), 0.9)])
    broken = make_raw(np.zeros((24, 32)), [((2, 2, 12, np.nan), 0.9)])
    stream = Stream(small_bundle, ScriptedEngine([good, RuntimeError("device lost"), broken, good]))
    image = np.zeros((24, 32, 3), np.uint8)
    first = stream.step(image, 1)
    with pytest.raises(RuntimeError, match="device lost"):
        stream.step(image, 2)
    with pytest.raises(ValueError, match="NaN"):
        stream.step(image, 3)
    assert (stream.frame_index, stream.last_stamp_ns) == (1, 1)
    second = stream.step(image, 4)
    thing = next(row for row in second.segments if row.is_thing)
    assert (thing.track_id, thing.age, thing.state) == (1, 1, SegmentState.TRACKED)
    assert second.frame_index == first.frame_index + 1


def test_a_thing_that_the_resize_swallows_keeps_its_row(
    small_bundle: ModelBundle, make_raw: Callable[..., RawOutputs]
) -> None:
    raw = make_raw(np.zeros((24, 32)), [((0, 0, 1, 1), 0.9)])  # one network pixel, which no image pixel shows
    stream = Stream(small_bundle, ScriptedEngine([raw]))
    frame = stream.step(np.zeros((6, 8, 3), np.uint8), 0)
    (thing,) = [row for row in frame.segments if row.is_thing]
    assert (thing.area_px, thing.state) == (0, SegmentState.NEW)
    assert (frame.segment_ids == 1).all()


def test_stuff_ids_are_fixed_by_class(small_bundle: ModelBundle, make_raw: Callable[..., RawOutputs]) -> None:
    raw = make_raw(np.full((24, 32), 2), [])
    frame = Stream(small_bundle, ScriptedEngine([raw])).step(np.zeros((24, 32, 3), np.uint8), 0)
    assert [(row.segment_id, row.class_id) for row in frame.segments] == [(3, 2)]


def test_settings_go_before_the_bundles_own(small_bundle: ModelBundle, make_raw: Callable[..., RawOutputs]) -> None:
    raw = make_raw(np.zeros((24, 32)), [((2, 2, 12, 12), 0.4)])
    config = StreamConfig(MergeConfig(score_threshold=0.3), TrackerConfig(coast_frames=0, memory_frames=0))
    empty = make_raw(np.zeros((24, 32)), [])
    stream = Stream(small_bundle, ScriptedEngine([raw, empty, raw]), config)
    image = np.zeros((24, 32, 3), np.uint8)
    tracks = [[row.track_id for row in stream.step(image, t).segments if row.is_thing] for t in range(3)]
    assert tracks == [[1], [1], [2]]  # lost in the second frame, and not remembered
    assert raw.semantic_score is None
    with pytest.raises(ValueError, match="no output 'semantic_score'"):
        Stream(small_bundle, ScriptedEngine([raw])).step(image, 0, confidence=True)
