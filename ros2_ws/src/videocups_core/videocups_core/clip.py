"""A clip on disk: a folder with numbered frames and ``clip.json``.

clip/
  clip.json                 what was recorded: stamps, camera, source
  frames/000000.jpg …       the images, left camera of a stereo pair
  frames_right/000000.jpg … only for stereo
  truth/ flow/ depth/ …     what stages and renderers add, beside the frames
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from videocups_core.types import CameraModel

CLIP_FILE = "clip.json"
SCHEMA_VERSION = 1


@dataclass(frozen=True)
class ClipSource:
    """Where a clip came from: the recording, its hash and the topic."""

    path: str
    sha256: str = ""
    topic: str = ""


@dataclass(frozen=True)
class ClipInfo:
    """The content of ``clip.json``.

    ``stamps_ns``: one per frame, strictly increasing. ``camera``: None when the recording has no calibration.
    ``stereo_baseline_m``: set when ``frames_right`` exists. ``ego_speed_mps``: one per frame, or empty.
    """

    name: str
    camera_name: str
    width: int
    height: int
    stamps_ns: tuple[int, ...]
    camera: CameraModel | None = None
    source: ClipSource | None = None
    stereo_baseline_m: float | None = None
    ego_speed_mps: tuple[float, ...] = ()
    image_suffix: str = ".jpg"
    schema_version: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        if any(later <= earlier for earlier, later in zip(self.stamps_ns, self.stamps_ns[1:], strict=False)):
            raise ValueError(f"stamps of clip {self.name!r} must increase strictly")
        if self.ego_speed_mps and len(self.ego_speed_mps) != len(self.stamps_ns):
            raise ValueError(
                f"clip {self.name!r} has {len(self.stamps_ns)} frames but {len(self.ego_speed_mps)} ego speeds"
            )
        if self.camera and (self.camera.width, self.camera.height) != (self.width, self.height):
            raise ValueError(
                f"clip {self.name!r} is {self.width}×{self.height} px but its calibration is for "
                f"{self.camera.width}×{self.camera.height}"
            )

    def __len__(self) -> int:
        return len(self.stamps_ns)


def frame_name(index: int) -> str:
    """Return the stem every artefact of frame ``index`` is filed under."""
    return f"{index:06d}"


class Clip:
    """A clip folder opened for reading; artefacts of stages are found with ``path``."""

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self.info = read_clip_info(self.folder)

    def __len__(self) -> int:
        return len(self.info)

    def path(self, kind: str, index: int, suffix: str) -> Path:
        """Return where artefact ``kind`` of frame ``index`` lies, e.g. ``path('panoptic', 3, '.png')``."""
        return self.folder / kind / (frame_name(index) + suffix)

    def frame_rgb(self, index: int, *, right: bool = False) -> NDArray[np.uint8]:
        """Read one frame as (H, W, 3) uint8 RGB."""
        path = self.path("frames_right" if right else "frames", index, self.info.image_suffix)
        return read_rgb(path)


def read_rgb(path: Path) -> NDArray[np.uint8]:
    """Read an image file as (H, W, 3) uint8 RGB, as the sensor saw it: an EXIF orientation would belie K."""
    image_bgr = cv2.imread(str(path), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if image_bgr is None:
        raise FileNotFoundError(f"cannot read image {path}; the file is missing or damaged")
    return np.asarray(cv2.cvtColor(image_bgr, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def find_clips(folder: Path | str) -> list[Path]:
    """Return the clip folders at or below ``folder``, sorted; a folder that is a clip is its own list."""
    root = Path(folder)
    if (root / CLIP_FILE).is_file():
        return [root]
    below = (path.parent.relative_to(root) for path in root.rglob(CLIP_FILE))
    # What lies under a hidden folder is still being made.
    found = sorted(root / path for path in below if not any(part.startswith(".") for part in path.parts))
    if not found:
        raise FileNotFoundError(f"no clip ({CLIP_FILE}) at or below {root}; make clips with 'videocups ingest'")
    return found


def read_clip_info(folder: Path) -> ClipInfo:
    """Read and validate ``clip.json``."""
    path = folder / CLIP_FILE
    if not path.is_file():
        raise FileNotFoundError(f"{folder} is no clip: it has no {CLIP_FILE}; make clips with 'videocups ingest'")
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        version = raw["schema_version"]
        if version != SCHEMA_VERSION:
            raise ValueError(f"it has schema_version {version}, this program reads {SCHEMA_VERSION}")
        return _info_from_json(raw)
    except KeyError as error:
        raise ValueError(f"{path} cannot be used: it lacks {error}; ingest the recording again") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} cannot be used: {error}; ingest the recording again") from error


def _info_from_json(raw: dict[str, Any]) -> ClipInfo:
    fields: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in raw.items()}
    if fields.get("camera") is not None:
        camera = fields["camera"]
        fields["camera"] = CameraModel(**{**camera, "k": tuple(camera["k"]), "distortion": tuple(camera["distortion"])})
    if fields.get("source") is not None:
        fields["source"] = ClipSource(**fields["source"])
    if not all(isinstance(stamp, int) for stamp in fields["stamps_ns"]):
        raise ValueError("stamps_ns must be whole nanoseconds")
    return ClipInfo(**fields)


def write_clip_info(folder: Path, info: ClipInfo) -> None:
    """Write ``clip.json`` atomically; a reader sees the old file or the new one, never half."""
    text = json.dumps(asdict(info), indent=1) + "\n"
    write_atomically(folder / CLIP_FILE, text.encode())


def write_atomically(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path`` through a temporary file, fsync and rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:  # a full disk must not leave halves behind
        temporary.unlink(missing_ok=True)
