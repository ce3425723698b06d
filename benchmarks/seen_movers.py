"""Which moving objects stand out from the errors that flow is expected to have: over one frame and over five.

    python benchmarks/seen_movers.py [--clips abcd] [--table FILE]

Every frame of the labelled streets that has true flow: an object stands out where the median of its pixels' motion
across a static world, before images are compared, is above 1.7 expected errors. "true flow": in the place of the
classical one, with the same ego-motion and ground.
"""

from __future__ import annotations

import argparse
import os
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import cv2
import numpy as np
from labelled_clips import LabelledClip, heading, street_clips

from videocups.cues.classical import iter_frames, survey
from videocups.cues.classical_config import THOROUGH
from videocups.cues.epipolar import pixel_rays
from videocups.cues.far_view import with_own_ground
from videocups.cues.photometric import appearance
from videocups.cues.static_world import static_surprise

SURE = 1.7
SIZES = {"150 to 600 px": (150, 600), "above 600 px": (600, 10**9)}
KINDS = ("classical flow, next frame", "true flow, next frame", "classical flow, five frames on")
Shares = dict[tuple[str, str], list[bool]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", default="abcd")
    parser.add_argument("--table", type=Path, help="write the table there")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    found: Shares = defaultdict(list)
    for clip in street_clips(options.clips):
        count(clip, found)
    lines = [heading("Moving objects that stand out"), "| objects | " + " | ".join(KINDS) + " |", "|---|---|---|---|"]
    for size in SIZES:
        cells = [f"{np.mean(found[size, kind]):.2f} of {len(found[size, kind])}" for kind in KINDS]
        lines.append(f"| {size} | {' | '.join(cells)} |")
    text = "\n".join([*lines, "", *__doc__.strip().split("\n")[4:]]) + "\n"
    print(text)
    if options.table:
        options.table.write_text(text)


def count(clip: LabelledClip, found: Shares) -> None:
    """Ask of every moving object whether it stands out."""
    geometry, rays = survey(clip.rgb, len(clip), clip.camera, THOROUGH), pixel_rays(clip.camera)
    for frame in iter_frames(clip.rgb, len(clip), clip.camera, geometry, THOROUGH):
        truth = clip.truth(frame.index)
        both = frame.index + THOROUGH.far_frames < len(clip) and frame.near and frame.far
        if truth.flow_px is None or truth.flow_valid is None or not both:
            continue
        near, far = frame.near[0].view, frame.far[0].view
        true = replace(near, flow_px=np.where(truth.flow_valid[..., None], truth.flow_px, near.flow_px))
        far = with_own_ground(far, geometry.hood, rays, clip.camera, THOROUGH.ground)
        looks = appearance(frame.rgb, 1.0)
        for kind, view in zip(KINDS, (near, true, far), strict=True):
            surprise = static_surprise(view, looks, looks, rays, clip.camera).raw_surprise
            for track in np.unique(truth.objects[truth.objects > 0]):
                inside = truth.objects == track
                for size, (least, most) in SIZES.items():
                    if least < inside.sum() <= most:
                        found[size, kind].append(bool(np.median(surprise[inside]) > SURE))


if __name__ == "__main__":
    main()
