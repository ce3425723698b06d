"""Each loss against values by hand or by a plain second implementation, and its gradient against differences."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

from videocups.cues.flow import visible
from videocups.cues.learned.sampling import inside, pixel_grid, resize_flow, sample, splat, warp
from videocups.cues.learned.smoothness import edge_aware_smoothness
from videocups.cues.smurf.census import census_loss, census_transform, soft_hamming
from videocups.cues.smurf.config import FlowLossConfig
from videocups.cues.smurf.losses import image_loss, sequence_weights, student_view, teaching_loss, visibility
from videocups.cues.smurf.occlusion import confidence, range_map, visible_by_range, visible_by_return


def random(*shape, seed=0, requires_grad=False):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(*shape, generator=generator, dtype=torch.float64).requires_grad_(requires_grad)


def test_census_of_one_brighter_pixel():
    image = torch.zeros(1, 3, 9, 9, dtype=torch.float64)
    image[..., 4, 4] = 2 / 255  # two grey levels
    transform = census_transform(image)
    seen = 2 / math.sqrt(0.81 + 4)
    # the pixel left of it sees it at (row 0, column +1) of its patch: entry 3·7 + 4
    assert transform[0, 25, 4, 3].item() == pytest.approx(seen)
    assert transform[0, 24].abs().max() == 0  # a pixel does not differ from itself
    # from the pixel itself all 48 neighbours are darker
    assert transform[0, :, 4, 4].sum().item() == pytest.approx(-48 * seen)


def test_census_equals_loops():
    image = random(1, 3, 10, 11)
    grey = 255 * (0.299 * image[0, 0] + 0.587 * image[0, 1] + 0.114 * image[0, 2])
    row, column = 5, 4
    expected = []
    for down in range(-3, 4):
        for right in range(-3, 4):
            difference = float(grey[row + down, column + right] - grey[row, column])
            expected.append(difference / math.sqrt(0.81 + difference**2))
    np.testing.assert_allclose(census_transform(image)[0, :, row, column], expected, rtol=1e-9)


def test_soft_hamming_by_hand():
    first, second = torch.zeros(1, 2, 1, 1), torch.tensor([1.0, 0.5]).view(1, 2, 1, 1)
    assert soft_hamming(first, second).item() == pytest.approx(1 / 1.1 + 0.25 / 0.35)


def test_census_loss_of_equal_images_is_its_floor_whatever_the_exposure():
    image, mask = random(1, 3, 12, 12) * 0.8, torch.ones(1, 1, 12, 12, dtype=torch.float64)
    floor = 0.01**0.4
    transform = census_transform(image)
    assert census_loss(transform, transform, mask).item() == pytest.approx(floor)
    # brighter by 10 %: differences grow a little, their order stays; the border sees the outside and does not count
    assert census_loss(transform, census_transform(image + 0.1), mask).item() == pytest.approx(floor, abs=1e-6)
    assert census_loss(transform, census_transform(random(1, 3, 12, 12, seed=1)), mask).item() > 2


def test_census_loss_counts_only_the_mask():
    first, second = random(1, 3, 12, 12), random(1, 3, 12, 12)
    second[..., :, 9:] = 0.5  # differs on the right
    mask = torch.ones(1, 1, 12, 12, dtype=torch.float64)
    mask[..., 6:] = 0  # patches of columns below 6 end before column 9
    assert census_loss(census_transform(first), census_transform(second), mask).item() == pytest.approx(0.01**0.4)
    nothing = census_loss(census_transform(first), census_transform(second), mask * 0)
    assert nothing.item() == 0


def test_census_gradient():
    first, mask = census_transform(random(1, 3, 8, 8)), torch.ones(1, 1, 8, 8, dtype=torch.float64)
    second = random(1, 3, 8, 8, seed=3, requires_grad=True)
    assert gradcheck(lambda image: census_loss(first, census_transform(image), mask), second)


def test_smoothness_of_ramp_and_parabola():
    column = torch.arange(8, dtype=torch.float64).view(1, 1, 1, 8).expand(1, 1, 6, 8)
    flat = torch.zeros(1, 3, 6, 8, dtype=torch.float64)
    plain = {"edge_weight": 1.0}
    assert edge_aware_smoothness(3 * column, flat, order=1, **plain).item() == pytest.approx(3)
    assert edge_aware_smoothness(3 * column, flat, order=2, **plain).item() == pytest.approx(0)
    assert edge_aware_smoothness(column**2, flat, order=2, **plain).item() == pytest.approx(2)
    # SMURF's: the mean of both axes, the tip of |·| rounded
    rounded = edge_aware_smoothness(3 * column, flat, order=1, edge_weight=150, epsilon=0.001)
    assert rounded.item() == pytest.approx((math.sqrt(9 + 1e-6) + 0.001) / 2)


def test_smoothness_lets_go_at_edges():
    field = torch.zeros(1, 1, 4, 6, dtype=torch.float64)
    field[..., 3:] = 1
    image = torch.zeros(1, 3, 4, 6, dtype=torch.float64)
    image[..., 3:] = 0.02
    # one of five horizontal steps, weighted by exp(−150 · 0.02) = exp(−3)
    assert edge_aware_smoothness(field, image, order=1, edge_weight=150).item() == pytest.approx(math.exp(-3) / 5)
    with pytest.raises(ValueError, match="order of smoothness must be 1 or 2, got 3"):
        edge_aware_smoothness(field, image, order=3, edge_weight=1)


@pytest.mark.parametrize("order", [1, 2])
def test_smoothness_gradient(order):
    field, image = random(1, 2, 5, 6, requires_grad=True), random(1, 3, 5, 6, seed=1)
    assert gradcheck(
        lambda f: edge_aware_smoothness(f, image, order=order, edge_weight=2, epsilon=0.001), field, atol=1e-4
    )


def test_warp_by_whole_and_half_pixels():
    image = torch.arange(12, dtype=torch.float64).view(1, 1, 3, 4)
    flow = torch.zeros(1, 2, 3, 4, dtype=torch.float64)
    flow[:, 0] = 1
    assert warp(image, flow)[0, 0, 1].tolist() == [5, 6, 7, 7]  # the edge repeats
    flow[:, 0], flow[:, 1] = 0.5, 1
    assert warp(image, flow)[0, 0, 0].tolist() == [4.5, 5.5, 6.5, 7]
    assert gradcheck(warp, (random(1, 1, 4, 5, requires_grad=True), random(1, 2, 4, 5, seed=1, requires_grad=True)))


def test_inside_and_sample_of_a_larger_image():
    image = torch.arange(20, dtype=torch.float64).view(1, 1, 4, 5)
    places = torch.tensor([[4.0, 5.0], [3.0, 0.0]]).double().view(1, 2, 1, 2)
    assert sample(image, places).flatten().tolist() == [19, 4]
    assert inside(places, 4, 5).flatten().tolist() == [True, False]


def test_splat_equals_loops_and_loses_only_what_leaves():
    values, flow = random(1, 1, 5, 6), 4 * random(1, 2, 5, 6, seed=1) - 2
    expected = np.zeros((8, 12))  # with room for what leaves
    for row in range(5):
        for column in range(6):
            x, y = column + float(flow[0, 0, row, column]), row + float(flow[0, 1, row, column])
            left, top = math.floor(x), math.floor(y)
            for right in (0, 1):
                for down in (0, 1):
                    weight = (1 - abs(x - left - right)) * (1 - abs(y - top - down))
                    if 0 <= top + down < 5 and 0 <= left + right < 6:
                        expected[top + down, left + right] += weight * float(values[0, 0, row, column])
    np.testing.assert_allclose(splat(values, flow)[0, 0], expected[:5, :6], rtol=1e-9)
    still = splat(values, torch.zeros_like(flow))
    np.testing.assert_allclose(still, values)
    assert gradcheck(splat, (random(1, 1, 3, 4, requires_grad=True), random(1, 2, 3, 4, seed=1, requires_grad=True)))


def moving_square():
    """A square of 4 px in 12 that moves 3 px to the right before a still background: flow there and back."""
    flow, back = torch.zeros(1, 2, 12, 12), torch.zeros(1, 2, 12, 12)
    flow[:, 0, 4:8, 2:6] = 3
    back[:, 0, 4:8, 5:9] = -3
    return flow, back


@pytest.mark.parametrize("check", [visible_by_range, visible_by_return])
def test_background_behind_a_moving_square_is_occluded(check):
    flow, back = moving_square()
    covered = torch.zeros(12, 12)
    covered[4:8, 6:9] = 1  # background in front of the square, which it comes to hide
    assert torch.equal(1 - check(flow, back)[0, 0], covered)


def test_two_pixels_landing_on_one():
    flow, _ = moving_square()
    landed = range_map(flow)[0, 0]  # in the second frame
    assert landed[4, 5:9].tolist() == [1, 2, 2, 2]
    assert landed[4, 2:5].tolist() == [0, 0, 0]  # uncovered background: nothing comes from the first frame


@pytest.mark.parametrize("check", [visible_by_range, visible_by_return])
def test_flow_out_of_the_frame_is_not_called_occluded(check):
    flow = torch.zeros(1, 2, 6, 6)
    flow[:, 0] = 4
    assert check(flow, -flow)[..., 2:].min() == 1


def test_way_back_is_the_check_of_the_cues():
    flow, back = (4 * random(2, 2, 20, 24, seed=2).float() - 2).split(1)
    height, width = flow.shape[-2:]
    stays = inside(flow + pixel_grid(height, width, flow), height, width)[0, 0].numpy()
    theirs = visible(*(np.ascontiguousarray(f[0].permute(1, 2, 0).numpy()) for f in (flow, back)))
    ours = visible_by_return(flow, back)[0, 0].numpy() > 0
    # OpenCV samples in steps of 1/32 px: a few pixels at the threshold may differ
    assert (ours[stays] == theirs[stays]).mean() > 0.97
    assert 0.05 < ours[stays].mean() < 0.95


def test_confidence_by_hand():
    flow, back = torch.zeros(1, 2, 3, 4), torch.zeros(1, 2, 3, 4)
    back[:, 0] = 0.05
    assert confidence(flow, back, 0.02)[0, 0, 0, 0].item() == pytest.approx(math.exp(-(0.05**2) / (0.02 * 5) ** 2))


def test_visibility_lets_no_gradient_through():
    flow = moving_square()[0].requires_grad_()
    assert not visibility(flow, -flow, by_return=False).requires_grad


def test_sequence_weights():
    assert sequence_weights(3, 0.8) == pytest.approx([0.64, 0.8, 1])


def test_pixels_leaving_the_crop_are_compared_in_the_whole_image():
    whole = random(1, 3, 20, 30)
    moved = torch.roll(whole, 5, dims=-1)  # everything moves 5 px to the right
    crop = whole[..., 4:16, 8:20]
    flow = torch.zeros(1, 2, 12, 12, dtype=torch.float64)
    flow[:, 0] = 5
    origin = torch.tensor([[8.0, 4.0]], dtype=torch.float64)
    seen = torch.ones(1, 1, 12, 12, dtype=torch.float64)
    parts = image_loss(crop, moved, origin, [flow, flow], seen, FlowLossConfig())
    # every pixel fits, also the 5 columns whose target lies beyond the crop; two updates weigh 0.8 + 1
    assert parts["census"].item() == pytest.approx(1.8 * 0.01**0.4, rel=1e-6)
    assert parts["smoothness"].item() < 1.8 * 0.001  # constant flow: the rounded tip, less at edges
    wrong = image_loss(crop, moved, origin, [flow - 1, flow - 1], seen, FlowLossConfig())
    assert wrong["census"].item() > 3


def test_the_student_learns_the_teachers_flow_where_it_is_unsure():
    config = FlowLossConfig(student_crop=2)
    teacher = torch.zeros(1, 2, 12, 16)
    teacher[:, 0], teacher[:, 1] = 3, 1
    # without 2 px a side, 12 × 8 px become 16 × 12: 3 px grow to 4, 1 px to 1.5
    student = torch.zeros(1, 2, 12, 16, requires_grad=True)
    unsure_back = torch.full((1, 2, 12, 16), 50.0)
    loss = teaching_loss([student], unsure_back, teacher, -teacher, config)
    assert loss.item() == pytest.approx((4 + 1.5) / 1, rel=1e-4) or loss.item() == pytest.approx(
        (4 + 1.5) / 2, rel=1e-4
    )
    loss.backward()
    assert student.grad[:, 0].max() < 0  # growing flow makes it less
    sure = teaching_loss([student], torch.zeros(1, 2, 12, 16), teacher, -teacher, config)
    assert sure.item() == 0  # it comes back: nothing to teach
    unsure_teacher = teaching_loss([student], unsure_back, teacher, teacher + 50, config)
    assert unsure_teacher.item() == pytest.approx(0, abs=1e-6)


def test_student_view_and_resized_flow():
    images = torch.zeros(1, 3, 12, 16)
    images[..., 2:10, 2:14] = 1
    assert student_view(images, 2).min() == 1
    assert student_view(images, 2).shape == images.shape
    flow = torch.ones(1, 2, 4, 4)
    assert resize_flow(flow, 8, 12)[0, :, 0, 0].tolist() == [3, 2]
