# Written by setup.sh from ros2_ws/env.template.sh. In bash or zsh: source env.sh [@DISTROS@]
# shellcheck shell=bash disable=SC1090,SC1091,SC2046

_videocups_root='@ROOT@'
_videocups_distro="${1:-@DISTRO@}"

_videocups_without_ours() { # a path list without what an earlier env.sh put there
  printf '%s' "$1" | tr ':' '\n' | grep -v -e "^$_videocups_root/.venv-" -e "^$_videocups_root/ros2_ws/" | paste -s -d : -
}

_videocups_defaults() { # what we change of ROS 2's defaults; set any of these before sourcing to keep your own
  local profile=fastdds.xml variable=FASTDDS_DEFAULT_PROFILES_FILE
  export RMW_IMPLEMENTATION="${RMW_IMPLEMENTATION:-rmw_fastrtps_cpp}"
  export ROS_AUTOMATIC_DISCOVERY_RANGE="${ROS_AUTOMATIC_DISCOVERY_RANGE:-LOCALHOST}" # SUBNET: see other machines
  [ "$ROS_AUTOMATIC_DISCOVERY_RANGE" = LOCALHOST ] && profile=fastdds_loopback.xml
  profile="$_videocups_root/ros2_ws/src/videocups_perception/config/$profile"
  case "${FASTDDS_DEFAULT_PROFILES_FILE:-}" in "$_videocups_root"/*) unset FASTDDS_DEFAULT_PROFILES_FILE ;; esac
  case "${FASTRTPS_DEFAULT_PROFILES_FILE:-}" in "$_videocups_root"/*) unset FASTRTPS_DEFAULT_PROFILES_FILE ;; esac
  # Up to Jazzy only the old name is read, later ones warn about it.
  case "$ROS_DISTRO" in humble | iron | jazzy) variable=FASTRTPS_DEFAULT_PROFILES_FILE ;; esac
  eval "export $variable=\"\${$variable:-\$profile}\""
}

_videocups_main() {
  local venv="$_videocups_root/.venv-$_videocups_distro" install="$_videocups_root/ros2_ws/install-$_videocups_distro"
  local shell=bash
  [ -n "${ZSH_VERSION:-}" ] && shell=zsh
  if [ ! -e "$install/local_setup.$shell" ]; then
    echo "env.sh: no workspace is built for '$_videocups_distro'; say: source env.sh [@DISTROS@], or run ./setup.sh --distro $_videocups_distro" >&2
    return 1
  fi
  PATH="$venv/bin:$(_videocups_without_ours "$PATH")"
  LD_LIBRARY_PATH="$(_videocups_without_ours "${LD_LIBRARY_PATH:-}")"
  PYTHONPATH="$(_videocups_without_ours "${PYTHONPATH:-}")"
  if [ -e "$venv/.system-ros" ]; then
    AMENT_PREFIX_PATH="$(_videocups_without_ours "${AMENT_PREFIX_PATH:-}")"
    CMAKE_PREFIX_PATH="$(_videocups_without_ours "${CMAKE_PREFIX_PATH:-}")"
    . "$(cat "$venv/.system-ros")/setup.$shell" || return 1
    PATH="$venv/bin:$PATH"
  else
    # The wheels have no setup script: this is what one would say. The last variable stops a re-exec at every start.
    AMENT_PREFIX_PATH="$venv"
    CMAKE_PREFIX_PATH="$venv"
    LD_LIBRARY_PATH="$venv/lib:$(find "$venv"/lib/python3.*/site-packages -maxdepth 1 -name 'ros_*.libs' | sort | paste -s -d : -)${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
    export ROS_DISTRO="$_videocups_distro" ROS_VERSION=2 ROS_PYTHON_VERSION=3 _ROS_WHEELS_BOOTSTRAP_COMPLETE=1
  fi
  export PATH LD_LIBRARY_PATH PYTHONPATH AMENT_PREFIX_PATH CMAKE_PREFIX_PATH
  [ -n "$PYTHONPATH" ] || unset PYTHONPATH # an empty entry would mean the current folder
  . "$install/local_setup.$shell" || return 1

  _videocups_defaults
}

# The scripts of ROS 2 read unset variables; under `set -u` that would end the caller's shell.
case "$-" in *u*) _videocups_nounset=-u ;; *) _videocups_nounset=+u ;; esac
set +u
_videocups_status=0
_videocups_main || _videocups_status=$?
set "$_videocups_nounset"
unset -f _videocups_main _videocups_defaults _videocups_without_ours
unset _videocups_root _videocups_distro _videocups_nounset
[ "$_videocups_status" = 0 ]
