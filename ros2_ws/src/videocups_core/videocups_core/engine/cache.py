"""Built engines on disk: keyed by everything that makes them valid, built once, never half-written, never trusted."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from videocups_core.clip import write_atomically


@dataclass(frozen=True)
class EngineKey:
    """What an engine is valid for; any other value of any field is another engine."""

    onnx_sha256: str
    precision: str
    input_shape: tuple[int, ...]
    gpu_name: str
    tensorrt_version: str
    cuda_version: str
    driver_version: str

    def digest(self) -> str:
        """Name of the engine's files."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:32]


@dataclass(frozen=True)
class CachedEngine:
    """A serialised engine and how it was come by: ``hit``, ``built`` or ``rebuilt``; ``note`` says why, if unusual."""

    data: bytes
    outcome: str
    note: str = ""


def default_cache_folder() -> Path:
    """``$XDG_CACHE_HOME/videocups/engines``, or below ~/.cache."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG specification has relative values ignored.
    root = Path(base) if base and Path(base).is_absolute() else Path.home() / ".cache"
    return root / "videocups" / "engines"


class EngineCache:
    """A folder of engines: ``<digest>.engine``, and ``<digest>.json`` with the key, the size and the SHA-256."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or default_cache_folder()

    def load_or_build(self, key: EngineKey, build: Callable[[], bytes]) -> CachedEngine:
        """Return the engine for ``key``, building it where it is absent or damaged.

        Processes that want the same engine at once wait for the first one's build. Where the folder cannot be written
        the engine is built and used, and ``note`` says that it was not kept.
        """
        data, _ = self._read(key)
        if data is not None:
            return CachedEngine(data, "hit")
        try:
            lock = self._open_lock(key)
        except OSError as error:
            return CachedEngine(build(), "built", f"{self._not_kept(error)}")
        with _locked(lock):
            data, damage = self._read(key)
            if data is not None:
                return CachedEngine(data, "hit", "another process built it meanwhile")
            data = build()
            if not data:
                raise RuntimeError("the engine build gave no bytes; see the builder's log")
            note = damage
            try:
                self._write(key, data)
            except OSError as error:
                note = "; ".join(filter(None, (damage, self._not_kept(error))))
            return CachedEngine(data, "rebuilt" if damage else "built", note)

    def find(self, key: EngineKey) -> CachedEngine | None:
        """Return the engine for ``key`` if it is there and whole; builds nothing."""
        data, _ = self._read(key)
        return None if data is None else CachedEngine(data, "hit")

    def engine_path(self, key: EngineKey) -> Path:
        """Where the engine for ``key`` lies."""
        return self.folder / f"{key.digest()}.engine"

    def _info_path(self, key: EngineKey) -> Path:
        return self.folder / f"{key.digest()}.json"

    def _open_lock(self, key: EngineKey) -> int:
        self.folder.mkdir(parents=True, exist_ok=True)
        return os.open(self.folder / f"{key.digest()}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)

    def _read(self, key: EngineKey) -> tuple[bytes | None, str]:
        """Return the engine, or None and, where files are there but wrong, what is wrong."""
        try:
            info = json.loads(self._info_path(key).read_text(encoding="utf-8"))
            data = self.engine_path(key).read_bytes()
        except FileNotFoundError:
            return None, ""
        except (OSError, ValueError) as error:
            return None, f"the cached engine could not be read ({error}) and was built again"
        expected = info if isinstance(info, dict) else {}
        # A writer that died between the two renames leaves a pair that does not agree, which shows here as well.
        if expected.get("sha256") != hashlib.sha256(data).hexdigest():
            return None, f"the cached engine {self.engine_path(key).name} was damaged and was built again"
        return data, ""

    def _write(self, key: EngineKey, data: bytes) -> None:
        info = {"key": asdict(key), "size_bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        write_atomically(self.engine_path(key), data)
        write_atomically(self._info_path(key), (json.dumps(info, indent=1) + "\n").encode())

    def _not_kept(self, error: OSError) -> str:
        return f"the engine cache {self.folder} cannot be written ({error.strerror}), so the engine was not kept"


@contextlib.contextmanager
def _locked(descriptor: int) -> Iterator[None]:
    """Hold an exclusive lock; the kernel frees it even if this process is killed."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
