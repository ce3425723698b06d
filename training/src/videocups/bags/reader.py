"""Open a recording, whatever state its folder is in: the storage files are the truth, metadata.yaml is a hint."""

from __future__ import annotations

import heapq
import re
import sys
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType

import yaml

from videocups.bags.mcap_storage import McapStorage
from videocups.bags.recording import BagError, Damage, Message, Storage, Topic
from videocups.bags.sqlite_storage import open_sqlite

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

STORAGE_SUFFIXES = (".mcap", ".db3", ".bag")
METADATA_FILE = "metadata.yaml"


@dataclass(frozen=True)
class Metadata:
    """What metadata.yaml claims."""

    files: tuple[str, ...] = ()
    message_count: int | None = None
    compression_mode: str = ""
    problem: str = ""  # why the file says nothing, in a sentence


class Bag:
    """A recording opened for reading: one or several storage files seen as one."""

    def __init__(self, path: Path, storages: list[Storage], metadata: Metadata, notes: list[str]) -> None:
        self.path = path
        self.metadata = metadata
        self.notes = notes
        self._storages = storages
        self._temporary: TemporaryDirectory[str] | None = None
        known: dict[str, Topic] = {}
        for topic in (topic for storage in storages for topic in storage.topics):
            held = known.setdefault(topic.name, topic)
            if not held.definition and topic.definition and topic.msgtype == held.msgtype:
                known[topic.name] = topic
        self.topics = tuple(known[name] for name in sorted(known))
        self.start_ns = min((s.start_ns for s in storages if s.start_ns is not None), default=None)
        self.last_ns = max((s.last_ns for s in storages if s.last_ns is not None), default=None)

    @property
    def damage(self) -> Damage:
        """What could not be read so far; complete once the messages were iterated."""
        causes = [cause for storage in self._storages for cause in storage.damage.causes]
        return Damage(causes)

    def add_damage(self, cause: str) -> None:
        """Note a loss that no single file knows of."""
        self._storages[0].damage.add(cause)

    def topic(self, name: str) -> Topic:
        """Return the topic called ``name``, or say which ones there are."""
        for topic in self.topics:
            if topic.name == name:
                return topic
        there = ", ".join(topic.name for topic in self.topics) or "none"
        raise BagError(f"{self.path} has no topic {name!r}; it has: {there}")

    def counts(self) -> dict[str, int]:
        """Count the messages of every topic."""
        total: Counter[str] = Counter({topic.name: 0 for topic in self.topics})
        for storage in self._storages:
            total.update(storage.counts())
        return dict(total)

    def missing_messages(self) -> int:
        """How many messages metadata.yaml promises and the storage does not hold (negative: too many)."""
        promised = self.metadata.message_count
        return 0 if promised is None else promised - sum(self.counts().values())

    def messages(
        self, topics: Collection[str], start_ns: int | None = None, stop_ns: int | None = None
    ) -> Iterator[Message]:
        """Yield messages of the named topics with start_ns <= log time < stop_ns, oldest first."""
        unpack = self.metadata.compression_mode == "message"
        for message in self._merged(topics, start_ns, stop_ns):
            if not unpack:
                yield message
                continue
            try:
                yield replace(message, data=zstd.decompress(message.data))
            except zstd.ZstdError as error:
                self.add_damage(f"messages of {message.topic.name} do not decompress ({error})")

    def _merged(self, topics: Collection[str], start_ns: int | None, stop_ns: int | None) -> Iterator[Message]:
        filled = sorted((s for s in self._storages if s.start_ns is not None), key=lambda s: s.start_ns or 0)
        streams = (storage.messages(topics, start_ns, stop_ns) for storage in filled)
        apart = all((a.last_ns or 0) <= (b.start_ns or 0) for a, b in pairwise(filled))
        if not apart:
            yield from heapq.merge(*streams, key=lambda message: message.log_ns)
            return
        for stream in streams:  # split files follow one another: never more than one is being read
            yield from stream

    def close(self) -> None:
        """Close every file."""
        for storage in self._storages:
            storage.close()
        if self._temporary:
            self._temporary.cleanup()

    def __enter__(self) -> Bag:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def is_bag(path: Path) -> bool:
    """Tell whether ``path`` is a storage file or a folder that holds one."""
    if path.is_dir():
        return bool(_storage_files(path)) or (path / METADATA_FILE).exists()
    return _storage_suffix(path) != ""


def open_bag(path: Path | str) -> Bag:
    """Open a rosbag2 folder, a .mcap or .db3 file, or a ROS 1 .bag for reading."""
    path = Path(path)
    if not path.exists():
        raise BagError(f"{path} does not exist; give a rosbag2 folder, a .mcap, .db3 or .bag file")
    if path.is_file():
        if not _storage_suffix(path):
            raise BagError(f"{path} is no recording; give a rosbag2 folder, a .mcap, .db3 or .bag file")
        beside = read_metadata(path.parent / METADATA_FILE)
        # Only the way of compression is taken from beside a single file: its counts speak of the whole folder.
        return _open_files(path, [path], Metadata(compression_mode=beside.compression_mode), [])
    metadata = read_metadata(path / METADATA_FILE)
    found = _storage_files(path)
    if not found:
        raise BagError(f"{path} holds no .mcap, .db3 or .bag file; give the folder the recorder wrote")
    bag = _open_files(path, found, metadata, list(_differences(metadata, found)))
    absent = sorted(set(metadata.files) - {file.name for file in found})
    if absent and (missing := bag.missing_messages()) > 0:  # with a renamed file nothing is missing
        bag.add_damage(f"{', '.join(absent)} of {path} is not there: {missing} messages are missing; copy it too")
    return bag


def read_metadata(path: Path) -> Metadata:
    """Read metadata.yaml; a missing or broken one says nothing and is no error."""
    if not path.exists():
        return Metadata(problem=f"there is no {METADATA_FILE}; the storage files were read without it")
    try:
        content = yaml.safe_load(path.read_text())["rosbag2_bagfile_information"]
        mode = str(content.get("compression_mode") or "").lower()
        return Metadata(
            files=tuple(Path(name).name for name in content["relative_file_paths"]),
            message_count=int(content["message_count"]),
            compression_mode="" if mode == "none" else mode,
        )
    except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError) as error:
        reason = " ".join(str(error).split())[:80]
        return Metadata(problem=f"{METADATA_FILE} cannot be read ({reason}); the storage files were read without it")


def _differences(metadata: Metadata, found: list[Path]) -> Iterator[str]:
    if metadata.problem:
        yield metadata.problem
        return
    names = {path.name for path in found}
    if missing := sorted(set(metadata.files) - names):
        yield f"{METADATA_FILE} names files that are not there: {', '.join(missing)}"
    if unnamed := sorted(names - set(metadata.files)):
        yield f"{METADATA_FILE} does not name {', '.join(unnamed)}; read all the same"


def _open_files(path: Path, files: list[Path], metadata: Metadata, notes: list[str]) -> Bag:
    storages: list[Storage] = []
    temporary = TemporaryDirectory(prefix="videocups-") if any(file.suffix == ".zstd" for file in files) else None
    broken: list[str] = []
    try:
        for file in files:
            try:
                storages.append(_open_storage(_decompressed(file, temporary)))
            except BagError as error:
                if len(files) == 1:
                    raise
                broken.append(str(error))  # one broken file of a split recording does not take the others with it
        if not storages:
            raise BagError("; ".join(broken))
        bag = Bag(path, storages, metadata, notes)
    except BaseException:
        for storage in storages:
            storage.close()
        if temporary:
            temporary.cleanup()
        raise
    for cause in broken:
        bag.add_damage(cause)
    bag._temporary = temporary
    return bag


def _decompressed(file: Path, temporary: TemporaryDirectory[str] | None) -> Path:
    """Unpack a storage file that was compressed as a whole; others are returned as they are."""
    if file.suffix != ".zstd" or temporary is None:
        return file
    plain = Path(temporary.name) / file.stem
    decompressor = zstd.ZstdDecompressor()
    with file.open("rb") as packed, plain.open("wb") as output:
        while not decompressor.eof and (piece := packed.read(1 << 20)):
            try:
                output.write(decompressor.decompress(piece))
            except zstd.ZstdError as error:
                raise BagError(f"{file} does not decompress ({error}); copy it again from its source") from None
    return plain  # of a cut archive this is what was left of it; its reader reports that it ends early


def _open_storage(file: Path) -> Storage:
    if file.suffix == ".mcap":
        return McapStorage(file)
    if file.suffix == ".db3":
        return open_sqlite(file)
    from videocups.bags.ros1_storage import Ros1Storage

    return Ros1Storage(file)


def _storage_suffix(path: Path) -> str:
    suffix = Path(path.stem).suffix if path.suffix == ".zstd" else path.suffix
    return suffix if suffix in STORAGE_SUFFIXES else ""


def _storage_files(folder: Path) -> list[Path]:
    """Return the storage files of a folder; split files in the order of their numbers."""
    files = [path for path in folder.iterdir() if path.is_file() and _storage_suffix(path)]
    plain = {path.name for path in files if path.suffix != ".zstd"}
    files = [path for path in files if path.suffix != ".zstd" or path.stem not in plain]
    return sorted(files, key=lambda path: [int(part) if part.isdigit() else part for part in _parts(path.name)])


def _parts(name: str) -> list[str]:
    return re.split(r"(\d+)", name)
