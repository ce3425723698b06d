"""Pairs made of one frame: their flow is what was drawn, and RAFT learns to read correlations from them."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from videocups.cues.smurf.config import FlowLossConfig, FlowNetworkConfig, FlowScheduleConfig, SmurfConfig
from videocups.cues.smurf.made_pairs import draw_flow, known_flow_loss, made_pair, matching_loss
from videocups.cues.smurf.network import FlowNetwork
from videocups.cues.smurf.training import train_flow
from videocups.train.settings import LoopConfig, WindowConfig
from videocups_core.clip import Clip

MADE = SmurfConfig(
    data=WindowConfig(height=128, width=128),
    crop_height=128,
    crop_width=128,
    network=FlowNetworkConfig(train_updates=2, updates=2),
    loss=FlowLossConfig(student_crop=16),
)
LOOP = LoopConfig(steps=400, learning_rate=1e-3, log_every=1)


def test_drawn_flows_are_smooth_of_all_sizes_and_never_too_large():
    torch.manual_seed(0)
    flows = draw_flow(torch.zeros(64, 3, 64, 128), 8.0)
    assert flows.shape == (64, 2, 64, 128)
    # bicubic bending may overshoot its nodes by a little
    assert 5 < flows.abs().max() < 8 * 1.15
    size = flows.square().sum(1).sqrt().mean(dim=(1, 2))
    assert size.min() < 1 < 3 < size.max()
    assert flows.diff(dim=-1).abs().max() < 1.0
    assert abs(flows.mean()) < 0.5


def test_the_first_frame_shows_what_the_second_has_at_the_flows_end():
    torch.manual_seed(0)
    image = torch.rand(1, 3, 40, 56)
    first, second, flow = made_pair(image, 6.0)
    assert torch.equal(second, image)
    row, column = 20, 30
    x, y = column + float(flow[0, 0, row, column]), row + float(flow[0, 1, row, column])
    left, top = int(x), int(y)
    a, b = x - left, y - top
    patch = image[0, :, top : top + 2, left : left + 2]
    expected = (1 - b) * ((1 - a) * patch[:, 0, 0] + a * patch[:, 0, 1])
    expected += b * ((1 - a) * patch[:, 1, 0] + a * patch[:, 1, 1])
    torch.testing.assert_close(first[0, :, row, column], expected, atol=1e-5, rtol=0)


def test_known_flow_loss_by_hand():
    known = torch.zeros(1, 2, 1, 2)
    near, far = known.clone(), known.clone()
    near[0, :, 0, 0] = torch.tensor([3.0, 4.0])  # 5 px off in one of two pixels
    far[:] = 10.0
    expected = 0.8 * 10 * 2**0.5 + 2.5
    assert known_flow_loss([far, near], known, 0.8).item() == pytest.approx(expected, abs=0.01)


def test_matching_loss_by_hand():
    """A row of four cells of 8 px, one-hot features: the second image is the first, a cell further right."""
    first = torch.eye(4)[None, :, None] * 6.0  # (1, 4, 1, 4); a match scores 6 · 6 / √4 = 18
    second = first.roll(1, -1)
    known = torch.zeros(1, 2, 8, 32)
    known[:, 0] = 8.0
    # the last cell leaves the image and does not count
    entropy, found = matching_loss(first, second, known)
    assert entropy.item() == pytest.approx(float(np.log1p(3 * np.exp(-18))), abs=1e-5)
    assert found == 1
    known[:, 0] = -8.0  # the other way: the first cell does not count, the others score 0 where they should match
    entropy, found = matching_loss(first, second, known)
    assert entropy.item() == pytest.approx(18, abs=0.1)
    assert found == 0
    # half a cell: each of two cells is half the answer
    known[:, 0] = 4.0
    assert matching_loss(first, second, known)[0].item() == pytest.approx(9, abs=0.1)


def test_features_have_a_common_scale_and_the_encoder_is_asked_once_for_both():
    network = FlowNetwork(FlowNetworkConfig())
    with torch.no_grad():
        one, other = network.features(torch.rand(2, 3, 128, 128), torch.rand(2, 3, 128, 128))
    both = torch.stack([one, other])
    assert both.shape == (2, 2, 128, 16, 16)
    torch.testing.assert_close(both.mean((0, 3, 4)), torch.zeros(2, 128), atol=1e-4, rtol=0)
    torch.testing.assert_close(both.std((0, 3, 4)), torch.ones(2, 128), atol=1e-2, rtol=0)


def test_features_learn_to_match(turning_clip):
    """What kept RAFT at no motion: correlations of random features say nothing, and nothing taught them to."""
    frames = torch.stack([torch.from_numpy(Clip(turning_clip).frame_rgb(index)) for index in (0, 1)])
    images = frames.permute(0, 3, 1, 2).float() / 255
    torch.manual_seed(0)
    network = FlowNetwork(FlowNetworkConfig())
    optimizer = torch.optim.Adam(network.raft.feature_encoder.parameters(), lr=1e-3)
    found = []
    for _ in range(45):
        first, second, known = made_pair(images, 16.0)
        loss, share = matching_loss(*network.features(first, second), known)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found.append(float(share))
    assert np.mean(found[:3]) < 0.45
    assert np.mean(found[-10:]) > 0.65


@pytest.mark.slow
def test_raft_reads_correlations_of_matching_features(turning_clip, tmp_path):
    """Pairs are drawn anew in every step and their flow points anywhere: better than none is only who compares."""
    config = replace(MADE, schedule=FlowScheduleConfig(match_until=0.65, made_until=1.0), loop=LOOP)
    train_flow([turning_clip], tmp_path, config)
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()][-30:]
    assert sum(row["made_px"] for row in rows) < 0.5 * sum(row["made_still_px"] for row in rows)


def test_made_pairs_come_first_and_then_real_ones(turning_clip, tmp_path):
    schedule = FlowScheduleConfig(match_until=0.25, made_until=0.5, made_px=4.0, teach_from=1.0)
    config = replace(MADE, schedule=schedule, loop=LoopConfig(steps=4, log_every=1))
    train_flow([turning_clip], tmp_path, config)
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert ["matching" in row for row in rows] == [True, False, False, False]
    assert ["made_px" in row for row in rows] == [False, True, False, False]
    assert ["census" in row for row in rows] == [False, False, True, True]
    assert all(np.isfinite(row["loss"]) for row in rows)
