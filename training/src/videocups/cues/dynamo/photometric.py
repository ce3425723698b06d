"""How much two images differ: structure (SSIM) and colour."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def structural_difference(first: Tensor, second: Tensor) -> Tensor:
    """Return (1 − SSIM) / 2 in [0, 1] for each pixel and channel, of 3×3 patches; edges are mirrored."""
    first, second = (functional.pad(image, (1, 1, 1, 1), mode="reflect") for image in (first, second))

    def mean(image: Tensor) -> Tensor:
        return functional.avg_pool2d(image, 3, stride=1)

    mean_first, mean_second = mean(first), mean(second)
    variance_first = mean(first.square()) - mean_first.square()
    variance_second = mean(second.square()) - mean_second.square()
    covariance = mean(first * second) - mean_first * mean_second
    c1, c2 = 0.01**2, 0.03**2
    above = (2 * mean_first * mean_second + c1) * (2 * covariance + c2)
    below = (mean_first.square() + mean_second.square() + c1) * (variance_first + variance_second + c2)
    return ((1 - above / below) / 2).clamp(0, 1)


def photometric_difference(warped: Tensor, target: Tensor, ssim: float) -> Tensor:
    """Return (B, 1, H, W): ``ssim`` parts structure, the rest colour, both averaged over the channels."""
    structure = structural_difference(warped, target).mean(1, keepdim=True)
    color = (warped - target).abs().mean(1, keepdim=True)
    return ssim * structure + (1 - ssim) * color
