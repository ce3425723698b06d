"""``videocups export``, ``engine`` and ``bench``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def export(arguments: list[str]) -> int:
    """Export a checkpoint as a model bundle."""
    parser = argparse.ArgumentParser(
        prog="videocups export",
        description="Write a checkpoint as a model bundle, after proving that the graph says what the network says.",
    )
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="a checkpoint, or a run: its newest one")
    parser.add_argument("--out", type=Path, required=True, metavar="BUNDLE", help="folder to write")
    parser.add_argument("--precision", default="fp32", choices=("fp32", "fp16", "int8"), help="default fp32")
    parser.add_argument("--size", metavar="HxW", help="network input in px; default: as it was trained")
    parser.add_argument(
        "--clips", type=Path, metavar="CLIPS", help="frames to compare on; default: those of --calibrate"
    )
    parser.add_argument("--calibrate", type=Path, metavar="CLIPS", help="frames that int8 measures ranges on")
    parser.add_argument(
        "--truth", metavar="DATASET", help="what lies beside the clips: clips, rendered, streets … or none"
    )
    parser.add_argument("--model-id", metavar="NAME", help="default: the name of the bundle's folder")
    parser.add_argument("--config", type=Path, metavar="FILE", help="YAML with settings of the export")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change one setting")
    options = parser.parse_args(arguments)
    from videocups.export.checkpoint import export_checkpoint
    from videocups.export.report import report_text

    exported = export_checkpoint(options, say=lambda text: print(text, file=sys.stderr, flush=True))
    print(report_text(exported.report), end="")
    print(f"written: {exported.bundle.folder}")
    return 0
