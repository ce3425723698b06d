from __future__ import annotations

import numpy as np
import pytest
import torch

from videocups.semantics.crf import dense_crf, project_to_simplex, refine, smooth
from videocups.semantics.crf_config import CrfConfig
from videocups.semantics.permutohedral import PermutohedralLattice

FULL = 10**9


def scene(seed, size=(32, 32), classes=27, contrast=2.0):
    """Noisy two-colour image and label scores that are smooth over 4 px, as from stride-4 features."""
    rng = np.random.default_rng(seed)
    height, width = size
    row, column = np.mgrid[:height, :width]
    region = (np.hypot(row - height / 2, column - width / 3) < height / 3) | (column > 0.8 * width)
    rgb = np.where(region[..., None], (90, 100, 120), (140, 130, 110)) + rng.normal(0, 2, (height, width, 3))
    blocks = rng.normal(0, contrast, (height // 4, width // 4, classes)).repeat(4, 0).repeat(4, 1)
    noise = rng.normal(0, 0.3, (height, width, classes))
    scores = torch.tensor(blocks + noise, dtype=torch.float32)
    return torch.log_softmax(scores, dim=2), torch.tensor(rgb.clip(0, 255).astype(np.uint8))


def dense_kernels(rgb, config):
    """Both normalised kernels as full matrices, in double precision."""
    height, width = rgb.shape[:2]
    row, column = np.mgrid[:height, :width]
    position = torch.tensor(np.stack([row, column], 2).reshape(-1, 2).astype(np.float64))
    color = rgb.double().reshape(-1, 3)
    near = torch.cdist(position, position) ** 2
    alike = torch.cdist(color, color) ** 2
    kernels = [
        torch.exp(-near / (2 * config.gaussian_px**2)),
        torch.exp(-near / (2 * config.bilateral_px**2) - alike / (2 * config.bilateral_rgb**2)),
    ]
    return [k / (k.sum(1)[:, None] * k.sum(1)[None]).sqrt() for k in kernels]


def brute_force(log_probs, rgb, config):
    """The same field with dense matrices; the projection by sorting."""
    unary = log_probs.double().reshape(-1, log_probs.shape[2])
    gaussian, bilateral = dense_kernels(rgb, config)
    field = torch.softmax(unary, dim=1)
    for _ in range(config.iterations):
        message = config.gaussian_weight * (gaussian @ field) + config.bilateral_weight * (bilateral @ field)
        scores = unary + message
        field = torch.softmax(scores, 1) if config.method == "mean_field" else sorted_projection(scores)
    return field.reshape(log_probs.shape)


def sorted_projection(values):
    ordered = values.sort(dim=-1, descending=True).values
    excess = ordered.cumsum(-1) - 1
    support = (ordered * torch.arange(1, values.shape[-1] + 1) > excess).sum(-1, keepdim=True)
    return (values - excess.gather(-1, support - 1) / support).clamp_min(0)


@pytest.mark.parametrize("method", ["frank_wolfe", "mean_field"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_marginals_agree_with_a_dense_field(method, seed):
    log_probs, rgb = scene(seed)
    config = CrfConfig(method=method, iterations=5 if method == "frank_wolfe" else 10)
    found, wanted = dense_crf(log_probs, rgb, config), brute_force(log_probs, rgb, config)
    unsolved = torch.softmax(log_probs, dim=2)
    assert (found - wanted).abs().mean() <= 1e-3
    assert (unsolved - wanted).abs().mean() > 5e-3  # the field does something
    np.testing.assert_allclose(found.sum(2), 1, atol=1e-5)


def test_two_scales_agree_with_one_where_scores_are_smooth():
    log_probs, rgb = scene(3, (64, 96), classes=6)
    labels = {above: dense_crf(log_probs, rgb, CrfConfig(coarse_above_px=above)).argmax(2) for above in (0, FULL)}
    assert (labels[0] == labels[FULL]).float().mean() > 0.95
    odd = dense_crf(log_probs[:63, :95], rgb[:63, :95], CrfConfig(coarse_above_px=0))
    assert odd.shape == (63, 95, 6)


def test_noise_inside_a_uniform_region_is_removed():
    rgb = np.full((24, 24, 3), 80, np.uint8)
    rgb[:, 12:] = 160
    rng = np.random.default_rng(0)
    right = (np.arange(24) >= 12)[None, :] ^ (rng.random((24, 24)) < 0.2)  # every fifth label is wrong
    probs = np.where(right[..., None], (0.3, 0.7), (0.7, 0.3)).astype(np.float32)
    labels = refine(np.log(probs), rgb).argmax(2)
    np.testing.assert_array_equal(labels, np.broadcast_to(np.arange(24) >= 12, (24, 24)))


@pytest.mark.parametrize("coarse_above_px", [0, FULL])
@pytest.mark.parametrize("size", [(32, 48), (160, 144)])  # with and without the ring of vertices for few points
def test_frames_solved_together_know_nothing_of_each_other(size, coarse_above_px):
    config = CrfConfig(coarse_above_px=coarse_above_px, iterations=3)
    scenes = [scene(seed, size, classes=5) for seed in range(3)]
    scenes[1] = (scenes[1][0], 255 - scenes[1][1])  # far away from the others on the lattice
    together = dense_crf(*(torch.stack(parts) for parts in zip(*scenes, strict=True)), config)
    for found, (log_probs, rgb) in zip(together, scenes, strict=True):
        torch.testing.assert_close(found, dense_crf(log_probs, rgb, config), atol=1e-5, rtol=0)
    assert (together[0] - together[1]).abs().mean() > 0.01


@pytest.mark.gpu
def test_a_gpu_solves_frames_as_a_cpu_does():
    if not torch.cuda.is_available():
        pytest.skip("needs a GPU")
    scenes = [scene(seed, (160, 144), classes=9) for seed in range(3)]
    log_probs, rgb = (torch.stack(parts).numpy() for parts in zip(*scenes, strict=True))
    for above in (0, FULL):
        config = CrfConfig(coarse_above_px=above)
        together = refine(log_probs, rgb, config, device="cuda")
        alone = np.stack([refine(*frame, config) for frame in zip(log_probs, rgb, strict=True)])
        assert np.abs(together - alone).mean() < 1e-4
        assert (together.argmax(3) == alone.argmax(3)).mean() > 0.999


def test_the_lattice_filters_like_a_gaussian():
    points = torch.rand(1500, 3, generator=torch.Generator().manual_seed(0)) * 4
    values = torch.stack([torch.sin(2 * points[:, 0]), points[:, 1] * points[:, 2]], dim=1)
    lattice = PermutohedralLattice(points)
    kernel = torch.exp(-(torch.cdist(points, points) ** 2) / 2)
    mean = lattice.filter(values) / lattice.filter(torch.ones(1500, 1))
    wanted = kernel @ values / kernel.sum(1, keepdim=True)
    spread = values.std()
    assert (mean - wanted).abs().mean() < 0.02 * spread
    assert (wanted - values.mean(0)).abs().mean() > 0.2 * spread


def test_other_points_are_sliced_like_own_ones():
    points = torch.rand(300, 4, generator=torch.Generator().manual_seed(2)) * 3
    values = torch.rand(300, 2, generator=torch.Generator().manual_seed(3))
    lattice = PermutohedralLattice(points)
    torch.testing.assert_close(lattice.sliced(lattice.blurred(values), lattice.places(points)), lattice.filter(values))


def test_the_smoothness_kernel_is_a_gaussian_of_the_distance():
    field = torch.rand(12, 9, 3, generator=torch.Generator().manual_seed(4))
    rgb = torch.zeros(12, 9, 3, dtype=torch.uint8)
    wanted = dense_kernels(rgb, CrfConfig())[0] @ field.double().reshape(-1, 3)
    torch.testing.assert_close(smooth(field, 1.0), wanted.reshape(12, 9, 3).float(), atol=2e-3, rtol=0)


def test_projection_onto_the_simplex():
    values = torch.randn(500, 8, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    torch.testing.assert_close(project_to_simplex(values), sorted_projection(values), atol=1e-6, rtol=0)
    flat = torch.full((1, 4), 3.0)
    torch.testing.assert_close(project_to_simplex(flat), torch.full((1, 4), 0.25))
    torch.testing.assert_close(project_to_simplex(torch.tensor([[5.0, 0.0]])), torch.tensor([[1.0, 0.0]]))


def test_a_wrong_size_is_named():
    with pytest.raises(ValueError, match="of one size"):
        refine(np.zeros((4, 4, 2), np.float32), np.zeros((5, 4, 3), np.uint8))
