"""Who speaks to the shared layers: the gradient of every loss of panoptic training on them, before the first step.

    python benchmarks/loss_gradients.py LABELLED [--config FILE] [--checkpoint RUN] [--set KEY=VALUE …] [--steps N]
        [--free]

LABELLED are clips with the labels of 'videocups label'. Losses are weighted as in training. A loss whose gradient is
far above the others' decides alone what the backbone learns. ``--free``: embeddings have any length, as in MaskTrack
R-CNN, and begin near 0.
"""

from __future__ import annotations

import argparse
import datetime
import os
from collections import defaultdict
from pathlib import Path
from types import MethodType

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from machine import machine
from torch import Tensor, nn

from videocups.model.tracks import TrackHead
from videocups.train.checkpoint import newest_checkpoint, read_checkpoint
from videocups.train.config_file import read_config
from videocups.train.distributed import ranks
from videocups.train.panoptic_config import PanopticTraining
from videocups.train.panoptic_task import PanopticTask
from videocups_core.clip import find_clips

CONFIG = Path(__file__).resolve().parents[1] / "training" / "configs" / "panoptic_tiny.yaml"
SHARED = ("backbone", "fpn")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("labelled", type=Path)
    parser.add_argument("--config", type=Path, default=CONFIG)
    parser.add_argument("--checkpoint", type=Path, metavar="RUN", help="measure a trained network")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--steps", type=int, default=4, help="batches to average over")
    parser.add_argument("--free", action="store_true", help="embeddings of any length")
    options = parser.parse_args()
    if options.free and options.checkpoint:
        parser.error("--free is for a fresh network, but --checkpoint names a trained one; leave one of them out")
    torch.set_num_threads(1)
    clips = list(find_clips(options.labelled))[:10]
    task = PanopticTask(clips, read_config(PanopticTraining, options.config, ["loop.steps=1", *options.set]))
    if options.checkpoint:
        newest = newest_checkpoint(options.checkpoint)
        if newest is None:
            raise SystemExit(f"{options.checkpoint} has no checkpoint; name the folder of a training run")
        read_checkpoint(newest).load_trained(task.model)
    if options.free:
        set_free(task.model)
    words = [options.config.stem, *options.set, "free embeddings" if options.free else "embeddings of one length"]
    print(f"{datetime.date.today().isoformat()}, {machine()}; {', '.join(words)}")
    print(f"{'loss':20s}{'value':>9s}" + "".join(f"{part:>11s}" for part in SHARED) + "   norm of its gradient")
    for name, values in gradients(task, options.steps).items():
        value, *norms = np.mean(values, axis=0)
        print(f"{name:20s}{value:9.3f}" + "".join(f"{norm:11.3f}" for norm in norms))


def set_free(model: nn.Module) -> None:
    """Take the length of embeddings off, and let those of a fresh head begin near 0: everything may be new."""

    def any_length(head: TrackHead, pooled: Tensor) -> Tensor:
        return head.fc2(torch.relu(head.fc1(pooled.flatten(1))))

    (head,) = (module for module in model.modules() if isinstance(module, TrackHead))
    nn.init.normal_(head.fc2.weight, std=0.01)
    nn.init.zeros_(head.fc2.bias)
    head.forward = MethodType(any_length, head)


def gradients(task: PanopticTask, steps: int) -> dict[str, list[tuple[float, ...]]]:
    """Return of every loss, batch by batch, its value and the norm of its gradient on each shared part."""
    found = defaultdict(list)
    for step in range(steps):
        batch = task.finish(task.part(0, step, ranks()), 0, step)
        _, parts = task.loss(batch, step)
        for name, part in parts.items():
            task.model.zero_grad()
            if part.requires_grad:
                part.backward(retain_graph=True)
            found[name].append((float(part.detach()), *(shared_norm(task.model, prefix) for prefix in SHARED)))
    return found


def shared_norm(model: nn.Module, prefix: str) -> float:
    own = [p.grad.norm() for n, p in model.named_parameters() if n.startswith(prefix) and p.grad is not None]
    return float(torch.stack(own).norm()) if own else 0.0


if __name__ == "__main__":
    main()
