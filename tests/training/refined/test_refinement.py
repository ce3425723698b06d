"""The network chooses among flows at hand, learns to choose better, and its checkpoint estimates flow."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from videocups.cli import main
from videocups.cues.flow import DisFlow
from videocups.cues.learned.flow_kinds import open_flow
from videocups.cues.refined.config import RefinedConfig, RefinementConfig
from videocups.cues.refined.estimator import RefinedFlow
from videocups.cues.refined.network import (
    Refined,
    RefinementNetwork,
    candidate_flows,
    differences,
    match_costs,
    ring_offsets,
)
from videocups.cues.refined.training import RefinedTask, choice_loss
from videocups.train.loop import run_training


def test_candidates_are_the_flow_its_neighbours_and_none():
    flow = torch.arange(2 * 5 * 6, dtype=torch.float32).view(1, 2, 5, 6)
    offsets = ring_offsets((1, 3))
    assert len(offsets) == 16
    assert (-3, 3) in offsets
    candidates = candidate_flows(flow, offsets)
    assert candidates.shape == (1, 18, 2, 5, 6)
    assert torch.equal(candidates[:, 0], flow)
    assert torch.equal(candidates[:, -1], torch.zeros_like(flow))
    at = 1 + offsets.index((-1, 1))
    assert torch.equal(candidates[0, at, :, 2, 3], flow[0, :, 1, 4])
    assert torch.equal(candidates[0, at, :, 0, 5], flow[0, :, 0, 5])  # edges repeat


def test_the_right_candidate_matches_best():
    torch.manual_seed(0)
    second = torch.rand(1, 3, 24, 32)
    first = second.roll((0, -3), (2, 3))  # what is at x + 3 in the second image is at x in the first
    flow = torch.zeros(1, 2, 24, 32)
    flow[:, 0, :, 20:] = 3.0
    candidates = candidate_flows(flow, ((0, 9), (0, -9)))
    costs = match_costs(first, second, candidates)
    assert costs.shape == (1, 4, 24, 32)
    assert costs[0, 0, 2:-2, 22:27].max() < 1e-4  # has the right flow
    assert costs[0, 1, 2:-2, 13:17].max() < 1e-4  # the neighbour on the right has it
    assert costs[0, 0, 2:-2, 2:17].min() > 0.5
    assert torch.all(costs[0, 0, :, -3:] == 0.5)  # leaves the image
    unlike = differences(first, ((0, 9), (0, -9)))
    assert torch.all(unlike[:, 0] == 0)
    d = float((first[0, :, 4, 5] - first[0, :, 4, 14]).abs().mean())
    assert unlike[0, 1, 4, 5].item() == pytest.approx(d / (d + 0.05), abs=1e-5)


def test_choice_loss_by_hand():
    candidates = torch.tensor([0.0, 3.0, 3.0, 4.0]).view(1, 2, 2, 1, 1)  # (0, 3) and (3, 4)
    shares = torch.tensor([0.25, 0.75]).view(1, 2, 1, 1)
    truth = torch.zeros(1, 2, 1, 1)
    flow = torch.tensor([3.0, 4.0]).view(1, 2, 1, 1)
    choice, result = choice_loss(Refined(flow, candidates, shares.log()), truth, torch.ones(1, 1, 1, 1))
    # the candidates are 3 and 5 px off, of which 0.2 px are expected
    assert choice.item() == pytest.approx(-np.log(0.25 * np.exp(-15) + 0.75 * np.exp(-25)), abs=1e-3)
    assert result.item() == pytest.approx(5**0.5, abs=1e-3)
    # a second pixel, right, that counts three times as much
    both = Refined(flow.expand(1, 2, 1, 2), candidates.expand(1, 2, 2, 1, 2), shares.log().expand(1, 2, 1, 2))
    truth = torch.stack([torch.zeros(1, 2, 1), flow[..., 0]], -1)
    result = choice_loss(both, truth, torch.tensor([1.0, 3.0]).view(1, 1, 1, 2))[1]
    assert result.item() == pytest.approx((5**0.5 + 3 * 0.1) / 4, abs=1e-3)


def test_it_begins_near_the_flow_at_hand():
    torch.manual_seed(0)
    first, second = torch.rand(2, 1, 3, 64, 96)
    flow = torch.full((1, 2, 64, 96), 2.0)
    with torch.no_grad():
        refined = RefinementNetwork(RefinementConfig())(first, second, flow, -flow)
    torch.testing.assert_close(refined.log_shares.exp().sum(1), torch.ones(1, 64, 96))
    assert (refined.log_shares.argmax(1) == 0).float().mean() > 0.99
    assert refined.flow_px.min() > 1.8  # all but the last candidate are 2


def test_it_learns_where_flow_is_wrong(street, tiny_config):
    """On one scene seen again and again: flow of the search errs around things, its neighbours know better."""
    task = RefinedTask([street], tiny_config)
    batch = task.batch(np.random.default_rng(0))
    optimizer = torch.optim.Adam(task.model.parameters(), lr=3e-3)
    for step in range(60):
        loss, parts = task.loss(batch, step)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert parts["error_px"] < 0.75 * parts["start_px"]


def test_a_stopped_run_goes_on_bit_for_bit(street, trained, tiny_config, tmp_path):
    run_training(RefinedTask([street], tiny_config), tiny_config.loop, tmp_path / "parts", stop_at=2)
    parts = run_training(RefinedTask([street], tiny_config), tiny_config.loop, tmp_path / "parts")
    assert parts.step == trained.step == 4
    ours, theirs = load_file(trained.folder / "model.safetensors"), load_file(parts.folder / "model.safetensors")
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_flow_at_any_size(trained, tiny_config):
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 256, (2, 75, 101, 3), dtype=np.uint8)
    estimator = open_flow(trained.folder.parent)
    assert isinstance(estimator, RefinedFlow)
    flow = estimator.flow_px(first, second)
    assert flow.shape == (75, 101, 2)
    assert flow.dtype == np.float32
    assert np.isfinite(flow).all()
    still = estimator.flow_px(first, first)
    assert np.median(np.abs(still)) < np.median(np.abs(DisFlow(tiny_config.start).flow_px(first, second)))
    with pytest.raises(ValueError, match="two frames of one size"):
        estimator.flow_px(first, second[:70])


def test_the_command_takes_the_kind_from_the_file(street, tiny_config, tmp_path, capsys):
    file = tmp_path / "flow.yaml"
    file.write_text("kind: refined\ndata: {height: 96, width: 160}\ncrop_height: 64\ncrop_width: 96\n")
    out = ["--out", str(tmp_path / "run"), "--config", str(file)]
    assert main(["train", "flow", str(street), *out, "--set", "loop.steps=1"]) == 0
    found = RefinedFlow(tmp_path / "run")
    assert found.config == replace(tiny_config, loop=replace(RefinedConfig().loop, steps=1))  # unnamed ones stay
    assert main(["train", "flow", str(street), *out, "--set", "kind=other"]) == 1
    assert "there is no kind 'other'; set kind to one of smurf, refined" in capsys.readouterr().err
    assert main(["train", "flow", str(street), *out, "--set", "loop.steps=0"]) == 1
    assert "loop.steps must be >= 1, got 0" in capsys.readouterr().err
