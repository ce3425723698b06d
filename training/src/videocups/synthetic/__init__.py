"""A rendered street world with exact ground truth."""

from videocups.synthetic.classes import CLASSES, WorldClass
from videocups.synthetic.config import FIRST_HELD_SEED, SCENARIOS, SETTINGS, WorldConfig
from videocups.synthetic.storage import Truth, read_truth, write_clip
from videocups.synthetic.world import World, WorldFrame, iter_frames

__all__ = [
    "CLASSES",
    "FIRST_HELD_SEED",
    "SCENARIOS",
    "SETTINGS",
    "Truth",
    "World",
    "WorldClass",
    "WorldConfig",
    "WorldFrame",
    "iter_frames",
    "read_truth",
    "write_clip",
]
