"""How much background Video DropLoss should teach: sparse labels on random scenes, counted on others.

Scenes hold boxes and balls in many colours on sky and road, and stripes that are no objects. Of the objects a third is
labelled, as moving ones are; the others look the same, but two thirds of them are stuff to the labels and one third is
ignored, as pseudo-labels of parked cars are. A network learns from each rule and looks at unseen scenes.

    python benchmarks/droploss_background.py --seeds 3 --out benchmarks/results
"""

from __future__ import annotations

import argparse
import datetime
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from machine import machine
from numpy.typing import NDArray
from torch import Tensor

from videocups.model.boxes import iou
from videocups.model.classes import ClassTable
from videocups.model.config import (
    BackboneConfig,
    DropLossConfig,
    MaskConfig,
    ModelConfig,
    RoiConfig,
    RpnConfig,
    SemanticConfig,
    TrackConfig,
)
from videocups.model.network import PanopticNetwork
from videocups_core.types import ClassInfo

HEIGHT, WIDTH, OBJECTS, STRIPES = 64, 128, 4, 2
LABELLED, IGNORED = 1 / 3, 1 / 3  # of all objects; of those without a label
SURE, FOUND = 0.5, 0.5
RULES = {
    "vanilla": DropLossConfig(enabled=False),
    "Eq. 3 to the letter": DropLossConfig(confident=0.0, max_confident=1.0),
    "left alone above .1": DropLossConfig(confident=0.1),
    "left alone above .3": DropLossConfig(confident=0.3),
    "left alone above .5": DropLossConfig(confident=0.5),
    "left alone above .7": DropLossConfig(confident=0.7),
}
CLASSES = ClassTable.of(
    [
        ClassInfo(0, "sky", False, (1, 1, 1)),
        ClassInfo(1, "road", False, (2, 2, 2)),
        ClassInfo(2, "box", True, (3, 3, 3)),
        ClassInfo(3, "ball", True, (4, 4, 4)),
    ]
)
MODEL = ModelConfig(
    backbone=BackboneConfig("resnet18", width=0.25, norm="group"),
    fpn_channels=32,
    canonical_px=56,
    rpn=RpnConfig(anchor_sizes=(8, 16, 32, 64, 128), pre_nms=100, post_nms_train=100, post_nms_test=50, batch=64),
    roi=RoiConfig(batch=32, width=64, samples=1),
    mask=MaskConfig(convs=1, channels=32),
    semantic=SemanticConfig(channels=32, groups=8),
    track=TrackConfig(width=64, dim=16),
)


@dataclass(frozen=True)
class Scene:
    """One image with all that is in it."""

    image: NDArray[np.uint8]  # (H, W, 3)
    stuff: NDArray[np.int64]  # (H, W) channel
    objects: NDArray[np.int64]  # (H, W): 0 none, n + 1 = object n
    kinds: list[int]


def draw_scene(rng: np.random.Generator) -> tuple[Scene, Scene]:
    """Return two frames of a scene: everything moves by a few pixels."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    things = [(int(rng.integers(2)), rng.uniform(8, WIDTH - 8), rng.uniform(14, HEIGHT - 8), rng.uniform(9, 26),
               rng.uniform(9, 22), rng.integers(0, 256, 3), rng.uniform(-3, 3)) for _ in range(OBJECTS)]  # fmt: skip
    stripes = [(rng.uniform(0, WIDTH), rng.integers(0, 256, 3)) for _ in range(STRIPES)]
    frames = []
    for time_s in (0, 1):
        stuff = np.where(y < HEIGHT // 3, 1, 2)
        image = np.where((stuff == 1)[..., None], (150.0, 190.0, 230.0), (90.0, 90.0, 95.0))
        for middle, color in stripes:
            image[np.abs(x - middle - 0.4 * (y - HEIGHT / 2)) < 2] = color
        objects = np.zeros((HEIGHT, WIDTH), np.int64)
        for index, (kind, middle, low, width, height, color, motion) in enumerate(things):
            u, v = (x + 0.5 - middle - time_s * motion) / (width / 2), (y + 0.5 - low) / (height / 2)
            mask = (np.maximum(np.abs(u), np.abs(v)) <= 1) if kind == 0 else (u * u + v * v <= 1)
            image[mask], objects[mask] = color, index + 1
        image = np.clip(image + rng.normal(0, 6, image.shape), 0, 255).astype(np.uint8)
        frames.append(Scene(image, stuff, objects, [thing[0] for thing in things]))
    return frames[0], frames[1]


def box_of(mask: NDArray[np.bool_]) -> list[float]:
    rows, columns = np.nonzero(mask)
    return [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


def training_batch(rng: np.random.Generator, pairs: int) -> dict[str, Tensor]:
    """Return pairs in which a third of the objects is labelled."""
    shape = (pairs, 2, HEIGHT, WIDTH)
    batch = {
        "images": np.zeros((pairs, 2, 3, HEIGHT, WIDTH), np.uint8),
        "semantic": np.zeros(shape, np.int64),
        "instances": np.zeros(shape, np.int64),
        "classes": np.full((pairs, 2, OBJECTS), -1, np.int64),
        "boxes": np.zeros((pairs, 2, OBJECTS, 4), np.float32),
        "ignore": np.zeros(shape, bool),
    }
    for pair in range(pairs):
        frames = draw_scene(rng)
        labelled = rng.random(OBJECTS) < LABELLED
        ignored = ~labelled & (rng.random(OBJECTS) < IGNORED)
        for frame, scene in enumerate(frames):
            batch["images"][pair, frame] = scene.image.transpose(2, 0, 1)
            batch["semantic"][pair, frame] = scene.stuff
            for index in range(OBJECTS):
                mask = scene.objects == index + 1
                if labelled[index] and mask.sum() >= 16:
                    batch["semantic"][pair, frame][mask] = 0
                    batch["instances"][pair, frame][mask] = index + 1
                    batch["classes"][pair, frame, index] = scene.kinds[index]
                    batch["boxes"][pair, frame, index] = box_of(mask)
                elif ignored[index]:
                    batch["semantic"][pair, frame][mask] = 255
                    batch["ignore"][pair, frame][mask] = True
    return {name: torch.from_numpy(array) for name, array in batch.items()}


def train(rule: DropLossConfig, seed: int, steps: int) -> PanopticNetwork:
    """Return a network that learned by ``rule``; seeds give the same data and start to every rule."""
    torch.manual_seed(seed)
    network, rng = PanopticNetwork(MODEL, CLASSES), np.random.default_rng(seed)
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        optimizer.zero_grad()
        torch.stack(list(network.losses(training_batch(rng, 2), droploss=rule).values())).sum().backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return network.eval()


def count(network: PanopticNetwork, scenes: int) -> dict[str, float]:
    """Return recall and precision at score .5, and average precision, over unseen scenes; all at IoU .5."""
    rng = np.random.default_rng(1_000_000)
    rows: list[tuple[float, bool]] = []
    total = 0
    for _ in range(scenes):
        scene = draw_scene(rng)[0]
        boxes = [box_of(scene.objects == n + 1) for n in range(OBJECTS) if (scene.objects == n + 1).sum() >= 16]
        found = network.detect(torch.from_numpy(scene.image).permute(2, 0, 1)[None])[0][0]
        overlap, taken = iou(found.boxes, torch.tensor(boxes, dtype=torch.float32)), set()
        for score, row in zip(found.scores.tolist(), overlap, strict=True):
            free = [n for n in range(len(boxes)) if n not in taken and row[n] > FOUND]
            taken.update(free[:1])
            rows.append((score, bool(free)))
        total += len(boxes)
    sure = [hit for score, hit in rows if score > SURE]
    hits = np.cumsum([hit for _, hit in sorted(rows, reverse=True)])
    precision = hits / np.arange(1, len(hits) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    steps = np.diff(np.concatenate([[0], hits])) > 0
    return {
        "recall": sum(sure) / total,
        "precision": sum(sure) / max(len(sure), 1),
        "AP": float(envelope[steps].sum() / total),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--scenes", type=int, default=60)
    parser.add_argument("--rules", nargs="+", default=list(RULES), choices=list(RULES), metavar="RULE")
    parser.add_argument("--out", type=Path, help="folder for the table")
    options = parser.parse_args()
    torch.set_num_threads(1)
    lines = [
        f"{options.seeds} seeds × {options.steps} steps of 2 pairs, {options.scenes} unseen scenes; {machine()}",
        "",
        "| rule | recall at score .5 | precision at score .5 | AP at IoU .5 |",
        "|---|---|---|---|",
    ]
    print("\n".join(lines), flush=True)
    for name in options.rules:
        began = time.process_time()
        found = [count(train(RULES[name], seed, options.steps), options.scenes) for seed in range(options.seeds)]
        cells = []
        for key in ("recall", "precision", "AP"):
            values = [100 * one[key] for one in found]
            cells.append(f"{statistics.mean(values):.1f} ± {statistics.pstdev(values):.1f}")
        lines.append(f"| {name} | {' | '.join(cells)} |")
        print(lines[-1], f"({time.process_time() - began:.0f} s)", flush=True)
    if options.out is not None:
        path = options.out / f"{datetime.date.today().isoformat()}-droploss_background.md"
        path.write_text(f"# Background under Video DropLoss\n\n{(__doc__ or '').strip()}\n\n" + "\n".join(lines) + "\n")
        print(f"written to {path}")


if __name__ == "__main__":
    main()
