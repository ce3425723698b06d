"""``videocups import-checkpoint``: weights of other programs as a checkpoint of ours."""

from __future__ import annotations

import argparse
from pathlib import Path

EPILOG = """Reads detectron2's .pkl and .pth and Lightning's .ckpt: CutLER's DINO ResNet-50, CutLER, U2Seg, CUPS.
Nothing in the file is run. CHECKPOINT/import_report.txt accounts for every tensor: used, not used, left fresh.
A network with parts left fresh (tracking always is) must be trained before use; a backbone alone starts a training.

Exit status: 0 imported, 1 the file cannot be used, 2 wrong usage."""


def import_checkpoint(argv: list[str]) -> int:
    """Convert one file and print what became of it."""
    parser = argparse.ArgumentParser(
        prog="videocups import-checkpoint",
        description="Make a checkpoint of weights that detectron2 or CUPS saved.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="a .pkl, .pth or .ckpt file")
    parser.add_argument("--out", type=Path, required=True, metavar="CHECKPOINT", help="folder to write")
    parser.add_argument("--sha256", help="what the file must be, where you know it")
    parser.add_argument("--bgr", action="store_true", help="it was made for BGR images, as detectron2's own zoo")
    parser.add_argument(
        "--stride-first", action="store_true", help="its blocks stride in the first 1×1 convolution (STRIDE_IN_1X1)"
    )
    options = parser.parse_args(argv)
    return convert_file(options)


def convert_file(options: argparse.Namespace) -> int:
    """Read, convert, write."""
    from videocups.model.imports.convert import convert
    from videocups.model.imports.reading import read_foreign
    from videocups.model.imports.writing import REPORT, write_imported
    from videocups.semantics.weights import file_sha256

    found = file_sha256(options.file)
    if options.sha256 and found != options.sha256.lower():
        raise ValueError(f"{options.file} has SHA-256 {found}, expected {options.sha256}; download it again")
    foreign = read_foreign(options.file)
    imported = convert(foreign, bgr=options.bgr, stride_first=options.stride_first)
    source = {"file": options.file.name, "sha256": found, "author": foreign.author}
    checkpoint = write_imported(imported, options.out, source)
    lines = imported.report.lines()
    print(f"{checkpoint.folder}: {checkpoint.kind}, {lines[0]}")
    print("\n".join(line for line in lines[1:] if line.startswith("note: ")) or "nothing had to be changed")
    print(f"every tensor: {checkpoint.folder / REPORT}")
    return 0
