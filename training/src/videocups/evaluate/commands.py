"""The subcommands ``evaluate`` and ``mapping``: parse, call, print."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from videocups.evaluate.run import Request


def evaluate(arguments: list[str]) -> int:
    """Score predictions against a dataset; exit status 0, or 1 with a sentence."""
    options = evaluate_parser().parse_args(arguments)
    check_outputs(options.json, options.html, options.save_mapping)
    from videocups.evaluate.report import write_html
    from videocups.evaluate.results import print_tables, write_json
    from videocups.evaluate.run import evaluate_predictions

    evaluation = evaluate_predictions(to_request(options))
    if options.json:
        write_json(evaluation, options.json)
    if options.html:
        write_html(evaluation, options.html)
    if options.save_mapping:
        evaluation.mapping.save(options.save_mapping)
    print_tables(evaluation)
    return 0


def mapping(arguments: list[str]) -> int:
    """Show and edit a mapping file; exit status 0, or 1 with a sentence."""
    options = mapping_parser().parse_args(arguments)
    check_outputs(options.labels)
    from videocups.evaluate.class_mapping import ClassMapping
    from videocups.evaluate.mapping_edits import Edits, edit, print_mapping, write_labels

    before = ClassMapping.load(options.file)
    after = edit(before, Edits(options.name, options.set, options.unset, options.thing, options.stuff))
    if after != before:
        after.save(options.file)
    if options.labels:
        write_labels(after, options.labels)
    print_mapping(after)
    return 0


def check_outputs(*paths: Path | None) -> None:
    """Raise OSError where a result could not be written: to be known before hours of scoring, not after."""
    for path in filter(None, paths):
        if path.is_dir():
            raise IsADirectoryError(f"{path} is a folder; name a file in it to write to")
        folder = next(parent for parent in path.absolute().parents if parent.exists())
        try:
            tempfile.TemporaryFile(dir=folder).close()
        except OSError as error:
            raise OSError(f"cannot write {path}: {folder} takes no files ({error.strerror}); choose another") from error


def evaluate_parser() -> argparse.ArgumentParser:
    """Return the parser of ``videocups evaluate``."""
    parser = argparse.ArgumentParser(
        prog="videocups evaluate",
        description="Score predictions: STQ, AQ, SQ, PQ, VPQ. docs/evaluate.md lists the datasets and their folders.",
    )
    add = parser.add_argument
    add("--prediction", type=Path, required=True, help="folder of panoptic clips, COCO-panoptic or STEP PNGs")
    add("--truth", type=Path, required=True, help="root folder of the dataset")
    add("--dataset", required=True, metavar="NAME", help="dataset, such as kitti-step; a wrong name lists all")
    add("--split", help="split of the dataset (default: its validation split)")
    add("--sequences", type=_names, metavar="A,B", help="evaluate these sequences only")
    add("--things", type=_names, metavar="A,B", help="classes with tracked objects, instead of the dataset's own")
    add("--mapping", default="auto", metavar="auto|identity|FILE", help="class matching (default: auto)")
    add("--save-mapping", type=Path, metavar="FILE", help="write the mapping that was used")
    add("--format", default="auto", choices=("auto", "clip", "coco", "step"), help="format of the prediction")
    add("--resize", action="store_true", help="resize predictions (nearest) to the size of the truth")
    add("--stability", action="store_true", help="measure flicker of static pixels too (needs the images; slower)")
    add("--workers", type=_count, metavar="N", help="processes (default: as many as pay)")
    add("--json", type=Path, metavar="FILE", help="write all results")
    add("--html", type=Path, metavar="FILE", help="write a page with tables, bars and pictures")
    return parser


def to_request(options: argparse.Namespace) -> Request:
    """Return the parsed arguments as a ``Request``."""
    from videocups.evaluate.run import Request

    return Request(
        prediction=options.prediction,
        truth=options.truth,
        dataset=options.dataset,
        split=options.split,
        sequences=options.sequences,
        things=options.things,
        mapping=options.mapping,
        prediction_format=options.format,
        resize=options.resize,
        stability=options.stability,
        workers=options.workers,
    )


def mapping_parser() -> argparse.ArgumentParser:
    """Return the parser of ``videocups mapping``."""
    parser = argparse.ArgumentParser(
        prog="videocups mapping",
        description="Show a mapping file and edit it: what each pseudo-class means and what the vehicle calls it.",
    )
    add = parser.add_argument
    add("file", type=Path, help="mapping file of 'videocups evaluate --save-mapping'")
    add("--name", action="append", default=[], metavar="7=van", help="call pseudo-class 7 'van'")
    add("--set", action="append", default=[], metavar="7=car", help="pseudo-class 7 means class car (name or number)")
    add("--unset", action="append", default=[], type=int, metavar="7", help="pseudo-class 7 means nothing: void")
    add("--thing", action="append", default=[], type=int, metavar="7", help="pseudo-class 7 has objects")
    add("--stuff", action="append", default=[], type=int, metavar="7", help="pseudo-class 7 has no objects")
    add("--labels", type=Path, metavar="FILE", help="write the class names for the vehicle (labels JSON)")
    return parser


def _names(text: str) -> tuple[str, ...]:
    names = tuple(part.strip() for part in text.split(",") if part.strip())
    if not names:
        raise argparse.ArgumentTypeError(f"needs a list of names such as A,B, got {text!r}")
    return names


def _count(text: str) -> int:
    count = int(text)
    if count < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {count}")
    return count
