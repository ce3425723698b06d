"""Write a stream of images, and of their panoptic frames, as clips; what is on disk is always whole."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
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


@dataclass
class _OpenClip:
    folder: Path
    camera_name: str
    size: tuple[int, int]
    camera: CameraModel | None
    panoptic: PanopticClipWriter | None
    stamps_ns: list[int] = field(default_factory=list)
    is_torn: bool = False


class ClipRecorder:
    """Call ``add`` for every image in order; ``finish`` closes the last clip. One thread."""

    def __init__(self, options: RecordingOptions, classes: Sequence[ClassInfo] | None = None) -> None:
        """``classes``: given when panoptic frames are recorded along."""
        self.options = options
        self.clips: list[Path] = []
        self.frames = 0
        self._classes = classes
        self._open: _OpenClip | None = None
        options.out.mkdir(parents=True, exist_ok=True)

    def add(
        self,
        rgb: NDArray[np.uint8],
        stamp_ns: int,
        camera_name: str,
        camera: CameraModel | None = None,
        panoptic: PanopticFrame | None = None,
    ) -> None:
        """Append a frame. OSError where the disk does not take it; the frames before it stay a whole clip."""
        size = (rgb.shape[1], rgb.shape[0])
        if camera is not None and (camera.width, camera.height) != size:
            camera = None
        clip = self._open
        if clip is None or not self._continues(clip, size, stamp_ns, camera_name):
            self.finish()
            clip = self._open = self._begin(size, camera_name, camera)
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

    def _continues(self, clip: _OpenClip, size: tuple[int, int], stamp_ns: int, camera_name: str) -> bool:
        if not clip.stamps_ns:
            return clip.size == size and clip.camera_name == camera_name
        gap_s = (stamp_ns - clip.stamps_ns[-1]) * 1e-9
        same_camera = clip.size == size and clip.camera_name == camera_name
        return same_camera and 0 < gap_s <= self.options.max_gap_s and len(clip.stamps_ns) < self.options.max_frames

    def _begin(self, size: tuple[int, int], camera_name: str, camera: CameraModel | None) -> _OpenClip:
        number = 0
        while (folder := self.options.out / f"{self.options.name}_{number:03d}").exists():
            number += 1
        (folder / "frames").mkdir(parents=True)
        panoptic = PanopticClipWriter(folder, self._classes) if self._classes else None
        return _OpenClip(folder, camera_name or "camera", size, camera, panoptic)

    def _save(self, clip: _OpenClip) -> None:
        source = ClipSource(path="live", topic=self.options.topic)
        info = ClipInfo(
            name=clip.folder.name,
            camera_name=clip.camera_name,
            width=clip.size[0],
            height=clip.size[1],
            stamps_ns=tuple(clip.stamps_ns),
            camera=clip.camera,
            source=source,
        )
        write_clip_info(clip.folder, info)
