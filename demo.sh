#!/usr/bin/env bash
# The whole way on a small scale, from nothing: a rendered street becomes a bag, the bag becomes clips, and a video.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

usage() {
  cat <<'TEXT'
usage: ./demo.sh [--frames N] [--keep]

Runs ./setup.sh if needed, then fills demo/ anew:
  demo/world/      a bag of a rendered street with its ground truth
  demo/clips/      the clips cut from it
  demo/live/       what the vehicle's graph with the shipped model answered to the bag: frames and panoptic labels
  demo/live.mp4    the camera's picture and, below, that answer: classes, outlines, track ids

  --frames N   length of the drive, at 10 frames a second (default: 100)
  --keep       leave the graph and its browser page running when done, until Ctrl-C
TEXT
}

fail() {
  echo "demo.sh: $*" >&2
  exit 2
}

frames=100
keep=false
while (($#)); do
  case $1 in
    --frames) [[ ${2:-} =~ ^[1-9][0-9]*$ ]] || fail "--frames needs a number above 0, got '${2:-}'"; frames=$2; shift ;;
    --keep) keep=true ;;
    -h | --help) usage && exit ;;
    *) fail "unknown option '$1'; './demo.sh --help' lists them" ;;
  esac
  shift
done

step() { printf '\n== %s (%d s)\n' "$*" "$SECONDS"; }

./setup.sh
training=$PWD/.venv-training/bin
distro=kilted
[[ -e ${VIDEOCUPS_OPT_ROS:-/opt/ros}/${ROS_DISTRO:-none}/setup.bash ]] && distro=$ROS_DISTRO
rm -rf demo
mkdir demo

step "A street is rendered and recorded as a bag"
"$training/videocups" bag render --out demo/world --frames "$frames" --seed 7
"$training/videocups" bag info demo/world

step "The bag becomes clips"
"$training/videocups" ingest demo/world --topic /camera/image_raw --odometry-topic /odom --out demo/clips

step "The bag is played through the vehicle's graph"
export ROS_DOMAIN_ID=${ROS_DOMAIN_ID:-57} OMP_NUM_THREADS=1
# shellcheck disable=SC1091
source env.sh "$distro"
nodes=ros2_ws/install-$distro/videocups_perception/lib/videocups_perception
running=()
stop_nodes() { # in the order they were started: the recorder writes what waits, the summary is printed
  for process in "${running[@]}"; do kill -INT "$process" 2>/dev/null && wait "$process"; done
  running=()
}
trap stop_nodes EXIT
start() {
  "$@" &
  running+=($!)
}
start "$nodes/summary_node"
# every frame is answered however slow the machine is; a vehicle would take the newest instead
start "$nodes/vps_node" --ros-args -p image_topic:=/camera/image_raw -p use_sim_time:=true \
  -p input_reliability:=reliable -p drop_policy:=none
start "$nodes/web_view" --ros-args -p image_topic:=/camera/image_raw -p use_sim_time:=true
"$nodes/recorder_node" --out demo/live --image /camera/image_raw --panoptic /vps --until-silent 3 &
recorder=$!
"$nodes/replay_node" demo/world --topics /camera/image_raw /camera/camera_info --listeners 2 --follow /vps/panoptic/segments
wait "$recorder"

step "The answers become a video"
"$training/videocups" film demo/live --out demo/live.mp4

if $keep; then
  step "The graph goes on: open the browser page named above; Ctrl-C ends it"
  "$nodes/replay_node" demo/world --topics /camera/image_raw /camera/camera_info --loop || true
fi
step "Done: look at demo/live.mp4"
stop_nodes
