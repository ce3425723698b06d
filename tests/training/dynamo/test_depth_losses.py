"""Each loss against values worked out by hand, and its gradient against differences."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch.autograd import gradcheck

from videocups.cues.dynamo.config import DepthLossConfig
from videocups.cues.dynamo.geometry import back_project, moved, pixel_rays, project, rigid_motion
from videocups.cues.dynamo.ground import distance_below, fit_ground, ground_loss, plane_through
from videocups.cues.dynamo.losses import consistency_loss, photometric_loss, smooth, smooth_disparity, sparsity_loss
from videocups.cues.dynamo.networks import depth_to_disparity, disparity_to_depth
from videocups.cues.dynamo.photometric import photometric_difference, structural_difference
from videocups.cues.dynamo.views import view_neighbour
from videocups.cues.learned.sampling import sample

K = torch.tensor([[[40.0, 0, 15.5], [0, 40, 11.5], [0, 0, 1]]], dtype=torch.float64)


def random(*shape, seed=0, requires_grad=False):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(*shape, generator=generator, dtype=torch.float64).requires_grad_(requires_grad)


def test_structural_difference_of_one_patch():
    first, second = random(1, 1, 3, 3), random(1, 1, 3, 3, seed=1)
    x, y = first.flatten(), second.flatten()
    above = (2 * x.mean() * y.mean() + 1e-4) * (2 * ((x * y).mean() - x.mean() * y.mean()) + 9e-4)
    below = (x.mean() ** 2 + y.mean() ** 2 + 1e-4) * (x.var(correction=0) + y.var(correction=0) + 9e-4)
    assert structural_difference(first, second)[0, 0, 1, 1].item() == pytest.approx(float((1 - above / below) / 2))
    assert structural_difference(first, first).abs().max().item() == pytest.approx(0, abs=1e-12)


def test_photometric_difference_of_flat_images():
    dark, bright = torch.full((1, 3, 4, 4), 0.2).double(), torch.full((1, 3, 4, 4), 0.6).double()
    structure = (1 - (2 * 0.12 + 1e-4) / (0.04 + 0.36 + 1e-4)) / 2
    difference = photometric_difference(dark, bright, 0.85)
    assert difference.mean().item() == pytest.approx(0.85 * structure + 0.15 * 0.4)
    second = random(1, 3, 4, 4, seed=1)
    assert gradcheck(lambda image: photometric_difference(image, second, 0.85), random(1, 3, 4, 4, requires_grad=True))


def test_each_pixel_takes_its_best_neighbour_and_may_stay_still():
    target = random(1, 3, 6, 8)
    left, right = target.clone(), target.clone()
    left[..., 4:], right[..., :4] = 0, 0  # each shows one half
    both = photometric_loss([left, right], target, None, 0.0)
    assert both.item() == pytest.approx(0)
    assert photometric_loss([left], target, None, 0.0).item() > 0.1
    # unwarped neighbours that fit already take the pixels out: no gradient is left
    warped = random(1, 3, 6, 8, seed=2, requires_grad=True)
    photometric_loss([warped], target, [target], 0.85).backward()
    assert warped.grad.abs().max() < 1e-12


def test_smooth_disparity_does_not_gain_by_shrinking():
    disparity, image = random(1, 1, 6, 8), random(1, 3, 6, 8, seed=1)
    assert smooth_disparity(disparity, image).item() == pytest.approx(
        smooth_disparity(disparity / 9, image).item(), rel=1e-5
    )
    ramp = torch.arange(4.0).double().view(1, 1, 1, 4).expand(1, 1, 3, 4)
    assert smooth(ramp, torch.zeros(1, 3, 3, 4).double()).item() == pytest.approx(1)
    assert gradcheck(lambda d: smooth_disparity(d, image), random(1, 1, 6, 8, requires_grad=True))


def test_consistency_by_hand_teaches_only_the_flow():
    residual = torch.full((1, 3, 1, 4), 0.5).double().requires_grad_()
    mask = torch.tensor([0.0, 1.0, 0.4, 0.0]).double().view(1, 1, 1, 4).requires_grad_()
    disparity = torch.tensor([0.1, 0.1, 0.1, 0.03]).double().view(1, 1, 1, 4).requires_grad_()
    loss = consistency_loss(residual, mask, disparity, 0.03)
    # weights 1, 0, 0.6 and 0 for the far one
    assert loss.item() == pytest.approx(0.5 * 1.6 / 4)
    loss.backward()
    assert residual.grad.flatten(2)[0, 0].tolist() == pytest.approx([1 / 12, 0, 0.6 / 12, 0])
    assert mask.grad is None
    assert disparity.grad is None


def test_sparsity_by_hand():
    logits = torch.tensor([0.0, 1.0, -2.0, 3.0]).double().view(1, 1, 1, 4).requires_grad_()
    ego = torch.zeros(1, 2, 1, 4).double()
    complete = torch.tensor([[0.0, 0.1, 0.2, 4.0], [0.0, 0, 0, 0]]).double().view(1, 2, 1, 4)
    # squared distances 0, .01, .04, 16: all but the last below their mean
    expected = sum(math.log(1 + math.exp(value)) for value in (0.0, 1.0, -2.0)) / 3
    loss = sparsity_loss(logits, ego, complete)
    assert loss.item() == pytest.approx(expected)
    loss.backward()
    assert logits.grad.flatten()[3] == 0
    assert sparsity_loss(logits, ego, ego).item() == 0  # nothing is below the mean of equal values


def test_disparity_and_depth():
    disparity = torch.tensor([0.0, 0.5, 1.0])
    depth = disparity_to_depth(disparity, 0.1, 100)
    assert depth.tolist() == pytest.approx([100, 1 / (0.01 + 9.99 / 2), 0.1])
    torch.testing.assert_close(depth_to_disparity(depth, 0.1, 100), disparity, atol=1e-6, rtol=0)


def flat_street(height_px=24, width=32, camera_height=0.05):
    """Rays and points of a plane ``camera_height`` below a camera that looks 15° down."""
    rays = pixel_rays(K, height_px, width)
    slope = math.tan(math.radians(15))
    depth = (camera_height / (rays[:, 1:2] + slope)).clamp(0.01, 3)
    return rays, back_project(depth, rays), depth, -slope


def test_plane_through_points():
    points = random(2, 20, 3)
    points[..., 1] = 0.3 * points[..., 0] - 0.2 * points[..., 2] + 0.7
    torch.testing.assert_close(plane_through(points)[1], torch.tensor([0.3, -0.2, 0.7]).double(), atol=1e-5, rtol=0)
    # 1 below along y; (0.3, −1, −0.2) is the plane's normal
    below = distance_below(points[1, 0] + torch.tensor([0, 1, 0]), torch.tensor([0.3, -0.2, 0.7]).double())
    assert below.item() == pytest.approx(1 / math.sqrt(1 + 0.09 + 0.04))


def test_ground_is_found_among_other_things():
    torch.manual_seed(0)
    _, points, _, slope = flat_street()
    nearer = 0.2 + 0.5 * random(1, 1, 24, 12)
    points[..., 20:] = points[..., 20:] * nearer  # something rough in front, 37 % of the picture
    a, b, c = fit_ground(points, DepthLossConfig())[0].tolist()
    assert a == pytest.approx(0, abs=0.02)
    assert b == pytest.approx(slope, abs=0.02)
    assert c == pytest.approx(0.05, abs=0.004)


def test_only_what_lies_below_the_ground_costs():
    torch.manual_seed(0)
    config = replace(DepthLossConfig(), ground_tolerance=0.005)
    rays, points, depth, _ = flat_street()
    limits = (0.1, 100.0)
    disparity = depth_to_disparity(depth, *limits)
    assert ground_loss(disparity, points, rays, config, *limits).item() == pytest.approx(0, abs=1e-9)
    assert ground_loss(disparity + 0.1, points, rays, config, *limits).item() == pytest.approx(0, abs=1e-9)
    sunk = disparity.clone()
    sunk[..., 20, 5] = 0  # infinitely deep, below the street
    lowered = float(depth[..., 20, 5]) * 0.055 / 0.05
    missing = (1 / lowered - 1 / 100) / (1 / 0.1 - 1 / 100)
    loss = ground_loss(sunk.requires_grad_(), points, rays, config, *limits)
    assert loss.item() == pytest.approx(missing / (24 * 32), rel=0.02)
    loss.backward()
    assert (sunk.grad != 0).sum() == 1
    assert sunk.grad[0, 0, 20, 5] < 0  # nearer makes it less


def test_views_by_ego_motion_by_complete_flow_and_by_both():
    image = random(1, 3, 24, 32)
    rays = pixel_rays(K, 24, 32)
    points = back_project(2 + random(1, 1, 24, 32, seed=1), rays)
    motion = rigid_motion(torch.tensor([[0.0, 0.02, 0]]).double(), torch.tensor([[0.1, 0, -0.05]]).double())
    complete = 0.1 * random(1, 3, 24, 32, seed=2)
    ego = sample(image, project(moved(points, motion), K))
    along = sample(image, project(points + complete, K))
    one, none = torch.ones(1, 1, 24, 32).double(), torch.zeros(1, 1, 24, 32).double()
    torch.testing.assert_close(view_neighbour(image, points, K, motion, None, None).warped, ego)
    torch.testing.assert_close(view_neighbour(image, points, K, motion, complete, None).warped, along)
    torch.testing.assert_close(view_neighbour(image, points, K, motion, complete, one).warped, along)
    masked = view_neighbour(image, points, K, motion, complete, none)
    torch.testing.assert_close(masked.warped, ego)
    torch.testing.assert_close(masked.residual, complete - (moved(points, motion) - points))
    torch.testing.assert_close(masked.complete_px, project(points + complete, K))
