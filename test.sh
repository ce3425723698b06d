#!/usr/bin/env bash
# Everything that has to hold: lint, types, and the tests of all packages in every environment.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
ROOT=$PWD
distros=(kilted jazzy) # or the one ROS 2 that is sourced, as setup.sh does it
[[ -e ${VIDEOCUPS_OPT_ROS:-/opt/ros}/${ROS_DISTRO:-none}/setup.bash ]] && distros=("$ROS_DISTRO")
PARTS=(lint types training "${distros[@]}")

usage() {
  cat <<'TEXT'
usage: ./test.sh [--only PART]... [-- PYTEST ARGUMENTS]

Runs ./setup.sh if needed, then these parts, and closes with one line: N passed, N failed, N skipped.
  lint       ruff check and ruff format --check       (counts as one test)
  types      mypy                                      (counts as one test)
  training   the tests of core, training and the project itself, with torch
  kilted     the tests of core and the nodes with ROS 2 Kilted
  jazzy      the same with ROS 2 Jazzy

  --only PART   run this part alone; may be repeated
  -- ...        handed to pytest, e.g. ./test.sh --only kilted -- -k tracker
TEXT
}

fail() {
  echo "test.sh: $*" >&2
  exit 2
}

only=()
while (($#)); do
  case $1 in
    --only)
      [[ " ${PARTS[*]} " == *" ${2:-} "* ]] || fail "--only needs one of: ${PARTS[*]}, got '${2:-}'"
      only+=("$2")
      shift
      ;;
    --) shift && break ;;
    -h | --help) usage && exit ;;
    *) fail "unknown option '$1'; './test.sh --help' lists them" ;;
  esac
  shift
done
pytest_arguments=("$@")
((${#only[@]})) || only=("${PARTS[@]}")

wants() { [[ " ${only[*]} " == *" $1 "* ]]; }

# ---- what is needed -----------------------------------------------------------------------------------------------

chosen=()
for distro in "${distros[@]}"; do wants "$distro" && chosen+=("$distro"); done
case ${#chosen[@]} in 0) distro=none ;; 1) distro=${chosen[0]} ;; *) distro=both ;; esac
setup_arguments=(--distro "$distro")
wants lint || wants types || wants training || setup_arguments+=(--no-training)
./setup.sh "${setup_arguments[@]}"

export OMP_NUM_THREADS=1
export ROS_DOMAIN_ID=$((10 + $$ % 40 * 2)) # not our neighbours'; tests/conftest.py gives every worker its own
export ROS_LOG_DIR=$ROOT/.setup/ros-log
mkdir -p .setup/results
passed=0 failed=0 skipped=0

# ---- the parts ----------------------------------------------------------------------------------------------------

part() { # $1: name, then the command that adds to the counts
  local name=$1 begin=$SECONDS
  shift
  echo
  echo "== $name"
  "$@"
  echo "== $name took $((SECONDS - begin)) s"
}

one() { # a command that is one test
  if "$@"; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
}

lint() { .venv-training/bin/ruff check . && .venv-training/bin/ruff format --check .; }

with_tests() { # those of the folders that hold a test already
  local folder
  for folder in "$@"; do
    [[ -z $(find "$folder" -name 'test_*.py' -print -quit 2>/dev/null) ]] || printf '%s\n' "$folder"
  done
}

in_environment() ( # $1: training or a distribution; then the command
  if [[ $1 == training ]]; then
    PATH=$ROOT/.venv-training/bin:$PATH
  else
    # shellcheck disable=SC1091
    source env.sh "$1" || exit
  fi
  shift
  "$@"
)

run_pytest() { # $1: the environment, then folders
  local environment=$1 results=.setup/results/$1.xml status=0 folders counts p f s
  shift
  readarray -t folders < <(with_tests "$@")
  rm -f "$results"
  in_environment "$environment" python -m pytest -q -n 2 -m 'not gpu and not slow' --junitxml "$results" \
    "${folders[@]}" "${pytest_arguments[@]}" || status=$?
  # A run that died leaves no results and one that found no test (status 5) proves nothing: each is a failure.
  counts=$(python3 - "$results" "$status" <<'PYTHON'
import sys, xml.etree.ElementTree as tree

path, status = sys.argv[1], int(sys.argv[2])
try:
    suites = tree.parse(path).getroot().findall("testsuite")
except (OSError, tree.ParseError):
    suites = []
total, bad, skipped = (sum(int(s.get(k)) for s in suites for k in ks) for ks in (["tests"], ["failures", "errors"], ["skipped"]))
print(total - bad - skipped, max(bad, int(status != 0)), skipped)
PYTHON
  )
  read -r p f s <<<"$counts"
  passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
}

wants lint && part lint one lint
wants types && part types one .venv-training/bin/mypy
wants training && part training run_pytest training tests/core tests/training tests/fuzz tests/project
for distro in "${chosen[@]}"; do part "$distro" run_pytest "$distro" tests/core tests/perception tests/end_to_end; done

echo
echo "$passed passed, $failed failed, $skipped skipped"
((failed == 0))
