"""Streams, parts and processes: however the frames come in, the counts are the same."""

from __future__ import annotations

import pickle
import subprocess
import sys
import tracemalloc
from copy import deepcopy
from itertools import chain

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from videocups.evaluate import PqAccumulator, StqAccumulator, VpqAccumulator
from videocups.evaluate.diagnostics import TrackingAccumulator

SPACE = ((2, 3), 5, 255)


def random_video(seed, frames=4):
    """Blocky maps in which the prediction is the truth with some blocks replaced."""
    rng = np.random.default_rng(seed)
    video = []
    for _ in range(frames):
        classes = np.kron(rng.integers(0, 5, (3, 4)), np.ones((2, 3), dtype=np.int64))
        ids = np.kron(rng.integers(0, 3, (3, 4)), np.ones((2, 3), dtype=np.int64))
        spoiled = rng.random(classes.shape) < 0.2
        video.append((np.where(spoiled, 255, classes), np.where(spoiled, 0, ids), classes, ids))
    return video


def filled(make, parts):
    """Return one accumulator per part; a part is a list of (sequence key, frame)."""
    accumulators = []
    for part in parts:
        accumulator = make()
        for key, frame in part:
            accumulator.update(key, frame)
        accumulators.append(accumulator)
    return accumulators


def merged(accumulators, make):
    total = make()
    for accumulator in accumulators:
        total.merge(accumulator)
    return total


MAKERS = {
    "stq": lambda: StqAccumulator(*SPACE),
    "pq": lambda: PqAccumulator(*SPACE),
    "vpq": lambda: VpqAccumulator(*SPACE, windows=(1, 2, 3)),
    "tracking": lambda: TrackingAccumulator(*SPACE),
}


def scores(accumulator):
    """Return the scores without the tables whose printing depends on the order of keys."""
    result = accumulator.result()
    if isinstance(accumulator, StqAccumulator):
        counts = result.statistics
        return (result.stq, result.aq, result.sq, counts.confusion.tolist(), counts.truth_px, counts.overlap_px)
    return repr(result)


@pytest.mark.parametrize("name", MAKERS)
@settings(max_examples=40, deadline=None)
@given(order=st.permutations(range(3)), seed=st.integers(0, 1000))
def test_merging_sequences_is_associative_and_forgets_the_order(name, order, seed):
    make = MAKERS[name]
    parts = [[(str(i), frame) for frame in random_video(seed + i)] for i in range(3)]
    serial = filled(make, [list(chain(*parts))])[0]
    a, b, c = (filled(make, [parts[i]])[0] for i in order)
    left = merged([merged([a, b], make), c], make)
    right = merged([a, merged([b, c], make)], make)
    assert scores(left) == scores(right) == scores(serial)


@pytest.mark.parametrize("name", ["stq", "pq"])
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 1000), cuts=st.lists(st.integers(0, 2), min_size=12, max_size=12))
def test_frames_of_one_sequence_may_be_spread_over_parts(name, seed, cuts):
    make = MAKERS[name]
    frames = [(str(i // 4), frame) for i, frame in enumerate(random_video(seed, 12))]
    parts = [[frame for frame, cut in zip(frames, cuts, strict=True) if cut == part] for part in range(3)]
    assert scores(merged(filled(make, parts), make)) == scores(filled(make, [frames])[0])


@pytest.mark.parametrize("name", ["vpq", "tracking"])
def test_a_video_cannot_be_split_where_order_matters(name):
    frames = [("0", frame) for frame in random_video(1)]
    first, second = filled(MAKERS[name], [frames[:2], frames[2:]])
    with pytest.raises(ValueError, match=r"\['0'\] are in both parts"):
        first.merge(second)


@pytest.mark.parametrize("name", MAKERS)
def test_merging_leaves_the_other_alone(name):
    total, other = filled(MAKERS[name], [[("0", random_video(0)[0])], [("1", random_video(1)[0])]])
    before = scores(deepcopy(other))
    total.merge(other)
    total.update("1", random_video(2)[0])
    assert scores(other) == before


@pytest.mark.parametrize("name", MAKERS)
def test_other_label_spaces_do_not_merge(name):
    classes = {"stq": StqAccumulator, "pq": PqAccumulator, "vpq": VpqAccumulator, "tracking": TrackingAccumulator}
    with pytest.raises(ValueError, match="different label spaces"):
        classes[name]((2,), 5).merge(classes[name]((3,), 5))


WORKER = """
import pickle, sys
import numpy as np
from videocups.evaluate import PqAccumulator, StqAccumulator, VpqAccumulator
key, source, target = sys.argv[1:]
space = ((2, 3), 5, 255)
accumulators = StqAccumulator(*space), PqAccumulator(*space), VpqAccumulator(*space, windows=(1, 2, 3))
for frame in np.load(source):
    for accumulator in accumulators:
        accumulator.update(key, frame)
with open(target, "wb") as file:
    pickle.dump(accumulators, file)
"""


def test_parallel_processes_equal_one(tmp_path):
    videos = [random_video(seed, 6) for seed in range(3)]
    workers = []
    for index, video in enumerate(videos):
        np.save(tmp_path / f"{index}.npy", np.array(video))
        command = [sys.executable, "-c", WORKER, str(index), str(tmp_path / f"{index}.npy"), str(tmp_path / f"{index}")]
        workers.append(subprocess.Popen(command))
    assert [worker.wait(timeout=60) for worker in workers] == [0, 0, 0]
    for position, name in enumerate(["stq", "pq", "vpq"]):
        total = MAKERS[name]()
        for index in (2, 0, 1):
            total.merge(pickle.loads((tmp_path / str(index)).read_bytes())[position])
        serial = filled(MAKERS[name], [[(str(i), frame) for i, video in enumerate(videos) for frame in video]])[0]
        assert scores(total) == scores(serial)


def test_memory_does_not_grow_with_the_frames():
    video = random_video(5, 8)
    peaks = []
    for repeats in (2, 20):
        accumulators = [make() for make in MAKERS.values()]
        tracemalloc.start()
        for index in range(8 * repeats):
            for accumulator in accumulators:
                accumulator.update("v", video[index % 8])
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]
