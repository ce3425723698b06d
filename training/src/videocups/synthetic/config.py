"""What a rendered world is asked to be: one frozen dataclass, defaults in it."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from videocups_core.types import CameraModel

SCENARIOS = ("auto", "drive", "turn", "stop", "stand", "parked")
SETTINGS = ("auto", "city", "suburb")
MAX_PIXELS = 1 << 24
"""of an image: 4096 × 4096; rendering keeps many fields of that size at once"""
FIRST_HELD_SEED = 1000
"""Seeds from here on are for evaluation: tune and train on smaller ones only."""


@dataclass(frozen=True)
class WorldConfig:
    """A street world, its traffic and the camera that drives through it. The same values give the same bits."""

    # Everything random hangs on this; seeds >= 1000 are held for evaluation.
    seed: int = 0
    num_frames: int = 60
    fps: float = 10.0
    # Image size in px.
    height: int = 256
    width: int = 512
    # Horizontal field of view; ignored where k is given.
    horizontal_fov_deg: float = 70.0
    # Row-major 3×3 intrinsics in px, pixel centres at whole numbers; None derives them from the field of view.
    k: tuple[float, float, float, float, float, float, float, float, float] | None = None
    # Height of the camera above the road.
    camera_height_m: float = 1.55
    # Small pitch and heave of the car body.
    camera_bob: bool = True
    # Distance to a second camera on the right; 0 renders none.
    stereo_baseline_m: float = 0.0
    # What the ego does: auto picks by seed; drive goes straight on green, turn takes a corner, stop meets a red light,
    # stand never moves, parked drives through a street where no other thing moves.
    scenario: str = "auto"
    # City blocks or houses with gardens; auto picks by seed.
    setting: str = "auto"
    # Densities: 1 is a lively street, 0 leaves the kind out.
    vehicle_density: float = 1.0
    parked_density: float = 1.0
    pedestrian_density: float = 1.0
    bicycle_density: float = 1.0
    vegetation_density: float = 1.0
    # Shadows cast on the ground.
    shadows: bool = True
    # Soften polygon edges in the image (the truth is never softened).
    antialias: bool = True
    # Stamp of frame 0.
    start_stamp_ns: int = 1_700_000_000_000_000_000

    def __post_init__(self) -> None:
        self._check_numbers()
        self._check_size()
        if self.scenario not in SCENARIOS:
            raise ValueError(f"scenario must be one of {', '.join(SCENARIOS)}, got {self.scenario!r}")
        if self.setting not in SETTINGS:
            raise ValueError(f"setting must be one of {', '.join(SETTINGS)}, got {self.setting!r}")

    def _check_numbers(self) -> None:
        if self.seed < 0:
            raise ValueError(f"seed must be >= 0, got {self.seed}")
        if self.num_frames < 1:
            raise ValueError(f"num_frames must be >= 1, got {self.num_frames}")
        if not 1.0 <= self.fps <= 120.0:
            raise ValueError(f"fps must be in 1..120, got {self.fps}")
        if not 10.0 <= self.horizontal_fov_deg <= 140.0:
            raise ValueError(f"horizontal_fov_deg must be in 10..140, got {self.horizontal_fov_deg}")
        if not 0.5 <= self.camera_height_m <= 4.0:
            raise ValueError(f"camera_height_m must be in 0.5..4, got {self.camera_height_m}")
        if self.stereo_baseline_m < 0:
            raise ValueError(f"stereo_baseline_m must be >= 0 (0 = no right camera), got {self.stereo_baseline_m}")
        for field in fields(self):
            if field.name.endswith("_density") and not 0.0 <= getattr(self, field.name) <= 3.0:
                raise ValueError(f"{field.name} must be in 0..3, got {getattr(self, field.name)}")

    def _check_size(self) -> None:
        if self.height < 16 or self.width < 16:
            raise ValueError(f"the image must be at least 16×16 px, got {self.height}×{self.width}")
        if self.height * self.width > MAX_PIXELS:
            got = f"{self.height}×{self.width}"
            raise ValueError(f"the image must have at most {MAX_PIXELS:,} pixels, got {got}; give a smaller size")

    def camera(self) -> CameraModel:
        """Return the pinhole camera; pixel centres lie at whole numbers."""
        if self.k is not None:
            return CameraModel(self.width, self.height, self.k)
        focal_px = 0.5 * self.width / math.tan(math.radians(self.horizontal_fov_deg) / 2)
        center_x, center_y = (self.width - 1) / 2, (self.height - 1) / 2
        return CameraModel(self.width, self.height, (focal_px, 0.0, center_x, 0.0, focal_px, center_y, 0.0, 0.0, 1.0))
