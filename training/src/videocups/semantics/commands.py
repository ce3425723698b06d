"""``videocups weights``: list, fetch and verify outside weights."""

from __future__ import annotations

import argparse
from pathlib import Path

EPILOG = """Proxies are taken from http_proxy, https_proxy and no_proxy. Weights are kept in $VIDEOCUPS_WEIGHTS, else in
$XDG_CACHE_HOME/videocups/weights. Exit status: 0 done, 1 the weights cannot be had or are damaged, 2 wrong usage."""
COME_BY = {
    "fetch": "videocups weights fetch",
    "import": "download, then videocups import-checkpoint",
    "recipe": "make it with",
    "file": "shipped as",
}


def weights(arguments: list[str]) -> int:
    """List, fetch or verify weights."""
    from videocups.semantics.weights import REGISTRY, weights_folder

    parser = argparse.ArgumentParser(
        prog="videocups weights", description="Self-supervised weights from their official addresses.", epilog=EPILOG
    )
    parser.add_argument("--folder", type=Path, default=weights_folder(), help="where weights are kept")
    actions = parser.add_subparsers(dest="action", required=True)
    actions.add_parser("list", help="what there is and what is here")
    fetcher = actions.add_parser("fetch", help="download, check and convert to safetensors")
    fetcher.add_argument("name", metavar="NAME", help=f"one of {', '.join(REGISTRY)}")
    fetcher.add_argument("--from", dest="source", type=Path, metavar="FILE", help="take this file, not the network")
    fetcher.add_argument("--sha256", help="what the file must be, where you know it")
    verifier = actions.add_parser("verify", help="check kept weights")
    verifier.add_argument("name", nargs="?", metavar="NAME", help="only this one")
    options = parser.parse_args(arguments)
    if options.action == "list":
        return show(options.folder)
    if options.action == "fetch":
        return fetch(options.name, options.folder, options.source, options.sha256)
    return check(options.folder, options.name)


def show(folder: Path) -> int:
    """Print the zoo: what can be fetched, imported or made."""
    from videocups.semantics.weights import REGISTRY, is_kept
    from videocups.zoo import read_zoo, zoo_path

    for entry in REGISTRY.values():
        state = "here" if is_kept(entry, folder) else "not fetched"
        digest = f"sha256 {entry.sha256}" if entry.sha256 else "sha256 not published: pinned at first use"
        print(f"{entry.name:<14} {state:<12} {entry.license}  {entry.url}  ({digest})")
    if not zoo_path().is_file():
        print("The zoo of other weights is in the repository (training/zoo.yaml), not in an installed package.")
        return 0
    for other in read_zoo():
        if other.name in REGISTRY:
            continue
        print(f"\n{other.name}: {other.what} ({other.kind}, {other.license})")
        print(f"  {COME_BY[other.origin]}: {other.url or other.path or other.how}")
        for figure in other.figures:
            print(f"  {figure.measure} {figure.value} on {figure.data} ({figure.source})")
    return 0


def fetch(name: str, folder: Path, source: Path | None, sha256: str | None) -> int:
    """Fetch one file and say what came."""
    from videocups.progress import Progress
    from videocups.semantics.weights import fetch as fetch_file
    from videocups.semantics.weights import find

    with Progress(name, unit="MB") as progress:

        def advance(done: int, total: int | None) -> None:
            progress.total = total / 1e6 if total else None
            progress.update(done / 1e6)

        fetched = fetch_file(find(name), folder, source=source, sha256=sha256, advance=advance)
    print(f"{fetched.path}\nsource sha256 {fetched.sha256}")
    if fetched.pinned_now:
        print("No SHA-256 is published for this file: this one is pinned now, and later fetches must match it.")
        print("Compare it with that of a second machine or network before you rely on it.")
    return 0


def check(folder: Path, name: str | None) -> int:
    """Verify kept files; without a name those that are not here are passed over."""
    from videocups.semantics.weights import REGISTRY, find, is_kept, verify

    for entry in [find(name)] if name else REGISTRY.values():
        if name is None and not is_kept(entry, folder):
            print(f"{entry.name}: not fetched")
            continue
        print(f"{entry.name}: whole, sha256 {verify(entry, folder)}")
    return 0
