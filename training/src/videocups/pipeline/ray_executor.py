"""Chunks on a Ray cluster. The clips must be on a file system that all nodes see under the same path.

Only paths, keys and rows travel: a chunk and its rows stay below Ray's limit for inlined objects, whatever the images.
"""

from __future__ import annotations

import logging
import os
import pickle
from typing import Any

from videocups.pipeline.executors import Result, run_in_worker
from videocups.pipeline.work import ArtefactError, Chunk
from videocups.pipeline.worker_start import THREAD_VARIABLES

MAX_CHUNK_BYTES = 8 * 2**20
"""a chunk above this means that something other than names got into it."""


class RayCluster:
    """The cluster at RAY_ADDRESS (or already connected to), else one of this machine with ``workers`` cores."""

    def __init__(self, workers: int) -> None:
        import ray

        self._ray: Any = ray
        self._is_ours = not ray.is_initialized()
        environment = {"env_vars": dict.fromkeys(THREAD_VARIABLES, "1")}
        if self._is_ours:
            local: dict[str, Any] = (
                {} if os.environ.get("RAY_ADDRESS") else {"num_cpus": workers, "include_dashboard": False}
            )
            ray.init(runtime_env=environment, log_to_driver=False, logging_level=logging.WARNING, **local)
        self.workers, self.slots = workers, 2 * workers
        self._run = ray.remote(run_in_worker)
        self._chunks: dict[Any, Chunk] = {}

    @property
    def in_flight(self) -> int:
        """Chunks submitted and not returned."""
        return len(self._chunks)

    def submit(self, chunk: Chunk) -> None:
        """Hand the chunk to the cluster: one core, and the stage's share of a GPU."""
        size = len(pickle.dumps(chunk))
        if size > MAX_CHUNK_BYTES:
            name = chunk.stage.name
            raise ValueError(f"a chunk of stage {name!r} has {size} bytes, at most {MAX_CHUNK_BYTES} may travel")
        options = {"num_cpus": 1, "num_gpus": chunk.stage.gpus, "max_retries": 2}
        self._chunks[self._run.options(**options).remote(chunk)] = chunk

    def results(self) -> list[Result]:
        """Wait for at least one chunk; a node that was lost has its chunks run elsewhere."""
        ended, _ = self._ray.wait(list(self._chunks), num_returns=1)
        more, _ = self._ray.wait(list(self._chunks), num_returns=len(self._chunks), timeout=0)
        return [(self._chunks.pop(reference), self._get(reference)) for reference in {*ended, *more}]

    def close(self) -> None:
        """Give up what runs, and leave the cluster if it was joined here."""
        for reference in self._chunks:
            self._ray.cancel(reference, force=True)
        if self._is_ours:
            self._ray.shutdown()

    def _get(self, reference: Any) -> Any:
        try:
            return self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as error:
            raise error.as_instanceof_cause() from None
        except self._ray.exceptions.RayError as error:
            raise ArtefactError(f"the cluster lost a chunk again and again: {error}; run again to go on") from error
