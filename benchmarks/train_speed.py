"""Where a training step's time goes, what bf16 gains, whether reading data starves it, and the memory a GPU needs.

    python benchmarks/train_speed.py CLIPS [--config FILE] [--set KEY=VALUE …] [--steps N] [--write FILE]
    python benchmarks/train_speed.py CLIPS --memory [--config training/configs/panoptic.yaml]

Times are the process's own seconds (on a CPU that others use too, the clock on the wall says nothing), medians over
the steps; both precisions do each step one after the other, on the same batch. The share of waiting is taken from a
real run with its loader, by the clock. --memory counts the tensors that one pair's forward pass keeps for the way back.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from machine import machine
from torch import nn

from videocups.train.config_file import read_config
from videocups.train.distributed import Ranks
from videocups.train.loop import run_training
from videocups.train.pair import expand
from videocups.train.panoptic_config import PanopticTraining
from videocups.train.panoptic_task import PanopticTask
from videocups.train.records import METRICS
from videocups_core.clip import find_clips

CONFIGS = Path(__file__).resolve().parents[1] / "training" / "configs"
MODULES = ("backbone", "fpn", "rpn.head", "cascade.stages", "mask_head", "semantic_head", "track_head")
REST = "matching, sampling, RoIAlign, losses"


def main() -> None:
    options = parse()
    torch.set_num_threads(1)
    settings = read_config(PanopticTraining, options.config, [*options.set, "loop.tensorboard=false"])
    task = PanopticTask([clip for root in options.clips for clip in find_clips(root)], settings)
    data = settings.data
    head = [
        "# Speed of panoptic training",
        "",
        f"{datetime.date.today().isoformat()}, {machine()}, torch {torch.__version__}, one thread. "
        f"{options.config.stem}: {settings.model.backbone.kind} × {settings.model.backbone.width}, "
        f"{data.height}×{data.width} px, {settings.loop.batch_size} pairs.",
        "",
    ]
    body = memory(task) if options.memory else [*parts(task, options.steps), *waiting(task, options.steps)]
    text = "\n".join([*head, *body]) + "\n"
    print(text)
    if options.write:
        options.write.write_text(text)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("--config", type=Path, default=CONFIGS / "panoptic_tiny.yaml")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--write", type=Path)
    return parser.parse_args()


def parts(task: PanopticTask, steps: int) -> list[str]:
    """Time every part of a step in both precisions."""
    optimizer = torch.optim.AdamW(task.model.parameters(), lr=0.0)
    times: dict[str, dict[str, list[float]]] = {name: defaultdict(list) for name in ("fp32", "bf16")}
    clock = ModuleClock(task.model)
    for step in range(steps + 1):
        for precision, found in times.items():
            one_step(task, step, precision, optimizer, clock, found if step else defaultdict(list))
    names = list(times["fp32"])
    rows = [(name, *(1e3 * median(times[precision][name]) for precision in times)) for name in names]
    totals = [median(map(sum, zip(*times[precision].values(), strict=True))) * 1e3 for precision in times]
    lines = ["| part of a step, ms of CPU | fp32 | bf16 | gain |", "|---|---|---|---|"]
    lines += [f"| {name} | {slow:.0f} | {fast:.0f} | {slow / max(fast, 1e-3):.2f} |" for name, slow, fast in rows]
    lines.append(f"| **all** | {totals[0]:.0f} | {totals[1]:.0f} | {totals[0] / totals[1]:.2f} |")
    return [*lines, ""]


def one_step(
    task: PanopticTask,
    step: int,
    precision: str,
    optimizer: torch.optim.Optimizer,
    clock: ModuleClock,
    found: dict[str, list[float]],
) -> None:
    seed = task.settings.loop.seed
    torch.manual_seed(step)
    batch, spent = timed(lambda: task.part(seed, step, Ranks()))
    found["read and augment"].append(spent)
    batch, spent = timed(lambda: task.finish(batch, seed, step))
    found["paste"].append(spent)
    clock.spent.clear()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16"):
        (loss, _), spent = timed(lambda: task.loss(batch, step))
    for name in MODULES:
        found[f"forward: {name}"].append(clock.spent[name])
    found[f"forward: {REST}"].append(spent - sum(clock.spent.values()))
    found["backward"].append(timed(loss.backward)[1])
    found["optimizer"].append(timed(optimizer.step)[1])
    optimizer.zero_grad(set_to_none=True)


class ModuleClock:
    """Adds up the time that the named modules spend in their forward passes."""

    def __init__(self, model: nn.Module) -> None:
        self.spent: dict[str, float] = defaultdict(float)
        self._began: dict[nn.Module, float] = {}
        for name in MODULES:
            for module in outermost(model, name):
                module.register_forward_pre_hook(self._begin)
                module.register_forward_hook(self._ending(name))

    def _begin(self, module: nn.Module, _: object) -> None:
        self._began[module] = time.process_time()

    def _ending(self, name: str) -> Callable[..., None]:
        def end(module: nn.Module, *_: object) -> None:
            self.spent[name] += time.process_time() - self._began[module]

        return end


def outermost(model: nn.Module, name: str) -> list[nn.Module]:
    module = model.get_submodule(name)
    return list(module) if isinstance(module, nn.ModuleList) else [module]


def timed(call: Callable[[], object]) -> tuple[object, float]:
    began = time.process_time()
    result = call()
    return result, time.process_time() - began


def waiting(task: PanopticTask, steps: int) -> list[str]:
    """Run the real loop with its loader and say how much of the time it waited for data."""
    lines = []
    for workers in (0, 1):
        loop = replace(task.settings.loop, workers=workers, log_every=1, picture_every=0, precision="bf16")
        with tempfile.TemporaryDirectory() as folder:
            run_training(task, loop, Path(folder), stop_at=steps + 2)
            rows = [json.loads(line) for line in (Path(folder) / METRICS).read_text().splitlines()][2:]
        waited, worked = (sum(row[name] for row in rows) for name in ("wait_s", "step_s"))
        lines.append(f"Waiting for data with {workers} workers: {100 * waited / (waited + worked):.1f} % of the time.")
    return lines


def memory(task: PanopticTask) -> list[str]:
    """Count what one pair keeps until its backward pass, at two small sizes, and draw a line to the full one."""
    data = task.settings.data
    sizes = [(data.height // part // 32 * 32, data.width // part // 32 * 32) for part in (4, 2)]
    pixels = [height * width for height, width in sizes]
    lines = ["| a pair keeps, MiB | " + " | ".join(f"{h}×{w}" for h, w in sizes) + " | full size, by a line |"]
    lines.append("|---|---|---|---|")
    for precision in ("fp32", "bf16"):
        found = [kept_mib(task, size, precision) for size in sizes]
        slope = (found[1] - found[0]) / (pixels[1] - pixels[0])
        full = found[1] + slope * (data.height * data.width - pixels[1])
        lines.append(f"| {precision} | {found[0]:.0f} | {found[1]:.0f} | {full:.0f} |")
    weights = sum(parameter.numel() for parameter in task.model.parameters())
    fixed = 4 * 4 * weights / 2**20
    return [
        *lines,
        "",
        f"Weights, gradients and AdamW's two moments of {weights / 1e6:.1f} million weights: {fixed:.0f} MiB; an "
        f"average of the weights: {fixed / 4:.0f} MiB more.",
    ]


def kept_mib(task: PanopticTask, size_hw: tuple[int, int], precision: str) -> float:
    """Return the MiB of tensors that one pair's forward pass keeps, weights not counted."""
    config = task.settings
    scale = size_hw[0] / config.data.height
    task.settings = replace(config, augment=replace(config.augment, scales=(scale, scale)))
    batch = {name: value[:1] for name, value in task.part(0, 0, Ranks()).items()}
    task.settings = config
    kept: dict[int, int] = {}
    alive: list[torch.Tensor] = []

    def note(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        alive.append(tensor)  # or its memory would be used again, and counted once
        return tensor

    own = {parameter.untyped_storage().data_ptr() for parameter in task.model.parameters()}
    torch.manual_seed(0)
    with (
        torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor),
        torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16"),
    ):
        task.model(expand(batch) | {"seed": batch["seed"]}, config.droploss)
    return sum(nbytes for pointer, nbytes in kept.items() if pointer not in own) / 2**20


if __name__ == "__main__":
    main()
