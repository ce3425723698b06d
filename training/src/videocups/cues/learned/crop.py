"""What a flow network sees of a frame."""

from __future__ import annotations

from videocups.train.settings import WindowConfig

CELL_PX = 8
"""flow is estimated on a grid so many px wide, which a crop must fill."""


def check_crop(crop_height: int, crop_width: int, frame: WindowConfig) -> None:
    """Refuse a crop that is no multiple of cells or larger than the frame."""
    if crop_height % CELL_PX or crop_width % CELL_PX:
        raise ValueError(
            f"crop_height and crop_width must be multiples of {CELL_PX}, got {crop_height} and {crop_width}"
        )
    if crop_height > frame.height or crop_width > frame.width:
        raise ValueError(
            f"the crop {crop_height}×{crop_width} must fit into the frame {frame.height}×{frame.width}; "
            "lower crop_height and crop_width"
        )
