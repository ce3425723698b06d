"""A real Ray cluster of two nodes on this machine."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Iterator
from typing import Any

import pytest
from tests.training.pipeline.artefacts import artefacts
from tests.training.pipeline.conftest import ClipMaker
from tests.training.pipeline.toy_stages import ToyConfig, toy_stages

from videocups.pipeline import ray_executor
from videocups.pipeline.manifest import read_rows
from videocups.pipeline.run import RunConfig, run_stages
from videocups.pipeline.work import Task, new_chunk
from videocups.pipeline.workspace import Workspace

RAY = RunConfig(executor="ray", chunk_items=4)


def test_a_chunk_travels_as_names(make_clips: ClipMaker) -> None:
    root = make_clips(64)
    stages, workspace = toy_stages(), Workspace.open(root)
    tasks = tuple(Task(number, "0" * 32) for number in range(64))
    chunk = new_chunk(stages, workspace, stages.by_name["motion"], workspace.clips[0], tasks)
    assert len(pickle.dumps(chunk)) < 10_000


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    nodes.add_node(num_cpus=1)
    ray.init(address=nodes.address, log_to_driver=False, logging_level=logging.WARNING)
    yield ray
    ray.shutdown()
    nodes.shutdown()


@pytest.mark.slow
def test_two_nodes_give_the_same_bytes_as_inline(cluster: Any, make_clips: ClipMaker) -> None:
    calm, root = make_clips(12, 9, name="calm"), make_clips(12, 9, name="cluster")
    run_stages(toy_stages(), Workspace.open(calm), RunConfig(executor="inline"))
    dawdling = toy_stages(flow=ToyConfig(sleep_s=0.05))  # long enough for both nodes to get some
    summary = run_stages(dawdling, Workspace.open(root), RAY, workers=2)
    assert summary.ran["labels"] == 21
    assert artefacts(root) == artefacts(calm)
    assert len(cluster.nodes()) == 2


@pytest.mark.slow
def test_failures_and_errors_come_back_from_the_cluster(cluster: Any, make_clips: ClipMaker) -> None:
    root = make_clips(40)
    summary = run_stages(toy_stages(motion=ToyConfig(fail_at=(7,))), Workspace.open(root), RAY, workers=2)
    assert summary.failed == {"motion": 1}
    assert "frame 7 makes no sense" in read_rows(root / "clip_0")["motion", "000007"].error


@pytest.mark.slow
def test_too_large_a_chunk_is_refused(cluster: Any, make_clips: ClipMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_executor, "MAX_CHUNK_BYTES", 100)
    with pytest.raises(ValueError, match="at most 100 may travel"):
        run_stages(toy_stages(), Workspace.open(make_clips(4)), RAY, workers=2)
