"""Write a stream of images, and of their panoptic frames, as clips; what is on disk is always whole."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from videocups_core.clip import ClipInfo, ClipSource, frame_name, write_atomically, write_clip_info
from videocups_core.panoptic.storage import PanopticClipWriter
from videocups_core.types import CameraModel, ClassInfo, PanopticFrame

JPEG_QUALITY = 95
SAVE_EVERY = 50  # frames; a killed recorder loses the entries of so many, never the clip


@dataclass(frozen=True)
class RecordingOptions:
    """How a stream is cut into clips."""

    out: Path
    name: str = "clip"
    max_frames: int = 1000
    max_gap_s: float = 1.0  # a longer pause begins a new clip
    topic: str = ""


@dataclass(frozen=True)
class _Content:
    """What must stay the same within a clip; a track means the same thing only within one epoch of one model."""

    size: tuple[int, int]
    camera_name: str
    classes: tuple[ClassInfo, ...]
    track_epoch: int


@dataclass
class _OpenClip:
    folder: Path
    content: _Content
    camera: CameraModel | None
    panoptic: PanopticClipWriter | None
    stamps_ns: list[int] = field(default_factory=list)
    is_torn: bool = False


class ClipRecorder:
    """Call ``add`` for every image in order; ``finish`` closes the last clip. One thread."""

    def __init__(self, options: RecordingOptions) -> None:
        self.options = options
        self.clips: list[Path] = []
        self.frames = 0
        self._open: _OpenClip | None = None
        options.out.mkdir(parents=True, exist_ok=True)

    def add(
        self,
        rgb: NDArray[np.uint8],
        stamp_ns: int,
        camera_name: str,
        camera: CameraModel | None = None,
        panoptic: PanopticFrame | None = None,
        classes: tuple[ClassInfo, ...] = (),
    ) -> None:
        """Append a frame; ``classes`` are those of ``panoptic``.

        OSError where the disk does not take it; the frames before it stay a whole clip.
        """
        content = _Content(
            size=(rgb.shape[1], rgb.shape[0]),
            camera_name=camera_name or "camera",
            classes=classes if panoptic is not None else (),
            track_epoch=panoptic.track_epoch if panoptic is not None else 0,
        )
        if camera is not None and (camera.width, camera.height) != content.size:
            camera = None
        clip = self._open
        if clip is None or not self._continues(clip, content, stamp_ns):
            self.finish()
            clip = self._open = self._begin(content, camera)
        clip.camera = clip.camera or camera
        index = len(clip.stamps_ns)
        picture = cv2.imencode(".jpg", rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1]
        path = clip.folder / "frames" / f"{frame_name(index)}.jpg"
        try:
            write_atomically(path, picture.tobytes())
            if clip.panoptic is not None and panoptic is not None:
                clip.panoptic.append(panoptic)
        except OSError:
            path.unlink(missing_ok=True)  # a picture without its labels would shift the rest
            clip.is_torn = True
            raise
        clip.stamps_ns.append(stamp_ns)
        self.frames += 1
        if len(clip.stamps_ns) % SAVE_EVERY == 0:
            self._save(clip)

    def finish(self) -> None:
        """Close the clip in hand; a clip without frames leaves no folder."""
        clip, self._open = self._open, None
        if clip is None:
            return
        if not clip.stamps_ns:
            if clip.panoptic is not None:
                clip.panoptic.abort()
            shutil.rmtree(clip.folder, ignore_errors=True)
            return
        self.clips.append(clip.folder)
        if clip.panoptic is not None and clip.is_torn:
            clip.panoptic.abort()  # its journal stays readable up to the last whole row
        elif clip.panoptic is not None:
            clip.panoptic.close()
        self._save(clip)

    def _continues(self, clip: _OpenClip, content: _Content, stamp_ns: int) -> bool:
        if clip.content != content or not clip.stamps_ns:
            return clip.content == content
        gap_s = (stamp_ns - clip.stamps_ns[-1]) * 1e-9
        return 0 < gap_s <= self.options.max_gap_s and len(clip.stamps_ns) < self.options.max_frames

    def _begin(self, content: _Content, camera: CameraModel | None) -> _OpenClip:
        number = 0
        while (folder := self.options.out / f"{self.options.name}_{number:03d}").exists():
            number += 1
        (folder / "frames").mkdir(parents=True)
        panoptic = PanopticClipWriter(folder, content.classes) if content.classes else None
        return _OpenClip(folder, content, camera, panoptic)

    def _save(self, clip: _OpenClip) -> None:
        source = ClipSource(path="live", topic=self.options.topic)
        info = ClipInfo(
            name=clip.folder.name,
            camera_name=clip.content.camera_name,
            width=clip.content.size[0],
            height=clip.content.size[1],
            stamps_ns=tuple(clip.stamps_ns),
            camera=clip.camera,
            source=source,
        )
        write_clip_info(clip.folder, info)
