from __future__ import annotations

import fcntl
from pathlib import Path

import onnx
import pytest
import torch
from tests.training.export.micro import HEIGHT, WIDTH, micro_network, write_world_clip

from videocups.export.graph import export_graph
from videocups.model.network import PanopticNetwork
from videocups.model.static_network import StaticNetwork
from videocups.train.checkpoint import Progressed, save_checkpoint
from videocups_core.config import to_mapping


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def network() -> PanopticNetwork:
    return micro_network()


@pytest.fixture(scope="session")
def graph_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The micro network's float32 graph; tracing takes longest, so all processes of a test run share one."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if base.name.startswith("popen-") else base
    path = shared / "micro.onnx"
    with (shared / "micro.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            onnx.save(export_graph(StaticNetwork(micro_network(), HEIGHT, WIDTH)), path)
    return path


@pytest.fixture
def graph(graph_path: Path) -> onnx.ModelProto:
    return onnx.load(graph_path)


@pytest.fixture
def traced(graph: onnx.ModelProto, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stands in for tracing the micro network, which gives this very graph."""

    def known(static: StaticNetwork) -> onnx.ModelProto:
        assert (static.height, static.width) == (HEIGHT, WIDTH)
        assert static.network.config == micro_network().config
        return graph

    monkeypatch.setattr("videocups.export.run.export_graph", known)


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory, network: PanopticNetwork) -> Path:
    """The micro network as the training loop writes it."""
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    settings = {
        "model": to_mapping(network.config),
        "classes": network.classes.to_mapping(),
        "data": {"height": HEIGHT, "width": WIDTH},
    }
    run = tmp_path_factory.mktemp("run")
    return save_checkpoint(run, "panoptic", settings, network, optimizer, Progressed(7, 7)).folder


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_world_clip(tmp_path_factory.mktemp("clips") / "world")
