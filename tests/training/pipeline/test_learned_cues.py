"""Networks in the place of classical cues. They are as they begin, untrained: what they say is not the point here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from videocups.cues.classical import iter_looks, survey
from videocups.cues.dynamo.config import DynamoConfig
from videocups.cues.dynamo.estimator import DynamoCues
from videocups.cues.dynamo.networks import DynamoNetwork
from videocups.cues.fused_depth import fused_inverse_depth
from videocups.cues.smurf.config import SmurfConfig
from videocups.cues.smurf.estimator import SmurfFlow
from videocups.cues.smurf.network import FlowNetwork
from videocups.pipeline.cue_formats import flow_from_arrays
from videocups.pipeline.failures import TooManyFailuresError
from videocups.pipeline.formats import decode
from videocups.pipeline.label_config import label_config
from videocups.pipeline.learned_cues import _load_flow, heights_per_unit
from videocups.pipeline.run import RunConfig, run_stages
from videocups.pipeline.workspace import Workspace, link_clips
from videocups.synthetic import World, WorldConfig
from videocups.synthetic.storage import write_clip
from videocups.train.checkpoint import Progressed, save_checkpoint
from videocups_core.clip import Clip
from videocups_core.config import from_mapping, to_mapping

FRAMES = 5
SIZE = {"height": 64, "width": 128}
FLOW = {
    "network": {"size": "small", "updates": 2},
    "data": {"height": 128, "width": 192},
    "crop_height": 128,
    "crop_width": 128,
    "loss": {"student_crop": 16},
}


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Path:
    world = World(WorldConfig(seed=2, num_frames=FRAMES, scenario="drive", height=96, width=192))
    return write_clip(world, tmp_path_factory.mktemp("clips") / "street")


def save(folder: Path, kind: str, config: object, network: torch.nn.Module) -> Path:
    optimizer = torch.optim.Adam(network.parameters())
    save_checkpoint(folder, kind, to_mapping(config), network, optimizer, Progressed(step=1, steps=1))
    return folder


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("networks")
    flow = from_mapping(SmurfConfig, FLOW, "test")
    depth = from_mapping(DynamoConfig, {"data": SIZE, "hints": {"depth": 1.0}}, "test")
    return {
        "flow": save(folder / "flow", "smurf", flow, FlowNetwork(flow.network)),
        "depth": save(folder / "depth", "dynamo", depth, DynamoNetwork(depth.network)),
    }


def run(street: Path, **learned: str) -> dict[str, int]:
    config = label_config({"preset": "fast", "cues": {"compensate": False}, "learned": learned}, "test")
    stages = config.stages().up_to(["tracks"])
    return dict(run_stages(stages, Workspace.open(street.parent), RunConfig(executor="inline")).ran)


def test_networks_take_the_place_of_classical_cues(street: Path, networks: dict[str, Path]) -> None:
    run(street)
    ran = run(street, flow=str(networks["flow"]))
    assert ran["flow"] == FRAMES - 1
    assert "survey" not in ran
    clip = Clip(street)
    rgb = [clip.frame_rgb(number) for number in range(FRAMES)]
    flow = flow_from_arrays(decode(clip.path("flow", 1, ".npz")))
    np.testing.assert_allclose(flow.forward_px, SmurfFlow(networks["flow"]).flow_px(rgb[1], rgb[2]), atol=0.02)

    ran = run(street, flow=str(networks["flow"]), depth=str(networks["depth"]), motion="network")
    assert "flow" not in ran
    assert ran["cues"] == ran["instances"] == FRAMES
    expected = list(DynamoCues(networks["depth"]).of_clip(clip.frame_rgb, FRAMES))
    ratios = []
    for number, cues in enumerate(expected):
        motion = decode(clip.path("motion", number, ".npz"))["motion"].astype(np.float32)
        np.testing.assert_allclose(motion, cues.motion, atol=1e-3)
        heights = decode(clip.path("static_depth", number, ".npz"))["depth_heights"].astype(np.float32)
        ratios.append(heights / cues.depth)
    assert np.ptp(np.stack(ratios)) < 0.01 * np.mean(ratios)  # one factor for the whole clip


def test_motion_is_what_the_depth_of_a_network_does_not_explain(street: Path, networks: dict[str, Path]) -> None:
    ran = run(street, depth=str(networks["depth"]))
    assert ran["cues"] == ran["instances"] == FRAMES
    clip, estimator = Clip(street), DynamoCues(networks["depth"])
    assert clip.info.camera is not None
    config = label_config({"preset": "fast", "cues": {"compensate": False}}, "test").cues
    geometry = survey(clip.frame_rgb, FRAMES, clip.info.camera, config)
    around = clip.frame_rgb, FRAMES, clip.info.camera
    ratios = []
    for look, ground in iter_looks(*around, geometry, config, known=estimator.known_depth):
        motion = decode(clip.path("motion", look.index, ".npz"))["motion"].astype(np.float32)
        assert np.mean(np.abs(motion - look.motion) > 0.05) < 0.01  # flow is stored in 16 bits
        known = estimator.known_depth(clip.frame_rgb(look.index))
        expected = 1 / fused_inverse_depth(known, look.measured, look.motion, ground, config.depth)
        assert np.ptp(expected) > 5 * np.ptp(1 / known.inverse_depth)  # the network knows nothing, parallax does
        heights = decode(clip.path("static_depth", look.index, ".npz"))["depth_heights"].astype(np.float32)
        ratios.append(heights / expected)
    middle = np.median(ratios)
    assert np.mean(np.abs(np.stack(ratios) / middle - 1) > 0.05) < 0.02  # one factor for the whole clip


@pytest.mark.parametrize("motion", ["network", "geometry"])
def test_a_camera_that_stands_sees_no_ground_but_has_depth(
    networks: dict[str, Path], tmp_path: Path, motion: str
) -> None:
    waits = World(WorldConfig(seed=2, num_frames=FRAMES, scenario="stand", height=96, width=192))
    standing = write_clip(waits, tmp_path / "clips" / "waits")
    assert run(standing, depth=str(networks["depth"]), motion=motion)["instances"] == FRAMES
    clip, estimator = Clip(standing), DynamoCues(networks["depth"])
    for number in range(FRAMES):
        heights = decode(clip.path("static_depth", number, ".npz"))["depth_heights"].astype(np.float32)
        np.testing.assert_allclose(heights, estimator.depth(clip.frame_rgb(number)), rtol=2e-3)


def test_depth_of_a_unit_of_its_own_needs_ground(networks: dict[str, Path], tmp_path: Path) -> None:
    waits = World(WorldConfig(seed=2, num_frames=FRAMES, scenario="stand", height=96, width=192))
    standing = write_clip(waits, tmp_path / "clips" / "waits")
    config = from_mapping(DynamoConfig, {"data": SIZE}, "test")
    without = save(tmp_path / "without_hints", "dynamo", config, DynamoNetwork(config.network))
    with pytest.raises(TooManyFailuresError, match=r"shows the ground.*hints\.depth"):
        run(standing, depth=str(without), motion="network")


@pytest.mark.parametrize("motion", ["network", "geometry"])
def test_frames_in_step_get_what_they_get_alone(
    street: Path, networks: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, motion: str
) -> None:
    calls: list[int] = []
    flow_px_of_all = SmurfFlow.flow_px_of_all

    def counted(self: SmurfFlow, pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> list[np.ndarray]:
        calls.append(len(pairs))
        return flow_px_of_all(self, pairs)

    monkeypatch.setattr(SmurfFlow, "flow_px_of_all", counted)
    found = []
    for batch in (1, 3):
        _load_flow.cache_clear()
        root = tmp_path / str(batch)
        link_clips(street, root)
        learned = {name: str(folder) for name, folder in networks.items()} | {"motion": motion}
        content = {"preset": "fast", "cues": {"compensate": True}, "learned": learned, "run": {"batch": batch}}
        stages = label_config(content, "test").stages().up_to(["cues"])
        run_stages(stages, Workspace.open(root), RunConfig(executor="inline"))
        clip = Clip(root / street.name)
        flows = [flow_from_arrays(decode(clip.path("flow", t, ".npz"))).forward_px for t in range(FRAMES - 1)]
        depths = [decode(clip.path("network_depth", t, ".npz"))["depth"] for t in range(FRAMES)]
        moving = [decode(clip.path("motion", t, ".npz"))["motion"] for t in range(FRAMES)]
        found.append([np.stack(fields).astype(np.float32) for fields in (flows, depths, moving)])
    _load_flow.cache_clear()
    assert set(calls) == {1, 3}
    assert calls.count(1) > 2 * calls.count(3)  # three pairs in a call, and the fourth alone
    (flow, depth, moves), (flow_in_step, depth_in_step, moves_in_step) = found
    np.testing.assert_allclose(flow_in_step, flow, atol=0.02)
    np.testing.assert_allclose(depth_in_step, depth, rtol=1e-3)
    assert np.mean(np.abs(moves_in_step - moves) > 0.05) < 0.01


def test_the_ground_gives_depth_its_scale() -> None:
    ground = np.zeros((40, 60), np.float32)
    ground[20:] = np.linspace(0.01, 0.8, 20)[:, None]
    depth = np.full((40, 60), 9.0, np.float32)
    depth[21:] = 4 / ground[21:]
    depth[30:34, 10:20] = 1.0  # a car on the road
    assert heights_per_unit(depth, ground) == pytest.approx(1 / 4)
    assert np.isnan(heights_per_unit(depth, np.zeros_like(ground)))


def test_a_run_that_is_none_is_named(street: Path, tmp_path: Path) -> None:
    with pytest.raises((ValueError, OSError), match=str(tmp_path)):
        run(street, flow=str(tmp_path))
