"""Views of a pair of frames: the same region of both, small parts of it, other colours, and which cells are linked."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from videocups.pretrain.config import ViewConfig

Image = NDArray[np.uint8]
Places = NDArray[np.float32]


@dataclass(frozen=True)
class Region:
    """A square of a frame: its corner and side in px, and whether it is seen in a mirror."""

    x: float
    y: float
    side: float
    mirrored: bool

    def crop(self, rgb: Image, size: int) -> Image:
        """Return the region as (size, size, 3)."""
        x, y, side = round(self.x), round(self.y), round(self.side)
        part = rgb[y : y + side, x : x + side]
        how = cv2.INTER_AREA if side > size else cv2.INTER_LINEAR
        resized = part if part.shape[:2] == (size, size) else cv2.resize(part, (size, size), interpolation=how)
        return np.ascontiguousarray(resized[:, ::-1] if self.mirrored else resized, dtype=np.uint8)

    def cells_px(self, cells: int) -> Places:
        """Return the place (x, y) in the frame of the centre of each of cells × cells: (cells, cells, 2)."""
        along = (np.arange(cells, dtype=np.float32) + 0.5) / cells * np.float32(self.side) - np.float32(0.5)
        x = np.float32(self.x) + (along[::-1] if self.mirrored else along)
        y = np.float32(self.y) + along
        return np.stack(np.broadcast_arrays(x[None, :], y[:, None]), axis=-1).astype(np.float32)

    def inside(self, places_px: Places) -> Places:
        """Return where places of the frame lie in the view: −1 … 1 from border to border, as torch samples grids."""
        corner = np.array([self.x, self.y], np.float32) - np.float32(0.5)
        grid = (places_px - corner) / np.float32(self.side) * 2 - 1
        if self.mirrored:
            grid = grid * np.array([-1, 1], np.float32)
        return np.asarray(grid, dtype=np.float32)


def draw_region(rng: np.random.Generator, shape: tuple[int, int], share: tuple[float, float], mirrored: bool) -> Region:
    """Draw a square whose side is a share of the height of a frame of this shape, in whole px."""
    height, width = shape
    side = min(max(round(float(rng.uniform(*share)) * height), 1), height, width)
    x, y = int(rng.integers(width - side + 1)), int(rng.integers(height - side + 1))
    return Region(x, y, side, mirrored)


def link(region: Region, flow_px: Places, visible: NDArray[np.bool_], cells: int) -> tuple[Places, NDArray[np.bool_]]:
    """Return where the cells of a view lie in the other frame, (cells, cells, 2) px, and which are seen there."""
    places = region.cells_px(cells)
    height, width = visible.shape
    column = np.clip(np.rint(places[..., 0]).astype(np.int64), 0, width - 1)
    row = np.clip(np.rint(places[..., 1]).astype(np.int64), 0, height - 1)
    return places + flow_px[row, column], visible[row, column]


def within(grid: Places) -> NDArray[np.bool_]:
    """Tell which places of a grid lie in the view."""
    return np.asarray((np.abs(grid) < 1).all(axis=-1), dtype=np.bool_)


def recolored(rgb: Image, config: ViewConfig, rng: np.random.Generator) -> Image:
    """Change brightness, contrast, saturation and hue, sometimes drop the colour, sometimes blur."""
    brightness, contrast, saturation, hue = (float(rng.uniform(-size, size)) for size in config.jitter_size)
    image = rgb.astype(np.float32) * (1 + brightness)
    image = (image - image.mean()) * (1 + contrast) + image.mean()
    grey = image @ np.array([0.299, 0.587, 0.114], np.float32)
    keep = 0.0 if rng.random() < config.grey else 1 + saturation
    image = (image - grey[..., None]) * keep + grey[..., None]
    image = np.clip(image, 0, 255)
    if hue and keep:
        hsv = cv2.cvtColor(image.astype(np.uint8), cv2.COLOR_RGB2HSV)  # hue in 0 … 179
        hsv[..., 0] = (hsv[..., 0].astype(np.int16) + round(hue * 180)) % 180
        image = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB).astype(np.float32)
    if rng.random() < config.blur:
        image = cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.3, 1.5)))
    return np.asarray(np.rint(image), dtype=np.uint8)
