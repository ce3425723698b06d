"""A rendered world as a clip folder, with the truth beside the frames.

truth/class/NNNNNN.png          8-bit class id
truth/track/NNNNNN.png          16-bit track id, 0 = stuff
truth/depth/NNNNNN.png          16-bit, metres = value / 256, 0 = sky; ends at 255.996 m
truth/flow/NNNNNN.png           to the next frame; 16-bit, R = u·64 + 32768, G = v·64 + 32768, B = valid
truth/flow_backward/NNNNNN.png  to the previous frame
truth/occlusion/NNNNNN.png      8-bit: 1 = not visible in the next frame, 2 = not in the previous one, 3 = in neither
truth/truth.json                classes, poses, moving tracks
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from videocups.synthetic.world import World, WorldFrame
from videocups_core.clip import ClipInfo, ClipSource, frame_name, write_clip_info

TRUTH = "truth"
DEPTH_STEPS_PER_M = 256.0
FLOW_STEPS_PER_PX = 64.0
FLOW_ZERO = 32768.0
JPEG_QUALITY = 95
AXES = "camera_to_world: 4x4; camera x right, y down, z forward; world x east, y north, z up; metres"


@dataclass(frozen=True)
class Truth:
    """The truth of one frame as it is read back from a clip.

    ``class_map`` (H, W) uint8, ``track_map`` (H, W) uint16, ``depth_m`` (H, W) float32 with 0 in the sky,
    ``flow_fw_px`` and ``flow_bw_px`` (H, W, 2) float32, NaN where they cannot be coded, ``occluded_*`` (H, W) bool.
    """

    class_map: NDArray[np.uint8]
    track_map: NDArray[np.uint16]
    depth_m: NDArray[np.float32]
    flow_fw_px: NDArray[np.float32]
    flow_bw_px: NDArray[np.float32]
    occluded_fw: NDArray[np.bool_]
    occluded_bw: NDArray[np.bool_]
    camera_to_world: NDArray[np.float64]
    moving_tracks: tuple[int, ...]


def write_clip(
    world: World,
    folder: Path | str,
    progress: Callable[[int, int], None] | None = None,
    *,
    image_suffix: str = ".jpg",
) -> Path:
    """Render ``world`` into a new clip; it appears whole or not at all. ``progress`` gets frames done and in all."""
    target = Path(folder)
    if target.exists():
        raise FileExistsError(f"{target} exists; give another folder or remove it")
    if image_suffix not in (".jpg", ".png"):
        raise ValueError(f"image_suffix must be .jpg or .png, got {image_suffix!r}")
    target.parent.mkdir(parents=True, exist_ok=True)
    staging = target.with_name(f".{target.name}.{os.getpid()}.partial")
    shutil.rmtree(staging, ignore_errors=True)
    try:
        _fill(world, staging, target.name, image_suffix, progress)
        staging.rename(target)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return target


def _fill(
    world: World, folder: Path, name: str, image_suffix: str, progress: Callable[[int, int], None] | None
) -> None:
    poses: list[list[list[float]]] = []
    moving: dict[str, list[int]] = {}
    for index in range(len(world)):
        frame = world.frame(index)
        _write_frame(folder, frame, image_suffix)
        poses.append(frame.camera_to_world.tolist())
        moving[str(index)] = list(frame.moving_tracks)
        if progress is not None:
            progress(index + 1, len(world))
    table = {
        "classes": {str(info.class_id): info.name for info in world.classes},
        "thing_classes": [info.class_id for info in world.classes if info.is_thing],
        "colors_rgb": {str(info.class_id): list(info.color_rgb) for info in world.classes},
        "axes": AXES,
        "camera_to_world": poses,
        "moving_tracks": moving,
        "config": asdict(world.config),
    }
    (folder / TRUTH / "truth.json").write_text(json.dumps(table) + "\n")
    write_clip_info(folder, _clip_info(world, name, image_suffix))


def _clip_info(world: World, name: str, image_suffix: str) -> ClipInfo:
    frames = range(len(world))
    return ClipInfo(
        name=name,
        camera_name="camera",
        width=world.camera.width,
        height=world.camera.height,
        stamps_ns=tuple(world.stamp_ns(index) for index in frames),
        camera=world.camera,
        source=ClipSource(path=f"synthetic:seed={world.config.seed}"),
        stereo_baseline_m=world.config.stereo_baseline_m or None,
        ego_speed_mps=tuple(round(world.ego_speed_mps(index), 4) for index in frames),
        image_suffix=image_suffix,
    )


def _write_frame(folder: Path, frame: WorldFrame, image_suffix: str) -> None:
    def write(kind: str, image: NDArray[Any], suffix: str = ".png") -> None:
        path = folder / kind / (frame_name(frame.index) + suffix)
        path.parent.mkdir(parents=True, exist_ok=True)
        options = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY] if suffix == ".jpg" else [cv2.IMWRITE_PNG_COMPRESSION, 1]
        if not cv2.imwrite(str(path), image, options):
            raise OSError(f"cannot write {path}; is the disk full?")

    write("frames", frame.rgb[:, :, ::-1], image_suffix)
    if frame.right_rgb is not None:
        write("frames_right", frame.right_rgb[:, :, ::-1], image_suffix)
    write(f"{TRUTH}/class", frame.class_map)
    write(f"{TRUTH}/track", frame.track_map)
    write(f"{TRUTH}/depth", encode_depth(frame.depth_m))
    write(f"{TRUTH}/flow", encode_flow(frame.flow_fw_px))
    write(f"{TRUTH}/flow_backward", encode_flow(frame.flow_bw_px))
    write(f"{TRUTH}/occlusion", frame.occluded_fw.astype(np.uint8) + 2 * frame.occluded_bw.astype(np.uint8))


def encode_depth(depth_m: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Return 16-bit depth: metres · 256, 0 = sky; what is nearer than half a step stays 1."""
    steps = np.clip(np.rint(depth_m * DEPTH_STEPS_PER_M), 1, 65_535)
    return np.asarray(np.where(depth_m > 0, steps, 0), dtype=np.uint16)


def encode_flow(flow_px: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Return flow (H, W, 2) in KITTI's coding as (H, W, 3) in OpenCV's order: valid, v, u."""
    steps = np.rint(flow_px * np.float32(FLOW_STEPS_PER_PX) + np.float32(FLOW_ZERO))
    valid = np.all(np.isfinite(steps) & (steps >= 0) & (steps <= 65_535), axis=2)
    coded = np.zeros((*valid.shape, 3), dtype=np.uint16)
    coded[valid, 0] = 1
    coded[valid, 1:] = steps[valid][:, ::-1].astype(np.uint16)
    return coded


def decode_flow(coded: NDArray[np.uint16]) -> NDArray[np.float32]:
    """Return flow (H, W, 2) from KITTI's coding in OpenCV's order; NaN where it is not valid."""
    flow = (coded[:, :, :0:-1].astype(np.float32) - np.float32(FLOW_ZERO)) / np.float32(FLOW_STEPS_PER_PX)
    flow[coded[:, :, 0] == 0] = np.nan
    return flow


def read_truth(folder: Path | str, index: int) -> Truth:
    """Read the truth of frame ``index`` of a rendered clip."""
    root = Path(folder) / TRUTH
    table_path = root / "truth.json"
    if not table_path.is_file():
        raise FileNotFoundError(f"{folder} holds no truth ({table_path.name}); make clips with 'videocups render'")
    table = json.loads(table_path.read_text())
    if not 0 <= index < len(table["camera_to_world"]):
        raise IndexError(f"frame must be in 0..{len(table['camera_to_world']) - 1}, got {index}")

    def read(kind: str) -> NDArray[Any]:
        path = root / kind / (frame_name(index) + ".png")
        image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        if image is None:
            raise FileNotFoundError(f"cannot read {path}; the file is missing or damaged")
        return np.asarray(image)

    occlusion = read("occlusion")
    return Truth(
        class_map=read("class"),
        track_map=read("track"),
        depth_m=read("depth").astype(np.float32) / np.float32(DEPTH_STEPS_PER_M),
        flow_fw_px=decode_flow(read("flow")),
        flow_bw_px=decode_flow(read("flow_backward")),
        occluded_fw=(occlusion & 1) > 0,
        occluded_bw=(occlusion & 2) > 0,
        camera_to_world=np.array(table["camera_to_world"][index]),
        moving_tracks=tuple(table["moving_tracks"][str(index)]),
    )
