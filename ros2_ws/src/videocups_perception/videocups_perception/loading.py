"""From parameters to a loaded, warmed-up model."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from ament_index_python.packages import get_package_share_directory

from videocups_core.bundle import read_bundle
from videocups_core.engine import EngineConfig, create_engine
from videocups_core.stream import Stream, StreamConfig
from videocups_perception.parameters import NodeParameters

POLL_S = 0.05


class Loader:
    """Loads on a thread of its own: the first engine build takes minutes, and silence would look like a crash."""

    def __init__(self) -> None:
        # An event, because up to Python 3.12 a join that a signal interrupts takes the thread for ended.
        self._done = threading.Event()
        self._done.set()

    def load(self, load: Callable[[], Stream], meanwhile: Callable[[], bool]) -> Stream:
        """Return what ``load`` returns, or raise what it raises; give up where ``meanwhile`` says False."""
        outcome: list[Stream | Exception] = []

        def attempt() -> None:
            try:
                outcome.append(load())
            except Exception as error:  # handed over to the thread that waits
                outcome.append(error)
            finally:
                self._done.set()

        self._done.clear()
        threading.Thread(target=attempt, name="model-loader", daemon=True).start()
        while not self.is_done(POLL_S):
            if not meanwhile():
                raise RuntimeError("the node was stopped while the model was being loaded")
        loaded = outcome.pop()
        if isinstance(loaded, Exception):
            try:
                raise loaded
            finally:
                del loaded  # its traceback holds this frame, and through it what was loaded by halves
        return loaded

    def is_done(self, timeout_s: float) -> bool:
        """Wait a while; say whether nothing is being loaded any more."""
        return self._done.wait(timeout_s)


def load_stream(parameters: NodeParameters) -> Stream:
    """Read the bundle, build or load its engine and warm it up; slow. ValueError and OSError carry a sentence."""
    bundle = read_bundle(parameters.bundle or shipped_bundle())
    config = EngineConfig(
        backend=parameters.backend,
        device=parameters.device,
        threads=parameters.threads,
        precision=parameters.precision,
        cuda_graph=parameters.cuda_graph,
    )
    engine = create_engine(bundle, config)
    engine.load()
    engine.warm_up()
    return Stream(bundle, engine, StreamConfig(merge=parameters.merge_config(bundle.merge)))


def shipped_bundle() -> Path:
    """Return the folder of the model that comes with this package."""
    return Path(get_package_share_directory("videocups_perception")) / "models" / "street_small"


def model_facts(stream: Stream) -> dict[str, str]:
    """Return what the diagnostics say about the model: as verified after loading, not as wished."""
    info = stream.engine.describe()
    facts = {
        "model": stream.bundle.model_id,
        "model_sha256": info.model_sha256,
        "engine": info.backend,
        "provider": info.provider,
        "device": info.device,
        "precision": info.precision,
        "threads": str(info.threads),
        "cuda_graph": str(info.cuda_graph).lower(),
        "input": "×".join(str(size) for size in info.input_shape),
    }
    facts |= {f"version_{name}": version for name, version in info.versions.items()}
    facts |= {f"note_{number}": note for number, note in enumerate(info.notes, 1)}
    return facts


def tracker_facts(stream: Stream) -> dict[str, str]:
    """Return what changes from frame to frame."""
    timings = stream.timings
    return {
        "tracks": str(len(stream.tracker)),
        "track_epoch": str(stream.track_epoch),
        "frame_index": str(stream.frame_index),
        "step_pre_ms": f"{timings.pre_ms:.1f}",
        "step_infer_ms": f"{timings.infer_ms:.1f}",
        "step_post_ms": f"{timings.post_ms:.1f}",
    }


def has_confidence(stream: Stream) -> bool:
    """Say whether the model gives a confidence per pixel."""
    return "semantic_score" in stream.engine.describe().outputs
