"""From the options of ``videocups bench`` to its table."""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import asdict
from pathlib import Path

from videocups.export.bench import measure, other_graph, speed_table
from videocups.export.views import open_views
from videocups_core.bundle import read_bundle
from videocups_core.clip import write_atomically
from videocups_core.engine import EngineConfig

SHOWN_FRAMES = 32  # kept in memory and shown again and again


def run_bench(options: argparse.Namespace) -> str:
    """Measure what the options name; returns the table."""
    bundle = read_bundle(options.bundle)
    config = EngineConfig(
        backend=options.backend,
        device=options.device,
        threads=options.threads,
        precision=options.precision,
        cuda_graph=options.cuda_graph,
    )
    views = open_views(options.clips, "none", min(options.frames, SHOWN_FRAMES))
    images = [frame.image_rgb for frame in views.frames()]
    with tempfile.TemporaryDirectory(prefix="videocups-bench-") as scratch:
        against = None if options.against is None else other_graph(bundle, options.against, Path(scratch))
        speeds = measure(bundle, config, images, options.frames, against=against)
    names = [bundle.model_id] + ([options.against.stem] if options.against else [])
    if options.json is not None:
        rows = {name: asdict(speed) for name, speed in zip(names, speeds, strict=True)}
        write_atomically(options.json, (json.dumps(rows, indent=1) + "\n").encode())
    height, width = images[0].shape[:2]
    return f"{speed_table(speeds, names)}\n{options.frames} frames of {width}×{height} px, {views.name}"
