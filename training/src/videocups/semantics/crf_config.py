"""Settings of the CRF; apart from its code, because that loads torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from videocups_core.config import setting


@dataclass(frozen=True)
class CrfConfig:
    """The kernels of CUPS; steps and regulariser of regularised Frank-Wolfe as published."""

    # frank_wolfe gives sparse answers in few steps, mean_field is the classic
    method: Literal["frank_wolfe", "mean_field"] = setting("frank_wolfe", "how the field is solved")
    # Frank-Wolfe needs about 5, mean field about 10
    iterations: int = setting(5, "steps of the solver", minimum=1)
    # width and weight of the kernel of distance alone
    gaussian_px: float = setting(1.0, "width of the smoothness kernel in px", minimum=0.1)
    gaussian_weight: float = setting(3.0, "weight of the smoothness kernel", minimum=0.0)
    # widths and weight of the kernel of distance and colour
    bilateral_px: float = setting(67.0, "width of the appearance kernel in px", minimum=0.1)
    bilateral_rgb: float = setting(3.0, "width of the appearance kernel in grey values of 0..255", minimum=0.1)
    bilateral_weight: float = setting(4.0, "weight of the appearance kernel", minimum=0.0)
    # Frank-Wolfe: strength of the l2 regulariser and length of a step
    regularizer: float = setting(1.0, "strength of the l2 regulariser (Frank-Wolfe)", minimum=1e-3)
    step: float = setting(1.0, "length of a step (Frank-Wolfe)", minimum=0.0, maximum=1.0)
    # frames with more pixels are solved on every second pixel first
    coarse_above_px: int = setting(40_000, "frames with more pixels are solved on every second pixel first", minimum=0)
