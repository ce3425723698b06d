"""The labelled streets as clips with truth, such as training_ablation.py and label_efficiency.py take.

    python benchmarks/street_clips.py OUT [--clips abcd]

The streets are read from ../shared/data or $VIDEOCUPS_DATA.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from labelled_clips import data_folder, street_as_clip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--clips", default="abcd")
    options = parser.parse_args()
    for name in options.clips:
        print(street_as_clip(data_folder() / "streets" / f"clip_{name}", options.out, truth=True))


if __name__ == "__main__":
    main()
