"""Draw the README's picture: rendered streets that no training saw and, beside them, what the shipped model answers."""

from pathlib import Path

import cv2
import numpy as np

from videocups.synthetic import World, WorldConfig
from videocups_core.bundle import read_bundle
from videocups_core.engine import EngineConfig, create_engine
from videocups_core.overlay import draw_overlay
from videocups_core.stream import Stream

HERE = Path(__file__).parent
SHIPPED = HERE.parents[1] / "ros2_ws/src/videocups_perception/models/street_small"

bundle = read_bundle(SHIPPED)
engine = create_engine(bundle, EngineConfig(device="cpu"))
engine.load()
rows = []
for seed, last in ((1001, 10), (1004, 12)):
    world = World(WorldConfig(seed=seed, num_frames=30))
    stream = Stream(bundle, engine)
    for index in range(last - 5, last + 1):
        rgb = world.frame(index).rgb
        answer = stream.step(rgb, index * 100_000_000)
    rows.append(np.hstack([rgb, draw_overlay(rgb, answer, bundle.classes)]))
picture = np.vstack(rows)
out = HERE / "overlay.jpg"
cv2.imwrite(str(out), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 85])
