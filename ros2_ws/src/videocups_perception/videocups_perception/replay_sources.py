"""What can be replayed: a bag (db3, mcap; folder or file) or a clip, as one sequence of serialized messages."""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import yaml
from rclpy.serialization import serialize_message
from rosbags.rosbag2 import Reader
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from videocups_core.clip import CLIP_FILE, Clip, read_rgb
from videocups_core.types import CameraModel
from videocups_perception.conversions import image_message

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

STORAGE_SUFFIXES = (".mcap", ".db3")
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
IMAGE_KINDS = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")
FRAME_ID = "camera"


class SourceError(ValueError):
    """A source that cannot be replayed; the message is one sentence."""


@dataclass(frozen=True)
class Channel:
    """A topic of the source; ``latched``: late subscribers must get its last message."""

    topic: str
    kind: str  # e.g. sensor_msgs/msg/Image
    latched: bool = False


@dataclass(frozen=True)
class Record:
    """One message as recorded: CDR bytes that nobody has decoded."""

    topic: str
    kind: str
    log_ns: int
    cdr: bytes

    def header_stamp_ns(self) -> int | None:
        """Return the stamp of a message that begins with a header, None where the bytes are too short."""
        if len(self.cdr) < 12:
            return None
        seconds, nanoseconds = struct.unpack_from("<iI" if self.cdr[1] & 1 else ">iI", self.cdr, 4)
        return int(seconds) * 1_000_000_000 + int(nanoseconds)


class Source(Protocol):
    """Something to replay."""

    channels: tuple[Channel, ...]

    def records(self, topics: frozenset[str], start_ns: int) -> Iterator[Record]:
        """Yield the records of ``topics`` from ``start_ns`` after the first one, by recording time."""


def open_source(path: Path, *, compressed: bool) -> Source:
    """Open a bag or a clip; ``compressed`` sends a clip's JPEG files as they are."""
    if not path.exists():
        raise SourceError(f"{path} does not exist; give a bag (folder, .mcap, .db3) or a clip folder")
    return ClipSource(path, compressed=compressed) if (path / CLIP_FILE).is_file() else BagSource(path)


class BagSource:
    """A rosbag2 recording. The storage files are read themselves: a stale or missing metadata.yaml hides nothing."""

    def __init__(self, path: Path) -> None:
        self._paths = storage_files(path)
        found: dict[str, Channel] = {}
        first_ns = []
        for storage in self._paths:
            with _opened(storage) as reader:
                for connection in reader.connections:
                    channel = Channel(connection.topic, connection.msgtype, _is_latched(connection))
                    found.setdefault(connection.topic, channel)
                if reader.message_count:
                    first_ns.append(reader.start_time)
        if not first_ns:
            raise SourceError(f"{path} holds no message; record it again, or salvage it with 'videocups bag cut'")
        self._first_ns = min(first_ns)
        found.pop("/clock", None)  # the replay has a clock of its own
        self.channels: tuple[Channel, ...] = tuple(found.values())

    def records(self, topics: frozenset[str], start_ns: int) -> Iterator[Record]:
        """Yield the records; SourceError where the file is damaged, after everything readable before it."""
        for path in self._paths:
            with _opened(path) as reader:
                wanted = [connection for connection in reader.connections if connection.topic in topics]
                if not wanted:
                    continue
                read = 0
                try:
                    for connection, log_ns, data in reader.messages(wanted, start=self._first_ns + start_ns):
                        yield Record(connection.topic, connection.msgtype, log_ns, _unpacked(bytes(data)))
                        read += 1
                except Exception as error:  # rosbags passes on what its storages raise: struct, zlib, apsw, its own
                    raise SourceError(
                        f"{path} is damaged ({error}); 'videocups bag cut' saves what can be read"
                    ) from error
                held = sum(connection.msgcount for connection in wanted)
                if start_ns == 0 and read != held:  # behind some kinds of damage the reader ends without a word
                    raise SourceError(
                        f"{path} is damaged: {read} of its {held} messages could be read; "
                        "'videocups bag cut' saves what can be read"
                    )


class ClipSource:
    """A clip folder: its frames and, where it is known, its calibration."""

    def __init__(self, path: Path, *, compressed: bool) -> None:
        self._clip = Clip(path)
        self._compressed = compressed
        name = "image/compressed" if compressed else "image"
        self._image = Channel(name, IMAGE_KINDS[1] if compressed else IMAGE_KINDS[0])
        self._info = Channel("camera_info", "sensor_msgs/msg/CameraInfo")
        known = self._clip.info.camera is not None
        self.channels: tuple[Channel, ...] = (self._image, self._info) if known else (self._image,)

    def records(self, topics: frozenset[str], start_ns: int) -> Iterator[Record]:
        """Yield image and calibration of every frame with its stamp."""
        info = self._clip.info
        for index, stamp_ns in enumerate(info.stamps_ns):
            if stamp_ns - info.stamps_ns[0] < start_ns:
                continue
            header = Header(frame_id=info.camera_name or FRAME_ID)
            header.stamp.sec, header.stamp.nanosec = divmod(stamp_ns, 1_000_000_000)
            if self._info.topic in topics and info.camera is not None:
                message = camera_info_message(header, info.camera)
                yield Record(self._info.topic, self._info.kind, stamp_ns, serialize_message(message))
            if self._image.topic in topics:
                yield Record(self._image.topic, self._image.kind, stamp_ns, self._serialized_image(header, index))

    def _serialized_image(self, header: Header, index: int) -> bytes:
        path = self._clip.path("frames", index, self._clip.info.image_suffix)
        message: Image | CompressedImage
        if self._compressed:
            message = CompressedImage(header=header, format=path.suffix.lstrip(".").replace("jpg", "jpeg"))
            message.data.frombytes(path.read_bytes())
        else:
            message = image_message(header, read_rgb(path), "rgb8")
        return bytes(serialize_message(message))


def camera_info_message(header: Header, camera: CameraModel) -> CameraInfo:
    """Return the calibration as a message."""
    message = CameraInfo(header=header, width=camera.width, height=camera.height)
    message.distortion_model = "plumb_bob" if camera.distortion_model == "none" else camera.distortion_model
    message.d = list(camera.distortion) or [0.0] * 5
    message.k = list(camera.k)
    message.r = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    message.p = [camera.fx, 0.0, camera.cx, 0.0, 0.0, camera.fy, camera.cy, 0.0, 0.0, 0.0, 1.0, 0.0]
    return message


def storage_files(path: Path) -> list[Path]:
    """Return the storage files of a bag in the order of their recording."""
    if path.is_file():
        return [path]
    compressed = [file for file in path.iterdir() if file.suffix == ".zstd"]
    if compressed:
        return [path]  # a bag compressed file by file; only its metadata says how
    present = {file.name: file for file in path.iterdir() if file.suffix in STORAGE_SUFFIXES}
    if not present:
        raise SourceError(f"{path} is neither a bag nor a clip: it has no .mcap, .db3 or {CLIP_FILE}")
    listed = [name for name in _listed_files(path / "metadata.yaml") if name in present]
    # A number at the end counts the splits of a recording: _2 comes before _10.
    rest = sorted(present.keys() - set(listed), key=lambda name: (len(name), name))
    return [present[name] for name in (*listed, *rest)]


def _listed_files(metadata: Path) -> list[str]:
    try:
        content = yaml.safe_load(metadata.read_text())
        return [Path(name).name for name in content["rosbag2_bagfile_information"]["relative_file_paths"]]
    except (OSError, ValueError, yaml.YAMLError, KeyError, TypeError):
        return []  # the storage files speak for themselves


class _opened:  # noqa: N801  used like a function
    """Open a storage file; SourceError where it is none."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> Reader:
        try:
            self._reader = Reader(self._path)
            self._reader.open()
        except Exception as error:  # as above: any of the storages' own
            raise SourceError(
                f"{self._path} cannot be read as a bag ({error}); 'videocups bag cut' saves what is whole in it"
            ) from error
        return self._reader

    def __exit__(self, *_: object) -> None:
        self._reader.close()


def _unpacked(data: bytes) -> bytes:
    """Return the CDR bytes of a message that the recorder may have compressed by itself.

    Only metadata.yaml knows of that, and it may be lost; but CDR begins with a zero byte and zstd never does.
    """
    return bytes(zstd.decompress(data)) if data.startswith(ZSTD_MAGIC) else data


def _is_latched(connection: Any) -> bool:
    profiles = getattr(connection.ext, "offered_qos_profiles", None) or ()
    offered = any("transient_local" in str(profile.durability).lower() for profile in profiles)
    return offered or connection.topic.endswith("tf_static")
