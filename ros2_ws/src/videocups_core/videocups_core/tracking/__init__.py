"""Things keep their identity from frame to frame."""

from videocups_core.tracking.association import AssociationConfig
from videocups_core.tracking.tracker import AbsentTrack, Tracked, Tracker, TrackerConfig

__all__ = ["AbsentTrack", "AssociationConfig", "Tracked", "Tracker", "TrackerConfig"]
