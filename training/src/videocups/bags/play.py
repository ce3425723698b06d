"""Hand a bag over to the ROS side's replay_node."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from videocups.bags.recording import BagError

PACKAGE, EXECUTABLE = "videocups_perception", "replay_node"


def play(arguments: list[str]) -> int:
    """Run replay_node with these arguments in place of this program; BagError where no ROS has it."""
    executable = find_replay_node()
    os.execv(executable, [str(executable), *arguments])


def find_replay_node() -> Path:
    """Return replay_node of the sourced ROS environment."""
    for prefix in filter(None, os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep)):
        candidate = Path(prefix) / "lib" / PACKAGE / EXECUTABLE
        if os.access(candidate, os.X_OK):
            return candidate
    if found := shutil.which(EXECUTABLE):
        return Path(found)
    raise BagError(
        f"{EXECUTABLE} of {PACKAGE} was not found; build the workspace with ./setup.sh and run 'source env.sh' first"
    )
