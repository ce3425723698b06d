"""An image topic of a recording, or a stereo pair of topics, as a source of frames."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from videocups.bags.camera_info import camera_name, find_calibration, image_topics
from videocups.bags.messages import COMPRESSED_IMAGE, MessageError, decode, stamp_ns
from videocups.bags.odometry import SpeedTrack, read_speeds
from videocups.bags.reader import METADATA_FILE, open_bag
from videocups.bags.recording import BagError, Message
from videocups.clips.calibration import Calibration, read_calibration
from videocups.clips.frames import FrameImage, SourceFrame
from videocups.clips.source_hash import source_sha256
from videocups_core.encodings import decode_compressed, decode_image

NS = 1_000_000_000
JPEG_START = b"\xff\xd8"
MAX_UNPAIRED = 16  # images held while their partner is awaited


@dataclass(frozen=True)
class BagOptions:
    """What to read from a bag, and how."""

    topic: str | None = None
    name: str = ""
    camera_info_topic: str | None = None
    calibration: Path | None = None
    stereo_topic: str | None = None
    stereo_camera_info_topic: str | None = None
    stereo_tolerance_s: float = 0.005
    baseline_m: float | None = None
    odometry_topic: str | None = None
    # Seconds from the beginning of the recording, or since 1970 where above a billion.
    start_s: float | None = None
    end_s: float | None = None
    # Take the time of recording where the driver leaves the header stamp zero or wrong.
    recorded_stamps: bool = False


class BagImages:
    """See ``FrameSource``."""

    unit = "s of recording"

    def __init__(self, path: Path, options: BagOptions) -> None:
        self.path = path
        self._options = options
        self._bag = open_bag(path)
        try:
            self._prepare(options)
        except BaseException:
            self._bag.close()
            raise

    def _prepare(self, options: BagOptions) -> None:
        bag = self._bag
        self.topic = _chosen_topic(self.path, image_topics(bag), options.topic, [t.name for t in bag.topics])
        if bag.start_ns is None or bag.last_ns is None:
            lost = f" ({'; '.join(bag.damage.causes)})" if bag.damage else ""
            raise BagError(f"{self.path} holds no messages{lost}; record again or give another bag")
        self._window = window_ns(options.start_s, options.end_s, bag.start_ns)
        self._first_ns = max(self._window[0] or bag.start_ns, bag.start_ns)
        last_ns = min(self._window[1] or bag.last_ns, bag.last_ns)
        if last_ns < self._first_ns:
            span = (bag.last_ns - bag.start_ns) / NS
            raise BagError(f"the window asked for lies outside {self.path}, which lasts {span:.2f} s; check --start")
        self.total: float | None = (last_ns - self._first_ns) / NS
        self.is_stereo = options.stereo_topic is not None
        if options.stereo_topic is not None:
            _chosen_topic(self.path, image_topics(bag), options.stereo_topic, [t.name for t in bag.topics])
            if options.stereo_topic == self.topic:
                raise BagError(f"--topic and --stereo-topic are both {self.topic}; a stereo pair needs two cameras")
        self.calibration, self.right_calibration = self._calibrations()
        self._speeds = read_speeds(bag, options.odometry_topic, *self._window) if options.odometry_topic else None
        self.camera_name = camera_name(self.topic)
        self.name = options.name or f"{_stem(self.path)}_{self.camera_name}"
        self.sha256 = source_sha256(_source_files(self.path, options))
        chosen = {key: value for key, value in vars(options).items() if key not in ("name", "calibration")}
        self.identity: dict[str, Any] = {**chosen, "topic": self.topic}
        self.skipped: Counter[str] = Counter()
        self.broken: Counter[str] = Counter()
        self.notes = [*bag.notes]
        if self.calibration is None:
            self.notes.append(
                "no CameraInfo found: clips have no intrinsics; give --camera-info-topic or --calibration"
            )

    @property
    def damage(self) -> list[str]:
        """What of the recording could not be read."""
        return self._bag.damage.causes

    def frames(self) -> Iterator[SourceFrame]:
        """Yield the images of the window in the order they were recorded, pairs where there is a stereo topic."""
        right = self._options.stereo_topic
        if right is None:
            for message, stamp, image in self._images({self.topic}):
                yield SourceFrame(stamp, image, (message.log_ns - self._first_ns) / NS)
            return
        tolerance_ns = round(self._options.stereo_tolerance_s * NS)
        for pair in paired(self._images({self.topic, right}), self.topic, tolerance_ns, self.skipped):
            (message, stamp, image), (_, _, other) = pair
            yield SourceFrame(stamp, image, (message.log_ns - self._first_ns) / NS, other)

    def speeds_at(self, stamps_ns: Sequence[int]) -> tuple[float, ...]:
        """Return the speed from the odometry topic at every stamp."""
        track: SpeedTrack | None = self._speeds
        return track.at(stamps_ns) if track else ()

    def close(self) -> None:
        """Close the recording."""
        self._bag.close()

    def _images(self, topics: set[str]) -> Iterator[tuple[Message, int, FrameImage]]:
        for message in self._bag.messages(topics, *self._window):
            try:
                content = decode(message)
            except MessageError:
                self.broken["damaged message"] += 1
                continue
            stamp = message.log_ns if self._options.recorded_stamps else stamp_ns(content)
            if stamp == 0:
                self.broken["no stamp in its header (--recorded-stamps takes the time of recording)"] += 1
                continue
            yield message, stamp, frame_image(content)

    def _calibrations(self) -> tuple[Calibration | None, Calibration | None]:
        options, start_ns = self._options, self._window[0]
        if options.calibration is not None:
            left: Calibration | None = read_calibration(options.calibration)
        else:
            left = find_calibration(self._bag, self.topic, options.camera_info_topic, start_ns)
        if options.stereo_topic is None:
            return left, None
        right = find_calibration(self._bag, options.stereo_topic, options.stereo_camera_info_topic, start_ns)
        if options.baseline_m is not None and (known := right or left) is not None:
            right = replace(known, baseline_m=options.baseline_m)
        return left, right


Stamped = tuple[Message, int, FrameImage]


def paired(
    images: Iterable[Stamped], left_topic: str, tolerance_ns: int, skipped: Counter[str]
) -> Iterator[tuple[Stamped, Stamped]]:
    """Pair left and right images whose stamps differ by no more than the tolerance; each camera's stamps grow."""
    waiting: dict[bool, list[Stamped]] = {True: [], False: []}
    for item in images:
        is_left = item[0].topic.name == left_topic
        others = waiting[not is_left]
        while others and others[0][1] < item[1] - tolerance_ns:  # no later image of this camera is nearer
            others.pop(0)
            skipped["no stereo partner"] += 1
        if others and abs(others[0][1] - item[1]) <= tolerance_ns:
            partner = others.pop(0)
            yield (item, partner) if is_left else (partner, item)
            continue
        waiting[is_left].append(item)
        if len(waiting[is_left]) > MAX_UNPAIRED:
            waiting[is_left].pop(0)
            skipped["no stereo partner"] += 1
    skipped["no stereo partner"] += sum(map(len, waiting.values()))
    skipped += Counter()  # drops a zero


def frame_image(content: Any) -> FrameImage:
    """Wrap an Image or CompressedImage message object; its pixels are decoded when they are wanted."""
    if content.__msgtype__ != COMPRESSED_IMAGE:
        return FrameImage(
            partial(
                decode_image,
                content.data,
                encoding=content.encoding,
                height=content.height,
                width=content.width,
                step=content.step,
                is_bigendian=bool(content.is_bigendian),
            )
        )
    data, described = memoryview(content.data), str(content.format)
    # Only a plain JPEG can be kept as it is: with exchanged channels or a colour mosaic inside, its file would lie.
    plain = bytes(data[:2]) == JPEG_START and "compressed rgb" not in described and "bayer" not in described
    original = (lambda: data) if plain else None
    return FrameImage(partial(decode_compressed, data, described), original, ".jpg" if plain else "")


def window_ns(start_s: float | None, end_s: float | None, first_ns: int) -> tuple[int | None, int | None]:
    """Return log times of a window given in seconds from the first message, or since 1970 (above a billion)."""
    if start_s is not None and end_s is not None and end_s <= start_s:
        raise BagError(f"--end {end_s:g} must be later than --start {start_s:g}")
    edges = [None if s is None else round(s * NS) + (0 if s > 1e9 else first_ns) for s in (start_s, end_s)]
    return edges[0], edges[1]


def _chosen_topic(path: Path, images: list[str], wanted: str | None, every: list[str]) -> str:
    there = ", ".join(images)
    if wanted is not None:
        if wanted in images:
            return wanted
        if wanted in every:
            raise BagError(f"{wanted} of {path} holds no images; image topics are: {there or 'none'}")
        raise BagError(f"{path} has no topic {wanted!r}; image topics are: {there or 'none'}")
    if len(images) == 1:
        return images[0]
    if not images:
        raise BagError(f"{path} has no image topic; it has: {', '.join(every) or 'no topic at all'}")
    raise BagError(f"{path} has {len(images)} image topics, choose one with --topic: {there}")


def _stem(path: Path) -> str:
    name = path.resolve().name
    for suffix in (".zstd", ".mcap", ".db3", ".bag"):
        name = name.removesuffix(suffix)
    return name


def _source_files(path: Path, options: BagOptions) -> list[Path]:
    inside = sorted(path.iterdir()) if path.is_dir() else [path]
    files = [file for file in inside if file.is_file() and file.name != METADATA_FILE]
    return [*files, *([options.calibration] if options.calibration else ())]
