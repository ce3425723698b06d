"""Pairs made of one frame: their flow is what was drawn, and RAFT learns to read correlations from them."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from videocups.cues.smurf.config import FlowLossConfig, FlowNetworkConfig, FlowScheduleConfig, SmurfConfig
from videocups.cues.smurf.made_pairs import draw_flow, known_flow_loss, made_pair
from videocups.cues.smurf.training import train_flow
from videocups.train.settings import LoopConfig, WindowConfig


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


def test_made_pairs_come_first_and_then_real_ones(turning_clip, tmp_path):
    config = SmurfConfig(
        data=WindowConfig(height=128, width=128),
        crop_height=128,
        crop_width=128,
        network=FlowNetworkConfig(train_updates=1, updates=1),
        loss=FlowLossConfig(student_crop=16),
        schedule=FlowScheduleConfig(made_until=0.5, made_px=4.0, teach_from=1.0),
        loop=LoopConfig(steps=4, log_every=1),
    )
    train_flow([turning_clip], tmp_path, config)
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert ["made_px" in row for row in rows] == [True, True, False, False]
    assert ["census" in row for row in rows] == [False, False, True, True]
    assert all(np.isfinite(row["loss"]) for row in rows)
