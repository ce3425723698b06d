"""Draw the README's picture: a rendered street and, beside it, the same frame with its true labels."""

from pathlib import Path

import cv2
import numpy as np

from videocups.synthetic import World, WorldConfig
from videocups_core.overlay import draw_overlay
from videocups_core.panoptic.frames import panoptic_from_maps

world = World(WorldConfig(seed=3, num_frames=40, height=360, width=720))
frame = world.frame(20)
truth = panoptic_from_maps(frame.class_map, frame.track_map, world.classes, stamp_ns=frame.stamp_ns)
picture = np.hstack([frame.rgb, draw_overlay(frame.rgb, truth, world.classes)])
out = Path(__file__).with_name("overlay.jpg")
cv2.imwrite(str(out), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 85])
