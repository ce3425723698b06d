"""Mutated messages in great numbers: every one must become a picture or a rejection, never another exception.

Guided by coverage where atheris is installed, by hypothesis elsewhere. Run inside a ROS environment:
python benchmarks/fuzz.py --inputs 200000
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import random
import tempfile
import time
from collections import Counter
from pathlib import Path
from types import FunctionType, ModuleType

from hypothesis import HealthCheck, Phase, given, settings
from machine import machine

from videocups_core import camera, compressed, encodings
from videocups_perception import conversions

TARGETS = Path(__file__).resolve().parents[1] / "tests" / "fuzz" / "test_messages_fuzz.py"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=200_000)
    options = parser.parse_args()
    print(f"machine: {machine()}")
    targets = load_targets()
    pairs = (
        ("images", targets.images(), targets.check_image),
        ("compressed images", targets.compressed_images(), targets.check_image),
        ("calibrations", targets.camera_infos(), targets.check_camera),
    )
    outcomes: Counter[str] = Counter()
    begin_s = time.monotonic()
    for name, strategy, check in pairs:
        run = fuzz_guided if importlib.util.find_spec("atheris") else fuzz_drawn
        run(name, strategy, check, options.inputs // len(pairs), outcomes)
    took_s = time.monotonic() - begin_s
    for name, count in sorted(outcomes.items()):
        print(f"{name}: {count}")
    print(f"{sum(outcomes.values())} inputs in {took_s:.0f} s, 0 uncaught exceptions")


def load_targets() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fuzz_targets", TARGETS)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def fuzz_drawn(name, strategy, check, inputs, outcomes) -> None:
    """Draw inputs; the first uncaught exception ends the run with its smallest example."""

    @settings(
        max_examples=inputs,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def one(message):
        taken = check(message) is not None
        outcomes[f"{name} {'taken' if taken else 'rejected'}"] += 1

    one()


def functions_under_test() -> list[FunctionType]:
    """Return what the messages go through; their modules are imported already, so each is instrumented by itself."""
    modules = (camera, compressed, encodings, conversions)
    return [
        member
        for module in modules
        for member in vars(module).values()
        if isinstance(member, FunctionType) and member.__module__ == module.__name__
    ]


def fuzz_guided(name, strategy, check, inputs, outcomes) -> None:
    """Let atheris steer hypothesis' choices towards new branches; it runs in a process of its own and leaves it."""
    import atheris

    @settings(deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(strategy)
    def one(message):
        check(message)

    child = os.fork()
    if child == 0:
        for function in functions_under_test():
            atheris.instrument_func(function)
        with tempfile.TemporaryDirectory() as corpus:
            for number in range(20):  # hypothesis needs some length to build a message from
                (Path(corpus) / str(number)).write_bytes(random.Random(number).randbytes(2000))
            flags = [f"-runs={inputs}", "-max_len=4096", "-len_control=0"]
            atheris.Setup(["fuzz", *flags, corpus], one.hypothesis.fuzz_one_input)
            atheris.Fuzz()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if status != 0:
        raise SystemExit(f"{name}: an uncaught exception, see above")
    outcomes[f"{name} guided by coverage"] += inputs


if __name__ == "__main__":
    main()
