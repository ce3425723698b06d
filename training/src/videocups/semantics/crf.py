"""Dense conditional random fields on torch: regularised Frank-Wolfe (Lê-Huu and Alahari, 2021) and mean field.

Energy: unary −log p, and for every pair of pixels with different labels a Gaussian of their distance plus a bilateral
Gaussian of distance and colour. Both kernels are normalised symmetrically, D^−½ K D^−½, and count a pixel as its own
neighbour. The first is a short separable convolution, the second runs on the permutohedral lattice.

Large frames are solved in two scales: all iterations but the last on every second pixel, which a bilateral kernel of
67 px does not notice, and the last on all pixels that are not decided yet, from the lattice that is already there.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as nn_functional
from numpy.typing import NDArray
from torch import Tensor

from videocups.semantics.crf_config import CrfConfig
from videocups.semantics.permutohedral import PermutohedralLattice

CERTAIN = 0.995


def refine(
    log_probs: NDArray[np.float32], rgb: NDArray[np.uint8], config: CrfConfig | None = None, device: str = "cpu"
) -> NDArray[np.float32]:
    """Return float32 probabilities after the CRF, from log-probabilities (H, W, K) and an image (H, W, 3).

    Several frames of one size, (B, H, W, …) each, are solved together.
    """
    if log_probs.shape[:-1] != rgb.shape[:-1]:
        raise ValueError(f"log_probs {log_probs.shape} and image {rgb.shape} must be of one size; resize one of them")
    with torch.inference_mode():
        unary = torch.from_numpy(np.ascontiguousarray(log_probs)).to(device)
        image = torch.from_numpy(np.ascontiguousarray(rgb)).to(device)
        return np.asarray(dense_crf(unary, image, config).cpu().numpy(), dtype=np.float32)


def dense_crf(log_probs: Tensor, rgb: Tensor, config: CrfConfig | None = None) -> Tensor:
    """Solve the CRF on the device of its inputs: (H, W, K) float log-probabilities and (H, W, 3) colours 0..255.

    Several frames, (B, H, W, …) each, are solved together, but know nothing of each other.
    """
    if log_probs.ndim == 3:
        return dense_crf(log_probs[None], rgb[None], config)[0]
    config = config or CrfConfig()
    features = appearance(rgb, config)
    each = log_probs.shape[1] * log_probs.shape[2]
    if each <= config.coarse_above_px:
        appearances = Bilateral(features)
        field = torch.softmax(log_probs, dim=-1)
        for _ in range(config.iterations):
            field = _step(field, log_probs, smooth(field, config.gaussian_px), appearances(field), config)
        return field
    coarse_unary, coarse_features = _block_means(log_probs), features[:, ::2, ::2].contiguous()
    appearances = Bilateral(coarse_features)
    field = torch.softmax(coarse_unary, dim=-1)
    for _ in range(config.iterations - 1):
        field = _step(field, coarse_unary, smooth(field, config.gaussian_px / 2), appearances(field), config)
    near = _enlarged(smooth(field, config.gaussian_px / 2), log_probs.shape)
    result = _enlarged(field, log_probs.shape)
    open_px = torch.nonzero(_undecided(result, log_probs, config).reshape(-1))[:, 0]
    own, messages, scores = (table.reshape(-1, table.shape[-1])[open_px] for table in (result, near, log_probs))
    places = features.reshape(-1, features.shape[-1])[open_px]
    solved = _step(own, scores, messages, appearances.at(field, places, open_px // each), config)
    result.reshape(-1, result.shape[-1])[open_px] = solved
    return result


def appearance(rgb: Tensor, config: CrfConfig) -> Tensor:
    """(…, H, W, 5): position and colour of each pixel in units of the bilateral kernel's widths."""
    height, width = rgb.shape[-3:-1]
    row, column = torch.meshgrid(
        torch.arange(height, device=rgb.device), torch.arange(width, device=rgb.device), indexing="ij"
    )
    position = torch.stack([row, column], dim=2).float() / config.bilateral_px
    return torch.cat([position.expand(*rgb.shape[:-1], 2), rgb.float() / config.bilateral_rgb], dim=-1)


class Bilateral:
    """The normalised bilateral kernel over the (B, H, W, 5) features of images."""

    def __init__(self, features: Tensor) -> None:
        points = features.reshape(-1, features.shape[-1])
        self._lattice = PermutohedralLattice(points, frames=len(features))
        ones = features.new_ones(len(points), 1)
        self._spread_ones = self._lattice.blurred(ones)
        self._scale = self._lattice.filter(ones).rsqrt()

    def __call__(self, field: Tensor) -> Tensor:
        """Return D^−½ K D^−½ applied to ``field`` (B, H, W, K)."""
        filtered = self._lattice.filter(field.reshape(-1, field.shape[-1]) * self._scale)
        return (filtered * self._scale).reshape(field.shape)

    def at(self, field: Tensor, features: Tensor, frame: Tensor) -> Tensor:
        """Return the same for other pixels with (N, 5) ``features`` of frames (N,): (N, K)."""
        places = self._lattice.places(features, frame)
        blurred = self._lattice.blurred(field.reshape(-1, field.shape[-1]) * self._scale)
        # a pixel none of whose vertices exists hears nothing
        scale = self._lattice.sliced(self._spread_ones, places).clamp_min_(1e-6).rsqrt_()
        return self._lattice.sliced(blurred, places).mul_(scale)


def smooth(field: Tensor, sigma_px: float) -> Tensor:
    """Apply the normalised Gaussian kernel of ``sigma_px`` to (…, H, W, K)."""
    radius = max(1, math.ceil(3.7 * sigma_px) - 1)  # the next tap would be below a thousandth of the middle one
    offsets = torch.arange(-radius, radius + 1, device=field.device, dtype=field.dtype)
    taps = torch.exp(-(offsets**2) / (2 * sigma_px**2))
    height, width, count = field.shape[-3:]
    rows, columns = (
        nn_functional.conv1d(field.new_ones(1, 1, size), taps[None, None], padding=radius)[0, 0].rsqrt()
        for size in (height, width)
    )
    scale = rows[:, None, None] * columns[None, :, None]
    planes = (field * scale).reshape(-1, height, width, count).permute(0, 3, 1, 2)
    for shape, padding in (((1, 1, -1, 1), (radius, 0)), ((1, 1, 1, -1), (0, radius))):
        kernel = taps.reshape(shape).expand(count, *[-1] * 3)
        planes = nn_functional.conv2d(planes, kernel, padding=padding, groups=count)
    return planes.permute(0, 2, 3, 1).reshape(field.shape) * scale


def project_to_simplex(values: Tensor) -> Tensor:
    """Return the nearest point of the simplex (entries ≥ 0, sum 1) to every vector of the last dimension."""
    # only entries within 1 of the largest can stay above 0; mostly that is one, and nothing is left to do
    flat = values.reshape(-1, values.shape[-1])
    answer = (flat - (flat.amax(dim=1, keepdim=True) - 1)).clamp_min_(0)
    shared = torch.nonzero(answer.sum(dim=1) > 1)[:, 0]
    if len(shared):
        answer[shared] = _lowered(answer[shared])
    return answer.reshape(values.shape)


def _lowered(candidates: Tensor) -> Tensor:
    """Subtract from each row of (N, K) what makes the positive rest sum to 1: Newton steps from below."""
    above, change = candidates, torch.ones(())
    for _ in range(candidates.shape[1] + 1):  # each step loses an entry or is the last
        excess = above.sum(dim=1, keepdim=True).sub_(1)
        change = excess.div_(above.sign().sum(dim=1, keepdim=True))
        above = (above - change).clamp_min_(0)
        if float(change.abs().amax()) < 1e-6:
            break
    return above


def _step(field: Tensor, log_probs: Tensor, near: Tensor, alike: Tensor, config: CrfConfig) -> Tensor:
    """Take one step from ``field``; ``near`` and ``alike``: what the two kernels make of it."""
    scores = torch.add(log_probs, alike, alpha=config.bilateral_weight).add_(near, alpha=config.gaussian_weight)
    if config.method == "mean_field":
        return torch.softmax(scores, dim=-1)
    answer = project_to_simplex(scores.div_(config.regularizer))
    return answer if config.step == 1 else torch.lerp(field, answer, config.step)


def _undecided(enlarged: Tensor, log_probs: Tensor, config: CrfConfig) -> Tensor:
    """Return (B, H, W) bool: pixels that the last step can change.

    Where the coarse field around is certain of a label, both kernels add their weights to it; the pixel stays with it
    unless its own scores prefer another one by as much, less the 1 that a sparse answer needs.
    """
    certainty, label = enlarged.max(dim=-1, keepdim=True)
    lag = log_probs.amax(dim=-1, keepdim=True) - log_probs.gather(-1, label)
    pull = config.bilateral_weight + config.gaussian_weight
    return ((certainty < CERTAIN) | (lag > pull / 2 - 1))[..., 0]


def _block_means(field: Tensor) -> Tensor:
    """Average (B, H, W, K) over blocks of 2 × 2 pixels, fewer at an odd border: (B, ⌈H/2⌉, ⌈W/2⌉, K)."""
    for axis in (1, 2):
        even, size = field.unfold(axis, 1, 2)[..., 0], field.shape[axis]
        odd = field.narrow(axis, 1, size - 1).unfold(axis, 1, 2)[..., 0]
        odd = odd if size % 2 == 0 else torch.cat([odd, even.narrow(axis, -1, 1)], dim=axis)
        field = torch.lerp(even, odd, 0.5)
    return field


def _enlarged(field: Tensor, shape: torch.Size) -> Tensor:
    """Bring (B, h, w, K) of every second pixel to (B, H, W, K), between them linearly."""
    for axis in (1, 2):
        size = shape[axis]
        here = field.repeat_interleave(2, dim=axis).narrow(axis, 0, size)
        after = torch.cat([field.narrow(axis, 1, field.shape[axis] - 1), field.narrow(axis, -1, 1)], dim=axis)
        odd = torch.arange(1, size, 2, device=field.device)
        here.index_copy_(axis, odd, torch.lerp(field, after, 0.5).narrow(axis, 0, len(odd)))
        field = here
    return field
