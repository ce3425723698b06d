"""The subcommand ``run``: from recordings to a bundle in one go."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def run(arguments: list[str]) -> int:
    """Bring a bundle up to date with its recordings; exit status 0, or 1 with a sentence."""
    options = run_parser().parse_args(arguments)
    from videocups import cli
    from videocups.pipeline.whole_run import WholeRun, read_settings, table_lines

    whole = WholeRun(tuple(options.recordings), options.out, read_settings(options.config))
    if options.dry_run:
        for part in whole.parts():
            print(f"{'done ' if whole.is_done(part) else 'to do'}  videocups {part.command} {' '.join(part.arguments)}")
        return 0
    whole.go(cli.run, lambda table: print("\n".join(table_lines(table)), file=sys.stderr, flush=True), options.until)
    return 0


def run_parser() -> argparse.ArgumentParser:
    """Return the parser of ``videocups run``."""
    parser = argparse.ArgumentParser(
        prog="videocups run",
        description="From recordings to a model bundle: ingest, label, train, selftrain where asked for, export. "
        "What is done and did not change is skipped; a run that was stopped goes on.",
    )
    add = parser.add_argument
    add("recordings", nargs="+", type=Path, metavar="BAG", help="bags, videos or folders of images")
    add("--out", type=Path, required=True, metavar="DIR", help="folder for clips, runs and the bundle")
    add("--config", type=Path, metavar="FILE", help="YAML with a group of settings for each command")
    add("--until", metavar="PART", help="stop after this part: ingest, label, train, selftrain or export")
    add("--dry-run", action="store_true", help="print the commands and which of them are done")
    return parser
