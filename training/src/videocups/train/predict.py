"""Predict clips: frame after frame through core's stream, as the vehicle does, into panoptic clips."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from videocups_core.bundle import INFO_FILE, read_bundle
from videocups_core.clip import Clip, find_clips, write_atomically
from videocups_core.engine import EngineConfig, create_engine
from videocups_core.panoptic.merge import MergeConfig
from videocups_core.panoptic.storage import PanopticClipWriter
from videocups_core.stream import Stream, StreamConfig
from videocups_core.types import PanopticFrame

ORIGIN_FILE = "predicted_with.json"


def open_stream(
    model: Path, device: str, *, size_hw: tuple[int, int] | None = None, merge: MergeConfig | None = None
) -> Stream:
    """Return a stream over a model bundle or a checkpoint (or a run, which means its newest one).

    ``device``: auto, cpu, cuda or cuda:N; with auto a bundle runs where ONNX Runtime can, a checkpoint where torch can.
    """
    if (model / INFO_FILE).is_file():
        if size_hw is not None:
            raise ValueError(f"bundle {model} has a fixed input size; leave --size away")
        bundle = read_bundle(model)
        engine = create_engine(bundle, EngineConfig(device=device))
        engine.load()
        return Stream(bundle, engine, StreamConfig(merge=merge))
    from videocups.model.load import KIND, load_network, trained_size
    from videocups.train.checkpoint import read_checkpoint
    from videocups.train.loop import choose_device
    from videocups.train.network_engine import new_stream

    size_hw = size_hw or trained_size(read_checkpoint(model, KIND))
    return new_stream(load_network(model).to(choose_device(device)), size_hw, merge=merge)


def origin_of(model: Path, size_hw: tuple[int, int] | None, score: float | None) -> dict[str, str]:
    """Return what predictions hang on: the weights by their SHA-256, the size, and the least score."""
    if (model / INFO_FILE).is_file():
        weights = read_bundle(model).onnx_sha256
    else:
        from videocups.model.load import KIND, trained_size
        from videocups.train.checkpoint import AVERAGE, MODEL, read_checkpoint

        checkpoint = read_checkpoint(model, KIND)
        size_hw = size_hw or trained_size(checkpoint)
        file = next(path for path in (checkpoint.folder / AVERAGE, checkpoint.folder / MODEL) if path.is_file())
        weights = hashlib.sha256(file.read_bytes()).hexdigest()
    size = "" if size_hw is None else f"{size_hw[0]}x{size_hw[1]}"
    return {"weights": weights, "size": size, "score": "" if score is None else f"{score:g}"}


def predict_clips(
    stream: Stream,
    clips: Sequence[tuple[Path, str]],
    out: Path,
    on_frame: Callable[[], None] | None = None,
    origin: Mapping[str, str] | None = None,
) -> int:
    """Write ``out/name/panoptic`` for every clip (folder, name); returns the number of frames.

    A clip that is there already is left as it is, one that was interrupted is made again. Rows without a pixel are left
    out: a vehicle wants to know what it waits for, labels are what is seen. With an ``origin`` a clip that is there
    from another one is an error.
    """
    frames = 0
    for folder, name in clips:
        clip = Clip(folder)
        done = (out / name / "panoptic" / "segments.json").is_file()
        if origin is not None:
            _claim(out / name, origin, done)
        if not done:
            stream.reset()
            stream.frame_index = 0
            with PanopticClipWriter(out / name, stream.bundle.classes, overwrite=True) as writer:
                for index, stamp_ns in enumerate(clip.info.stamps_ns):
                    writer.append(seen(stream.step(clip.frame_rgb(index), stamp_ns)))
                    if on_frame is not None:
                        on_frame()
        frames += len(clip)
    return frames


def _claim(folder: Path, origin: Mapping[str, str], done: bool) -> None:
    """Write down what is predicted with, before it is; refuse to pass predictions off as those of another model."""
    path = folder / ORIGIN_FILE
    before = json.loads(path.read_text(encoding="utf-8")) if done and path.is_file() else None
    if before is not None and before != origin:
        what = ", ".join(name for name in origin if before.get(name) != origin[name])
        raise ValueError(f"{folder} was predicted before with other {what}; give another --out, or remove it")
    if not done:
        write_atomically(path, (json.dumps(dict(origin), indent=1) + "\n").encode())


def seen(frame: PanopticFrame) -> PanopticFrame:
    """Return the frame without rows that no pixel has: tracks that are waited for, or lost to the resize."""
    return replace(frame, segments=tuple(row for row in frame.segments if row.area_px))


def named_clips(roots: Sequence[Path]) -> list[tuple[Path, str]]:
    """Return (folder, name) of all clips at or below ``roots``; the name is the way from there."""
    found = []
    for root in roots:
        for folder in find_clips(root):
            found.append((folder, folder.relative_to(root).as_posix() if folder != root else folder.resolve().name))
    names = [name for _, name in found]
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise ValueError(f"several clips are called {', '.join(doubled[:3])}; predict them into different folders")
    return found
