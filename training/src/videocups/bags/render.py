"""Write a synthetic street as a recording: camera, ground truth, odometry, as a vehicle would have recorded it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from videocups.bags.messages import CAMERA_INFO, COMPRESSED_IMAGE, IMAGE, new, new_header
from videocups.bags.panoptic_messages import image_message, label_message
from videocups.bags.recording import BagError
from videocups.bags.writer import new_bag
from videocups.progress import track
from videocups.synthetic.config import WorldConfig
from videocups.synthetic.world import World, WorldFrame
from videocups_core.encodings import encode_image, row_step
from videocups_core.types import CameraModel

MAP, BASE, OPTICAL, RIGHT_OPTICAL = "map", "base_link", "camera_optical_frame", "camera_right_optical_frame"
STEREO_BASELINE_M = 0.54
MODEL_ID = "ground-truth"
# Columns: where base_link's axes (x forward, y left, z up) point in the optical frame (x right, y down, z forward).
OPTICAL_FROM_BASE = np.array([[0.0, -1.0, 0.0], [0.0, 0.0, -1.0], [1.0, 0.0, 0.0]])
Stamped = tuple[str, Any, bool]  # topic, message, latched


@dataclass(frozen=True)
class RenderOptions:
    """What to render and how to record it."""

    frames: int = 60
    seed: int = 0
    # Image size, WIDTHxHEIGHT in px.
    size: str = "512x256"
    fps: float = 10.0
    jpeg: bool = False
    encoding: str = "rgb8"
    quality: int = 95
    stereo: bool = False
    clock: bool = False
    # Also depth, class and track images.
    truth: bool = True

    def world_config(self) -> WorldConfig:
        """Return the config of the world."""
        match = re.fullmatch(r"(\d+)x(\d+)", self.size)
        if match is None:
            raise BagError(f"--size must be WIDTHxHEIGHT such as 512x256, got {self.size!r}")
        return WorldConfig(
            seed=self.seed,
            num_frames=self.frames,
            fps=self.fps,
            width=int(match.group(1)),
            height=int(match.group(2)),
            stereo_baseline_m=STEREO_BASELINE_M if self.stereo else 0.0,
        )


def render_bag(out: Path, options: RenderOptions, *, storage: str = "mcap") -> int:
    """Render a world into a new recording; returns the number of messages."""
    config = options.world_config()
    row_step(options.encoding, config.width)  # an unknown encoding ends here, before anything is made
    if not 1 <= options.quality <= 100:
        raise BagError(f"--quality must be in 1..100, got {options.quality}")
    world = World(config)
    with new_bag(out, storage=storage) as writer:
        for topic, message, latched in _once(world):
            writer.write(topic, world.stamp_ns(0), message, latched=latched)
        for index in track(range(options.frames), "render", unit="frames"):
            for topic, message, latched in _frame_messages(world, world.frame(index), options):
                writer.write(topic, world.stamp_ns(index), message, latched=latched)
        return writer.count


def _once(world: World) -> Iterator[Stamped]:
    stamp = world.stamp_ns(0)
    transforms = [_transform(stamp, BASE, OPTICAL, np.zeros(3), OPTICAL_FROM_BASE.T)]
    if world.config.stereo_baseline_m:
        aside = np.array([0.0, -world.config.stereo_baseline_m, 0.0])
        transforms.append(_transform(stamp, BASE, RIGHT_OPTICAL, aside, OPTICAL_FROM_BASE.T))
    yield "/tf_static", new("tf2_msgs/msg/TFMessage", transforms=transforms), True
    yield "/truth/labels", label_message(stamp, world.classes, model_id=MODEL_ID), True


def _frame_messages(world: World, frame: WorldFrame, options: RenderOptions) -> Iterator[Stamped]:
    stamp, camera = frame.stamp_ns, world.camera
    if options.clock:
        yield "/clock", new("rosgraph_msgs/msg/Clock", clock=new_header(stamp, "").stamp), False
    position = frame.camera_to_world[:3, 3]
    base_rotation = frame.camera_to_world[:3, :3] @ OPTICAL_FROM_BASE
    moving = _transform(stamp, MAP, BASE, position, base_rotation)
    yield "/tf", new("tf2_msgs/msg/TFMessage", transforms=[moving]), False
    yield "/odom", _odometry(moving, world.ego_speed_mps(frame.index)), False
    yield from _camera("/camera", OPTICAL, stamp, frame.rgb, camera, options, 0.0)
    if frame.right_rgb is not None:
        baseline = world.config.stereo_baseline_m
        yield from _camera("/camera_right", RIGHT_OPTICAL, stamp, frame.right_rgb, camera, options, baseline)
    if options.truth:
        header = new_header(stamp, OPTICAL)
        yield "/truth/depth", image_message(header, frame.depth_m), False
        yield "/truth/class", image_message(header, frame.class_map), False
        yield "/truth/track", image_message(header, frame.track_map), False


def _camera(
    namespace: str,
    frame_id: str,
    stamp: int,
    rgb: NDArray[np.uint8],
    camera: CameraModel,
    options: RenderOptions,
    offset_m: float,
) -> Iterator[Stamped]:
    header = new_header(stamp, frame_id)
    yield f"{namespace}/camera_info", camera_info_message(header, camera, offset_m), False
    if options.jpeg:
        settings = [cv2.IMWRITE_JPEG_QUALITY, options.quality]
        data = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), settings)[1].ravel()
        message = new(COMPRESSED_IMAGE, header=header, format="rgb8; jpeg compressed bgr8", data=data)
        yield f"{namespace}/image_raw/compressed", message, False
        return
    height, width = rgb.shape[:2]
    message = new(
        IMAGE,
        header=header,
        height=height,
        width=width,
        encoding=options.encoding,
        is_bigendian=0,
        step=row_step(options.encoding, width),
        data=np.frombuffer(encode_image(rgb, options.encoding), np.uint8),
    )
    yield f"{namespace}/image_raw", message, False


def camera_info_message(header: Any, camera: CameraModel, offset_m: float = 0.0) -> Any:
    """Make a CameraInfo of an undistorted camera that stands ``offset_m`` to the right of the left one."""
    projection = np.hstack([camera.matrix(), [[-camera.fx * offset_m], [0.0], [0.0]]])
    roi = new("sensor_msgs/msg/RegionOfInterest", x_offset=0, y_offset=0, height=0, width=0, do_rectify=False)
    return new(
        CAMERA_INFO,
        header=header,
        height=camera.height,
        width=camera.width,
        distortion_model="plumb_bob",
        d=np.zeros(5),
        k=camera.matrix().ravel(),
        r=np.eye(3).ravel(),
        p=projection.ravel(),
        binning_x=0,
        binning_y=0,
        roi=roi,
    )


def _transform(stamp: int, parent: str, child: str, position: NDArray[Any], rotation: NDArray[Any]) -> Any:
    x, y, z = map(float, position)
    transform = new(
        "geometry_msgs/msg/Transform",
        translation=new("geometry_msgs/msg/Vector3", x=x, y=y, z=z),
        rotation=_quaternion(rotation),
    )
    header = new_header(stamp, parent)
    return new("geometry_msgs/msg/TransformStamped", header=header, child_frame_id=child, transform=transform)


def _odometry(moving: Any, speed_mps: float) -> Any:
    place, turn = moving.transform.translation, moving.transform.rotation
    position = new("geometry_msgs/msg/Point", x=place.x, y=place.y, z=place.z)
    pose = new("geometry_msgs/msg/Pose", position=position, orientation=turn)
    linear = new("geometry_msgs/msg/Vector3", x=float(speed_mps), y=0.0, z=0.0)
    angular = new("geometry_msgs/msg/Vector3", x=0.0, y=0.0, z=0.0)
    twist = new("geometry_msgs/msg/Twist", linear=linear, angular=angular)
    return new(
        "nav_msgs/msg/Odometry",
        header=moving.header,
        child_frame_id=moving.child_frame_id,
        pose=new("geometry_msgs/msg/PoseWithCovariance", pose=pose, covariance=np.zeros(36)),
        twist=new("geometry_msgs/msg/TwistWithCovariance", twist=twist, covariance=np.zeros(36)),
    )


def _quaternion(rotation: NDArray[Any]) -> Any:
    x, y, z, w = map(float, Rotation.from_matrix(rotation).as_quat())
    return new("geometry_msgs/msg/Quaternion", x=x, y=y, z=z, w=w)
