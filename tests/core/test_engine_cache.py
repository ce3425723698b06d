from __future__ import annotations

import dataclasses
import json
import multiprocessing
import os
import time
from pathlib import Path

import pytest

from videocups_core.engine.cache import CachedEngine, EngineCache, EngineKey, default_cache_folder

KEY = EngineKey("a" * 64, "fp16", (1, 256, 512, 3), "GPU 9000", "10.3.0", "12060", "12080 570.1")


class Builder:
    """Stands in for TensorRT, which is not here: the cache sees only bytes. Counts its calls."""

    def __init__(self, data: bytes = b"engine" * 1000) -> None:
        self.data = data
        self.calls = 0

    def __call__(self) -> bytes:
        self.calls += 1
        return self.data


def test_builds_once_and_then_reads(tmp_path: Path) -> None:
    build = Builder()
    assert EngineCache(tmp_path).load_or_build(KEY, build) == CachedEngine(build.data, "built")
    assert EngineCache(tmp_path).load_or_build(KEY, build) == CachedEngine(build.data, "hit")
    assert build.calls == 1
    info = json.loads(EngineCache(tmp_path).engine_path(KEY).with_suffix(".json").read_text())
    assert info["key"]["gpu_name"] == "GPU 9000"
    assert info["size_bytes"] == 6000


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(EngineKey)])
def test_any_other_key_field_is_another_engine(tmp_path: Path, field: str) -> None:
    cache = EngineCache(tmp_path)
    cache.load_or_build(KEY, Builder(b"old"))
    value = (1, 256, 513, 3) if field == "input_shape" else getattr(KEY, field) + "x"
    other = dataclasses.replace(KEY, **{field: value})
    assert cache.load_or_build(other, Builder(b"new")) == CachedEngine(b"new", "built")
    assert cache.load_or_build(KEY, Builder(b"wrong")).data == b"old"


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "no sidecar json", "stale sidecar", "odd sidecar"])
def test_a_damaged_engine_is_rebuilt_and_said(tmp_path: Path, damage: str) -> None:
    cache = EngineCache(tmp_path)
    cache.load_or_build(KEY, Builder())
    engine, sidecar = cache.engine_path(KEY), cache.engine_path(KEY).with_suffix(".json")
    data = engine.read_bytes()
    {
        "truncated": lambda: engine.write_bytes(data[:-1]),
        "flipped": lambda: engine.write_bytes(data[:99] + bytes([data[99] ^ 1]) + data[100:]),
        "empty": lambda: engine.write_bytes(b""),
        "no sidecar json": lambda: sidecar.write_text("{"),
        "stale sidecar": lambda: sidecar.write_text(json.dumps({"sha256": "0" * 64})),
        "odd sidecar": lambda: sidecar.write_text("[1]"),
    }[damage]()
    build = Builder(b"second build")
    result = cache.load_or_build(KEY, build)
    assert (result.data, result.outcome) == (b"second build", "rebuilt")
    assert "built again" in result.note
    assert cache.load_or_build(KEY, build) == CachedEngine(b"second build", "hit")


def test_a_killed_writer_leaves_nothing_that_counts(tmp_path: Path) -> None:
    cache = EngineCache(tmp_path)
    cache.engine_path(KEY).write_bytes(b"the engine was renamed, the sidecar never came")
    assert cache.load_or_build(KEY, Builder()).outcome == "built"


def test_a_failed_build_leaves_the_cache_as_it_was(tmp_path: Path) -> None:
    def fail() -> bytes:
        raise RuntimeError("out of memory")

    cache = EngineCache(tmp_path)
    with pytest.raises(RuntimeError, match="out of memory"):
        cache.load_or_build(KEY, fail)
    with pytest.raises(RuntimeError, match="no bytes"):
        cache.load_or_build(KEY, Builder(b""))
    assert not cache.engine_path(KEY).exists()
    assert cache.load_or_build(KEY, Builder()).outcome == "built"  # the lock is free again


def test_a_folder_that_cannot_be_made_still_runs(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    build = Builder()
    result = EngineCache(tmp_path / "file" / "engines").load_or_build(KEY, build)
    assert (result.data, result.outcome, build.calls) == (build.data, "built", 1)
    assert "was not kept" in result.note


def test_a_disk_that_is_full_still_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("videocups_core.engine.cache.write_atomically", full)
    result = EngineCache(tmp_path).load_or_build(KEY, Builder())
    assert result.outcome == "built"
    assert "No space left on device" in result.note


def _build_slowly(folder: str, log: str) -> None:
    def build() -> bytes:
        with Path(log).open("a") as file:
            file.write(f"{os.getpid()}\n")
        time.sleep(0.3)
        return b"shared"

    assert EngineCache(Path(folder)).load_or_build(KEY, build).data == b"shared"


def test_processes_that_want_one_engine_build_it_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    log = tmp_path / "log"
    workers = [context.Process(target=_build_slowly, args=(str(tmp_path / "cache"), str(log))) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(20)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    assert len(log.read_text().split()) == 1


def test_the_default_folder_follows_xdg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache_folder() == tmp_path / "videocups" / "engines"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert default_cache_folder() == Path.home() / ".cache" / "videocups" / "engines"
