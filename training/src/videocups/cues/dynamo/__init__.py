"""Dynamo-Depth: depth, ego-motion, 3-D flow and motion masks learned from clips; needs the extra ``train``."""

from videocups.cues.dynamo.config import DynamoConfig
from videocups.cues.dynamo.estimator import DepthMotion, DynamoCues

__all__ = ["DepthMotion", "DynamoConfig", "DynamoCues"]
