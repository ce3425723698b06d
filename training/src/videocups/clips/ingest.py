"""Cut one source into clips: decode and encode in threads, decide in order, write clips that appear whole."""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from videocups.clips.cutting import CutConfig, Cutter, StampFilter, thumbnail_of
from videocups.clips.frames import FrameImage, FrameSource, SourceError, SourceFrame
from videocups.clips.geometry import Geometry, geometry_of
from videocups.clips.report import IngestReport
from videocups.clips.store import LEFT, RIGHT, ClipStore, PendingClip
from videocups.progress import Progress
from videocups_core.clip import ClipInfo, ClipSource

FORMAT_VERSION = 1  # raised when the same source and options give other files
JPEG, PNG = ".jpg", ".png"
MAX_THREADS = 4


@dataclass(frozen=True)
class StoreConfig:
    """How frames are stored."""

    # JPEG quality, 1..100.
    jpeg_quality: int = 95
    # Store PNG, without loss.
    png: bool = False
    # Take lens distortion out (and rectify a stereo pair).
    undistort: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.jpeg_quality <= 100:
            raise ValueError(f"--quality must be in 1..100, got {self.jpeg_quality}")


@dataclass(frozen=True)
class _Decoded:
    """A frame with its pixels; ``error`` says why there are none."""

    frame: SourceFrame
    images: tuple[NDArray[np.uint8], ...] = ()
    thumbnail: NDArray[np.uint8] | None = None
    error: str = ""


def ingest(
    source: FrameSource, out: Path, cut: CutConfig, keep: StoreConfig, *, overwrite: bool = False, threads: int = 0
) -> IngestReport:
    """Cut ``source`` into clips below ``out``; does nothing where that was done before with the same options."""
    options = _options(source, cut, keep)
    store = ClipStore(out, ingest_key(source, cut, keep))
    if (entry := store.finished()) is not None:
        report = IngestReport(source.name, entry["clips"], entry["frames"], damage=entry["damage"], was_done=True)
        report.skipped.update(entry["skipped"])
        report.broken.update(entry["broken"])
        return report
    store.clear_way(source.name, overwrite=overwrite)
    begin = time.monotonic()
    try:
        report = _Run(source, store, cut, keep, options, threads or min(MAX_THREADS, os.cpu_count() or 1)).run()
        if not report.clips:
            raise SourceError(_why_nothing(source, report, cut))
        store.finish(report)
    finally:
        store.discard()
    report.seconds = time.monotonic() - begin
    return report


class _Run:
    """The state of one source being cut."""

    def __init__(
        self,
        source: FrameSource,
        store: ClipStore,
        cut: CutConfig,
        keep: StoreConfig,
        options: dict[str, Any],
        threads: int,
    ) -> None:
        self.source, self.store, self.cut, self.keep, self.options = source, store, cut, keep, options
        self.report = IngestReport(source.name, notes=source.notes)
        self.geometry: Geometry | None = None
        self.threads = threads
        self.pool = ThreadPoolExecutor(threads, thread_name_prefix="ingest")
        self.pending: PendingClip | None = None
        self.stamps: list[int] = []
        self.writes: deque[Future[None]] = deque()
        self.numbers = 0
        self.causes: dict[str, str] = {}

    def run(self) -> IngestReport:
        """Go through the source once."""
        cutter = Cutter(self.cut)
        with (
            self.pool,
            Progress(f"ingest {self.source.name}", total=self.source.total, unit=self.source.unit) as progress,
        ):
            try:
                for decoded in self._decoded():
                    progress.update(decoded.frame.position)
                    if not decoded.error:
                        self._take(decoded, cutter)
                    else:
                        self.report.broken[self._cause(decoded.error)] += 1
                self._close_clip()
            except BaseException:
                self.pool.shutdown(cancel_futures=True)
                raise
        self.report.skipped.update(self.source.skipped)
        self.report.broken.update(self.source.broken)
        self.report.damage = list(self.source.damage)
        if 1 < self.report.frames < 2 * len(self.report.clips):
            self.report.notes.append(
                f"most clips have one frame: stamps lie more than {self.cut.gap_ns / 1e9:g} s apart; raise --max-gap"
            )
        return self.report

    def _cause(self, error: str) -> str:
        """Return the first error of this kind: messages that differ in numbers only are one cause."""
        return self.causes.setdefault(re.sub(r"\d+", "#", error), error)

    def _decoded(self) -> Iterator[_Decoded]:
        """Decode ahead in the pool; results come in order, and only a few images are held at a time."""
        filtered = StampFilter(self.cut)
        ahead: deque[Future[_Decoded]] = deque()
        for frame in self.source.frames():
            if cause := filtered.reject(frame.stamp_ns):
                self.report.skipped[cause] += 1
                continue
            if self.geometry is None:
                first = self._decode(frame)  # sets the geometry that all later frames must have
                yield first
                continue
            ahead.append(self.pool.submit(self._decode, frame))
            if len(ahead) > self.threads:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()

    def _decode(self, frame: SourceFrame) -> _Decoded:
        payloads = (frame.image,) if frame.right is None else (frame.image, frame.right)
        try:
            images = tuple(payload.decode() for payload in payloads)
        except ValueError as error:
            return _Decoded(frame, error=str(error))
        sizes = tuple((image.shape[1], image.shape[0]) for image in images)
        if self.geometry is None:
            self.geometry = geometry_of(self.source, sizes, undistort=self.keep.undistort)
            if self.source.calibration is not None and self.geometry.camera is None:
                self.report.notes.append(f"{self.source.calibration.origin} is empty: clips have no intrinsics")
        if sizes != (self.geometry.size_px,) * len(images):
            return _Decoded(frame, error=f"image of another size than the first ({sizes[-1][0]}×{sizes[-1][1]} px)")
        images = self.geometry.apply(images)
        thumbnail = thumbnail_of(images[0]) if self.cut.min_motion > 0 else None
        return _Decoded(frame, images, thumbnail)

    def _take(self, decoded: _Decoded, cutter: Cutter) -> None:
        cause, begins = cutter.place(decoded.frame.stamp_ns, decoded.thumbnail)
        if cause:
            self.report.skipped[cause] += 1
            return
        if begins:
            self._close_clip()
            name = self._clip_name()
            if not self.store.has(name):
                self.pending = self.store.new_clip(name, stereo=decoded.frame.right is not None)
        index = len(self.stamps)
        self.stamps.append(decoded.frame.stamp_ns)
        if self.pending:
            self._write(self.pending, index, decoded)

    def _write(self, pending: PendingClip, index: int, decoded: _Decoded) -> None:
        payloads = (decoded.frame.image, decoded.frame.right)
        for kind, payload, image in zip((LEFT, RIGHT), payloads, decoded.images, strict=False):
            if payload is not None:
                self.writes.append(self.pool.submit(self._encode, pending, kind, index, payload, image))
        while len(self.writes) > 2 * self.threads:
            self.writes.popleft().result()

    def _encode(
        self, pending: PendingClip, kind: str, index: int, payload: FrameImage, image: NDArray[np.uint8]
    ) -> None:
        untouched = self.geometry is not None and self.geometry.is_identity
        if untouched and payload.original is not None and payload.suffix == self._suffix:
            data: bytes | memoryview = payload.original()  # no generation is lost
        else:
            data = encode_frame(image, self.keep)
        pending.write_image(kind, index, self._suffix, data)

    def _close_clip(self) -> None:
        """Finish the clip that is open, or throw it away where it is too short."""
        while self.writes:
            self.writes.popleft().result()
        stamps, self.stamps = tuple(self.stamps), []
        pending, self.pending = self.pending, None
        if not stamps:
            return
        if len(stamps) < self.cut.min_frames:
            self.report.skipped[f"clip shorter than {self.cut.min_frames} frames"] += len(stamps)
            if pending:
                pending.drop()
            return
        name = self._clip_name()
        if pending:
            pending.finish(self._info(name, stamps), self.options)
        self.numbers += 1
        self.report.clips.append(name)
        self.report.frames += len(stamps)

    def _info(self, name: str, stamps: tuple[int, ...]) -> ClipInfo:
        source, geometry = self.source, self.geometry
        assert geometry is not None  # a clip has frames, and the first frame sets it
        return ClipInfo(
            name=name,
            camera_name=source.camera_name,
            width=geometry.size_px[0],
            height=geometry.size_px[1],
            stamps_ns=stamps,
            camera=geometry.camera,
            source=ClipSource(str(source.path.resolve()), source.sha256, source.topic),
            stereo_baseline_m=geometry.baseline_m,
            ego_speed_mps=source.speeds_at(stamps),
            image_suffix=self._suffix,
        )

    def _clip_name(self) -> str:
        return f"{self.source.name}_{self.numbers:04d}"

    @property
    def _suffix(self) -> str:
        return PNG if self.keep.png else JPEG


def encode_frame(rgb: NDArray[np.uint8], keep: StoreConfig) -> bytes:
    """Return an image as the bytes of a JPEG or PNG file."""
    image_bgr = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
    settings = [cv2.IMWRITE_PNG_COMPRESSION, 1] if keep.png else [cv2.IMWRITE_JPEG_QUALITY, keep.jpeg_quality]
    done, data = cv2.imencode(PNG if keep.png else JPEG, image_bgr, settings)
    if not done:
        raise SourceError(f"cannot encode an image of {rgb.shape[1]}×{rgb.shape[0]} px; use --png or a smaller image")
    return data.tobytes()


def ingest_key(source: FrameSource, cut: CutConfig, keep: StoreConfig) -> str:
    """Return what identifies a source that is cut this way; its clips carry it in ``ingest.json``."""
    content = [FORMAT_VERSION, source.name, source.camera_name, source.sha256, _options(source, cut, keep)]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _options(source: FrameSource, cut: CutConfig, keep: StoreConfig) -> dict[str, Any]:
    return {"cut": asdict(cut), "store": asdict(keep), **source.identity}


def _why_nothing(source: FrameSource, report: IngestReport, cut: CutConfig) -> str:
    causes = "; ".join(f"{count} × {cause}" for cause, count in (report.broken + report.skipped).most_common(3))
    lost = f" ({'; '.join(report.damage[:2])})" if report.damage else ""
    if not causes:
        where = f"topic {source.topic} of {source.path}" if source.topic else str(source.path)
        return f"{where} holds no frame in the time asked for{lost}; check the topic, --start and --end"
    if any(cause.startswith("clip shorter") for cause in report.skipped):
        causes += f"; raise --max-gap (now {cut.gap_ns / 1e9:g} s) or lower --min-frames"
    return f"no clip could be cut from {source.path}{lost}: {causes}"
