"""What the dense CRF costs and how exact it is: 27 classes on 320×640 px, one core.

    python benchmarks/crf.py [--frames N] [--image FILE]

First the field is compared with dense matrices on 32×32 px, and the bilateral message at full size with exact sums for
200 pixels. Without --image the frame is a drawn street with the noise of a camera; scores are smooth over 4 px, as they
come from stride-4 features. Times are processor times of one thread, the smallest of all frames beside the median:
on a busy machine the median also counts others' use of the caches. The last line is the figure.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from machine import machine

from videocups.semantics.crf import appearance, dense_crf, project_to_simplex
from videocups.semantics.crf_config import CrfConfig
from videocups.semantics.permutohedral import PermutohedralLattice

HEIGHT, WIDTH, CLASSES, LIMIT_MS = 320, 640, 27, 400
ONE_SCALE = 10**9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--frames", type=int, default=15, help="runs to measure (default 15)")
    parser.add_argument("--image", type=Path, help="a picture to take the colours from")
    options = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    torch.set_num_threads(1)
    print(f"machine: {machine()}, one thread; torch {torch.__version__}")
    rgb, log_probs = picture(options.image), scores(HEIGHT, WIDTH)
    with torch.inference_mode():
        for method in ("frank_wolfe", "mean_field"):
            error = small_error(rgb, method)
            print(f"{method}: mean difference from dense matrices on 32×32 px: {error:.2e} (limit 1e-3)")
        print(f"bilateral message at {WIDTH}×{HEIGHT}: mean error {message_error(rgb):.2e} of values in 0..1")
        one = dense_crf(log_probs, rgb, CrfConfig(coarse_above_px=ONE_SCALE))
        two = dense_crf(log_probs, rgb)
        agree = (one.argmax(2) == two.argmax(2)).float().mean()
        print(f"two scales against one: {agree:.2%} of labels equal, mean difference {(one - two).abs().mean():.2e}")
        times = {
            "frank_wolfe, 5 steps, two scales": CrfConfig(),
            "mean_field, 10 steps, two scales": CrfConfig(method="mean_field", iterations=10),
            "frank_wolfe, 5 steps, one scale": CrfConfig(coarse_above_px=ONE_SCALE),
        }
        figures = {}
        for name, config in times.items():
            figures[name] = measure(log_probs, rgb, config, options.frames)
            print(f"{name:<34} median {figures[name][0]:6.0f} ms, smallest {figures[name][1]:6.0f} ms")
    median, smallest = figures["frank_wolfe, 5 steps, two scales"]
    print(
        f"CRF at {WIDTH}×{HEIGHT}, {CLASSES} classes: {smallest:.0f} ms (median {median:.0f}) a frame on one core "
        f"(limit {LIMIT_MS}): {'ok' if smallest <= LIMIT_MS else 'TOO SLOW'}"
    )


def picture(path: Path | None) -> torch.Tensor:
    """Return (320, 640, 3) colours: the file, or a drawn street."""
    if path is not None:
        image = cv2.imread(str(path))
        if image is None:
            raise SystemExit(f"{path} is no picture; give a JPEG or PNG file")
        return torch.from_numpy(cv2.resize(image, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)[..., ::-1].copy())
    rng = np.random.default_rng(0)
    row, column = np.mgrid[:HEIGHT, :WIDTH]
    image = np.full((HEIGHT, WIDTH, 3), (180, 200, 230), np.float64)
    image[row > 150 + 20 * np.sin(column / 90)] = (100, 110, 90)
    image[(row > 170) & (abs(column - 320) < (row - 150) * 1.8)] = (105, 105, 108)
    for _ in range(25):
        top, left, size = rng.integers(60, 220), rng.integers(0, 600), rng.integers(15, 70)
        image[top : top + size, left : left + 2 * size] = rng.integers(30, 220, 3)
    image += cv2.resize(rng.normal(0, 12, (80, 160, 3)), (WIDTH, HEIGHT)) + rng.normal(0, 2.5, image.shape)
    return torch.from_numpy(cv2.GaussianBlur(image, (3, 3), 0.7).clip(0, 255).astype(np.uint8))


def scores(height: int, width: int, seed: int = 0, region_px: int = 32) -> torch.Tensor:
    """Return (height, width, 27) log-probabilities: large regions, blurred borders, some doubt."""
    rng = np.random.default_rng(seed)
    large = cv2.resize(rng.normal(0, 3, (height // region_px, width // region_px, CLASSES)), (width // 4, height // 4))
    fine = cv2.resize(large + rng.normal(0, 0.5, large.shape), (width, height))
    return torch.log_softmax(torch.from_numpy(fine.astype(np.float32)), dim=2)


def small_error(rgb: torch.Tensor, method: str) -> float:
    """Mean difference in marginals from dense matrices in double precision, over five crops of 32×32 px."""
    config = CrfConfig(method=method, iterations=5 if method == "frank_wolfe" else 10)
    errors = []
    for n in range(5):
        crop, log_probs = rgb[60 * n :, 110 * n :][:32, :32], scores(32, 32, seed=n, region_px=4)
        features = appearance(crop, config).double().reshape(-1, 5)
        position = features[:, :2] * config.bilateral_px
        near = normalized(torch.exp(-(torch.cdist(position, position) ** 2) / (2 * config.gaussian_px**2)))
        alike = normalized(torch.exp(-(torch.cdist(features, features) ** 2) / 2))
        kernel = config.gaussian_weight * near + config.bilateral_weight * alike
        unary = log_probs.double().reshape(-1, CLASSES)
        field = torch.softmax(unary, dim=1)
        for _ in range(config.iterations):
            message = unary + kernel @ field
            field = torch.softmax(message, 1) if method == "mean_field" else project_to_simplex(message)
        errors.append((dense_crf(log_probs, crop, config).reshape(-1, CLASSES) - field).abs().mean())
    return float(torch.stack(errors).mean())


def normalized(kernel: torch.Tensor) -> torch.Tensor:
    return kernel / (kernel.sum(1)[:, None] * kernel.sum(1)[None]).sqrt()


def message_error(rgb: torch.Tensor) -> float:
    """Mean error of the lattice's weighted means at 200 pixels against exact sums over the whole frame."""
    features = appearance(rgb, CrfConfig()).reshape(-1, 5)
    field = torch.softmax(scores(HEIGHT, WIDTH), dim=2).reshape(-1, CLASSES)
    lattice = PermutohedralLattice(features)
    found = lattice.filter(field) / lattice.filter(torch.ones(len(features), 1))
    picked = torch.randint(0, len(features), (200,), generator=torch.Generator().manual_seed(0))
    weights = torch.exp(-(torch.cdist(features[picked], features) ** 2) / 2)
    exact = (weights @ field) / weights.sum(1, keepdim=True)
    return float((found[picked] - exact).abs().mean())


def measure(log_probs: torch.Tensor, rgb: torch.Tensor, config: CrfConfig, frames: int) -> tuple[float, float]:
    """Return median and smallest processor milliseconds."""
    dense_crf(log_probs, rgb, config)
    times = []
    for _ in range(frames):
        begin = time.process_time()
        dense_crf(log_probs, rgb, config)
        times.append((time.process_time() - begin) * 1e3)
    return float(np.median(times)), min(times)


if __name__ == "__main__":
    main()
