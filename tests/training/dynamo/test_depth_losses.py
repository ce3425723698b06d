"""Each loss against values worked out by hand, and its gradient against differences."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch.autograd import gradcheck

from videocups.cues.dynamo.config import DepthLossConfig
from videocups.cues.dynamo.geometry import back_project, moved, pixel_rays, project, rigid_motion
from videocups.cues.dynamo.ground import fit_ground, ground_loss, plane_through
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
    """Return inverse depth (1, 1, H, W) and rays of a plane below a camera that looks 15° down, and the plane's n."""
    rays = pixel_rays(K, height_px, width)
    tilt = math.radians(15)
    plane = torch.tensor([0.0, math.cos(tilt), math.sin(tilt)]).double() / camera_height
    inverse = (plane.view(1, 1, 3) @ rays.flatten(2)).view(1, 1, height_px, width)
    assert inverse.min() < 0 < inverse[..., 10:, :].min()  # the horizon is in the picture
    return inverse.clamp(min=0.01), rays, plane


def test_plane_through_points():
    rays = random(2, 20, 3) + 0.5
    plane = torch.tensor([0.3, 2.0, 0.7]).double()
    torch.testing.assert_close(plane_through(rays @ plane, rays)[1], plane, atol=1e-5, rtol=0)
    # pixels of one row and one column determine none: the answer stays finite
    assert torch.isfinite(plane_through(torch.ones(1, 3).double(), torch.ones(1, 3, 3).double())).all()


@pytest.mark.parametrize("unit", [1.0, 20.0])
def test_ground_is_found_among_other_things_in_any_unit(unit):
    torch.manual_seed(0)
    inverse, rays, plane = flat_street(camera_height=0.05 * unit)
    inverse[..., 20:] = inverse[..., 20:] / (0.2 + 0.5 * random(1, 1, 24, 12))  # something rough in front
    torch.testing.assert_close(fit_ground(inverse, rays, DepthLossConfig())[0], plane, rtol=0.02, atol=0.2 / unit)


def test_only_what_lies_below_the_ground_costs():
    torch.manual_seed(0)
    config = replace(DepthLossConfig(), ground_tolerance=0.02)
    inverse, rays, _ = flat_street()
    assert ground_loss(inverse, rays, config).item() == pytest.approx(0, abs=1e-9)
    nearer = inverse.clone()
    nearer[..., 15:, 8:12] *= 2
    # what is nearer raises the mean, and with it the share of everything else does not fall below the ground
    assert ground_loss(nearer, rays, config).item() == pytest.approx(0, abs=1e-9)
    sunk = inverse.clone()
    sunk[..., 20, 5] = 1e-6  # infinitely deep, below the street
    missing = 0.98 * float(inverse[..., 20, 5] / sunk.mean())
    loss = ground_loss(sunk.requires_grad_(), rays, config)
    assert loss.item() == pytest.approx(missing / (24 * 32), rel=0.01)
    loss.backward()
    assert sunk.grad[0, 0, 20, 5] < 0  # nearer makes it less


def test_a_wall_is_no_ground():
    torch.manual_seed(0)
    _, rays, _ = flat_street()
    wall = torch.full((1, 1, 24, 32), 0.5).double()
    wall[..., ::3, ::3] = 0.2  # what lies behind it costs nothing
    assert fit_ground(wall, rays, DepthLossConfig()).abs().max() == 0
    assert ground_loss(wall.requires_grad_(), rays, DepthLossConfig()).item() == 0


def test_bringing_everything_nearer_does_not_pay():
    """The loss has no slope along the unit of depth, whatever lies below the ground."""
    torch.manual_seed(0)
    inverse, rays, _ = flat_street()
    rough = inverse * (0.6 + 0.8 * random(1, 1, 24, 32))
    size = torch.ones(1).double().requires_grad_()
    loss = ground_loss(rough * size, rays, DepthLossConfig())
    assert loss.item() > 0.01
    loss.backward()
    assert abs(size.grad.item()) < 1e-9


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
