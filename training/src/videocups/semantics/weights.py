"""Outside weights: where they come from, fetched once, checked, and kept as safetensors.

Only self-supervised weights are listed. A file whose SHA-256 is not published is pinned at first use: every later fetch
must match what came first. Files lie in ``$VIDEOCUPS_WEIGHTS``, else ``$XDG_CACHE_HOME/videocups/weights``.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from videocups_core.clip import write_atomically

OFFICIAL = "https://dl.fbaipublicfiles.com/dino"
CHUNK = 1 << 20
TIMEOUT_S = 30.0


@dataclass(frozen=True)
class WeightFile:
    """One file to fetch. ``sha256``: as published, None where nobody publishes it. ``backbone``: what it must fit."""

    name: str
    url: str
    sha256: str | None
    license: str
    backbone: str | None = None


REGISTRY = {
    entry.name: entry
    for entry in (
        WeightFile(name, f"{OFFICIAL}/{stem}/{stem}.pth", None, "Apache-2.0", name)
        for name, stem in (
            ("dino-vits8", "dino_deitsmall8_pretrain"),
            ("dino-vitb8", "dino_vitbase8_pretrain"),
            ("dino-resnet50", "dino_resnet50_pretrain"),
        )
    )
}


class WeightsError(ValueError):
    """Weights that are absent, damaged or not what they should be; the message names the fix."""


@dataclass(frozen=True)
class Fetched:
    """What ``fetch`` did: the safetensors file, the SHA-256 of what came, and whether it was pinned just now."""

    path: Path
    sha256: str
    pinned_now: bool


def weights_folder() -> Path:
    """Return where weights are kept."""
    if os.environ.get("VIDEOCUPS_WEIGHTS"):
        return Path(os.environ["VIDEOCUPS_WEIGHTS"])
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "videocups" / "weights"


def find(name: str) -> WeightFile:
    """Return the entry of the registry."""
    if name not in REGISTRY:
        raise WeightsError(f"there are no weights {name!r}; there are {', '.join(REGISTRY)}")
    return REGISTRY[name]


def fetch(
    entry: WeightFile,
    folder: Path,
    *,
    source: Path | None = None,
    sha256: str | None = None,
    advance: Callable[[int, int | None], None] = lambda done, total: None,
) -> Fetched:
    """Download ``entry`` (or take ``source``), check it, convert it to safetensors.

    ``sha256``: what the caller knows it must be. An interrupted download goes on where it stopped. Proxies are taken
    from ``http_proxy``, ``https_proxy`` and ``no_proxy``. ``advance``: called with (bytes done, bytes in all or None).
    """
    folder.mkdir(parents=True, exist_ok=True)
    expected = sha256 or entry.sha256 or _pins(folder).get(entry.name)
    arrived = source or _download(entry, folder, advance)
    found = file_sha256(arrived)
    if expected and found != expected.lower():
        if source is None:
            arrived.unlink()
        raise WeightsError(
            f"{source or entry.url} has SHA-256 {found}, expected {expected}: changed or damaged; fetch it again "
            f"or, if the change is wanted, remove the pin of {entry.name} from {folder / 'pins.json'}"
        )
    path = folder / f"{entry.name}.safetensors"
    _convert(arrived, path, entry, found)
    if source is None:
        arrived.unlink()
    if not expected:
        write_atomically(folder / "pins.json", _json({**_pins(folder), entry.name: found}))
    return Fetched(path, found, pinned_now=not expected)


def verify(entry: WeightFile, folder: Path) -> str:
    """Return the SHA-256 of the kept file if it is whole and what was fetched; WeightsError otherwise."""
    record = _record(entry, folder)
    found = file_sha256(folder / f"{entry.name}.safetensors")
    if found != record["sha256"]:
        raise WeightsError(
            f"{folder / entry.name}.safetensors is damaged: SHA-256 {found}, recorded {record['sha256']}; "
            f"fetch it again: videocups weights fetch {entry.name}"
        )
    wanted = entry.sha256 or _pins(folder).get(entry.name)
    if wanted and record["source_sha256"] != wanted:
        raise WeightsError(
            f"{entry.name} was made from a file with SHA-256 {record['source_sha256']}, expected {wanted}; "
            f"fetch it again: videocups weights fetch {entry.name}"
        )
    return found


def load_weights(name: str, folder: Path | None = None) -> dict[str, Any]:
    """Load fetched weights as name -> tensor; where they are absent the error names both ways to get them."""
    from safetensors.torch import load_file

    folder = folder or weights_folder()
    _record(find(name), folder)
    return dict(load_file(folder / f"{name}.safetensors"))


def is_kept(entry: WeightFile, folder: Path) -> bool:
    """Tell whether the converted file and its record are there."""
    return (folder / f"{entry.name}.safetensors").is_file() and (folder / f"{entry.name}.json").is_file()


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _record(entry: WeightFile, folder: Path) -> dict[str, Any]:
    if not is_kept(entry, folder):
        raise WeightsError(
            f"the weights {entry.name} are not in {folder}; fetch them with 'videocups weights fetch {entry.name}', or "
            f"download {entry.url} elsewhere and run 'videocups weights fetch {entry.name} --from FILE'"
        )
    record: dict[str, Any] = json.loads((folder / f"{entry.name}.json").read_text(encoding="utf-8"))
    return record


def _pins(folder: Path) -> dict[str, str]:
    path = folder / "pins.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _json(content: Any) -> bytes:
    return (json.dumps(content, indent=1, sort_keys=True) + "\n").encode()


def _download(entry: WeightFile, folder: Path, advance: Callable[[int, int | None], None]) -> Path:
    """Download to ``NAME.part``, going on where an earlier download stopped."""
    part = folder / f"{entry.name}.part"
    begin = part.stat().st_size if part.is_file() else 0
    request = urllib.request.Request(entry.url, headers={"Range": f"bytes={begin}-"} if begin else {})
    try:
        # a new opener reads the proxies anew
        with urllib.request.build_opener().open(request, timeout=TIMEOUT_S) as response:
            if response.status != 206:
                begin = 0  # the server sends all of it again
            length = response.headers.get("Content-Length")
            total = begin + int(length) if length else None
            with part.open("ab" if begin else "wb") as file:
                done = begin
                while chunk := response.read(CHUNK):
                    file.write(chunk)
                    done += len(chunk)
                    advance(done, total)
    except urllib.error.HTTPError as error:
        if error.code == 416:  # nothing is left to send: either all is here or the file is another one now
            return part
        raise _unreachable(entry, f"the server answers {error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException) as error:
        raise _unreachable(entry, str(getattr(error, "reason", error))) from error
    if total is not None and done < total:
        raise WeightsError(f"{entry.url} stopped after {done} of {total} bytes; run the same command again to go on")
    return part


def _unreachable(entry: WeightFile, reason: str) -> WeightsError:
    return WeightsError(
        f"cannot fetch {entry.url}: {reason}; set https_proxy if this network needs one, or download it elsewhere "
        f"and run 'videocups weights fetch {entry.name} --from FILE'"
    )


def _convert(arrived: Path, path: Path, entry: WeightFile, source_sha256: str) -> None:
    """Read the file without running anything in it, check names and shapes, write safetensors and its record."""
    import pickle

    import torch
    from safetensors.torch import save

    from videocups.semantics.dino import build_backbone

    try:
        state = torch.load(arrived, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise WeightsError(f"{arrived} is no file of torch weights ({reason}); fetch it again") from error
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise WeightsError(f"{arrived} holds more than a table of tensors; give the file from {entry.url}")
    if entry.backbone:
        build_backbone(entry.backbone, state)
    content = save({key: value.contiguous() for key, value in state.items()}, {"source": entry.url})
    write_atomically(path, content)
    record = {"source": entry.url, "source_sha256": source_sha256, "sha256": hashlib.sha256(content).hexdigest()}
    write_atomically(path.with_suffix(".json"), _json({**record, "license": entry.license}))
