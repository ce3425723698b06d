#!/usr/bin/env bash
# The whole way on a small scale, from nothing: a rendered street becomes a bag, the bag becomes clips, and a video.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

usage() {
  cat <<'TEXT'
usage: ./demo.sh [--frames N]

Runs ./setup.sh if needed, then fills demo/ anew:
  demo/world/      a bag of a rendered street with its ground truth
  demo/clips/      the clips cut from it
  demo/truth.mp4   the camera's picture and, below, what is true of it: classes, outlines, track ids

  --frames N   length of the drive, at 10 frames a second (default: 100)
TEXT
}

fail() {
  echo "demo.sh: $*" >&2
  exit 2
}

frames=100
while (($#)); do
  case $1 in
    --frames) [[ ${2:-} =~ ^[1-9][0-9]*$ ]] || fail "--frames needs a number above 0, got '${2:-}'"; frames=$2; shift ;;
    -h | --help) usage && exit ;;
    *) fail "unknown option '$1'; './demo.sh --help' lists them" ;;
  esac
  shift
done

step() { printf '\n== %s (%d s)\n' "$*" "$SECONDS"; }

./setup.sh
PATH=$PWD/.venv-training/bin:$PATH
rm -rf demo
mkdir demo

step "A street is rendered and recorded as a bag"
videocups bag render --out demo/world --frames "$frames" --seed 7
videocups bag info demo/world

step "The bag becomes clips"
videocups ingest demo/world --topic /camera/image_raw --odometry-topic /odom --out demo/clips

step "Clips and ground truth become a video"
python - demo/clips demo/truth.mp4 7 "$frames" <<'PYTHON'
import sys

import cv2
import numpy as np

from videocups.progress import track
from videocups.synthetic.config import WorldConfig
from videocups.synthetic.world import World
from videocups_core.clip import Clip, find_clips
from videocups_core.overlay import draw_overlay
from videocups_core.panoptic.frames import panoptic_from_maps

clips, out, seed, frames = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
world = World(WorldConfig(seed=seed, num_frames=frames, fps=10.0, width=512, height=256))
index_of = {world.stamp_ns(index): index for index in range(frames)}
video = cv2.VideoWriter(out, cv2.VideoWriter_fourcc(*"mp4v"), 10.0, (512, 512))
written, tracks = 0, set()
for clip in map(Clip, find_clips(clips)):
    for number, stamp_ns in enumerate(track(clip.info.stamps_ns, "draw", unit="frames")):
        truth, rgb = world.frame(index_of[stamp_ns]), clip.frame_rgb(number)
        frame = panoptic_from_maps(truth.class_map, truth.track_map, world.classes, stamp_ns=stamp_ns)
        tracks |= {segment.track_id for segment in frame.segments if segment.is_thing}
        picture = np.vstack([rgb, draw_overlay(rgb, frame, world.classes)])
        video.write(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        written += 1
video.release()
if written != frames:
    sys.exit(f"demo.sh: {frames} frames were rendered, but the clips hold {written}")
print(f"{out}: {written} frames, {len(tracks)} different things seen, {len(world.classes)} classes")
PYTHON

step "Done: look at demo/truth.mp4"
