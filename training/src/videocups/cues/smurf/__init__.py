"""RAFT trained without labels, by SMURF's losses; needs the extra ``train``."""

from videocups.cues.smurf.config import SmurfConfig
from videocups.cues.smurf.estimator import SmurfFlow

__all__ = ["SmurfConfig", "SmurfFlow"]
