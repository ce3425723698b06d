"""Kill a command again and again at random moments, as a power cut or the kernel would."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from videocups.pipeline.formats import decode


def kill_and_resume(
    command: Sequence[str],
    kills: int,
    rng: random.Random,
    *,
    watch: Path,
    longest_s: float,
    after_kill: Callable[[], None] = lambda: None,
    whole_group: bool = True,
) -> int:
    """Run ``command`` until it ends by itself; before that kill it ``kills`` times. Return the kills that hit.

    ``watch``: a file that grows once there is work; the moment is random from then on. With ``whole_group`` the workers
    are killed as well, else they have to notice.
    """
    hits = 0
    for _ in range(kills):
        size = watch.stat().st_size if watch.exists() else 0
        process = subprocess.Popen(command, start_new_session=True, stderr=subprocess.PIPE)
        while process.poll() is None and (watch.stat().st_size if watch.exists() else 0) == size:
            time.sleep(0.002)
        time.sleep(rng.uniform(0, longest_s))
        if process.poll() is None:
            hits += 1
            (os.killpg if whole_group else os.kill)(process.pid, signal.SIGKILL)
        elif process.returncode:
            raise AssertionError(process.stderr.read().decode())
        process.communicate()
        if not whole_group:
            wait_for_group(process.pid)
        after_kill()
    subprocess.run(command, check=True, timeout=300)
    return hits


def wait_for_group(group: int, limit_s: float = 10.0) -> None:
    """Wait until no process of the group is left: orphaned workers must end by themselves."""
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.01)
    raise AssertionError(f"workers of {group} outlived their parent by {limit_s} s")


def check_readable(root: Path) -> None:
    """Read every artefact under its own name: a half-written one would not decode."""
    for path in root.rglob("*"):
        is_ours = not {"frames", "truth"} & set(path.parts) and not path.name.startswith(".")
        if is_ours and path.suffix in (".png", ".npz", ".json"):
            decode(path)
