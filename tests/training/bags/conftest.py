"""Real recordings made on the spot: through ``rosbags``, and record by record where it cannot write what is needed."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import lz4.frame
import numpy as np
import pytest
from backports import zstd

from videocups.bags.messages import CAMERA_INFO, COMPRESSED_IMAGE, IMAGE, encode, new, new_header, ros2_types
from videocups.bags.writer import new_bag
from videocups_core.encodings import encode_image, row_step

T0 = 1_700_000_000_000_000_000
PERIOD = 100_000_000
TOPIC = "/cam/image_raw"


class Recordings:
    """Make messages and recordings."""

    t0 = T0
    period = PERIOD
    topic = TOPIC

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def rgb(self, index: int, height: int = 24, width: int = 32) -> np.ndarray:
        """A picture that differs for every index and survives JPEG."""
        rows, columns = np.mgrid[:height, :width]
        plane = (rows * 3 + columns * 2 + index * 11) % 200
        return np.stack([plane, plane[::-1], np.full_like(plane, (index * 40) % 200)], axis=-1).astype(np.uint8)

    def image(self, index: int, *, encoding: str = "rgb8", stamp: int | None = None, height: int = 24, width: int = 32):
        rgb = self.rgb(index, height, width)
        return new(
            IMAGE,
            header=new_header(T0 + index * PERIOD if stamp is None else stamp, "cam_optical"),
            height=height,
            width=width,
            encoding=encoding,
            is_bigendian=0,
            step=row_step(encoding, width),
            data=np.frombuffer(encode_image(rgb, encoding), np.uint8),
        )

    def jpeg(self, index: int, data: bytes, format: str = "jpeg"):
        header = new_header(T0 + index * PERIOD, "cam_optical")
        return new(COMPRESSED_IMAGE, header=header, format=format, data=np.frombuffer(data, np.uint8))

    def camera_info(self, height: int = 24, width: int = 32, *, d=(), tx: float = 0.0, frame: str = "cam_optical"):
        k = [30.0, 0, width / 2 - 0.5, 0, 31.0, height / 2 - 0.5, 0, 0, 1]
        p = [29.0, 0, k[2], tx, 0, 29.0, k[5], 0, 0, 0, 1, 0]
        roi = new("sensor_msgs/msg/RegionOfInterest", x_offset=0, y_offset=0, height=0, width=0, do_rectify=False)
        return new(
            CAMERA_INFO,
            header=new_header(T0, frame),
            height=height,
            width=width,
            distortion_model="plumb_bob",
            d=np.array(d, np.float64),
            k=np.array(k, np.float64),
            r=np.eye(3).ravel(),
            p=np.array(p, np.float64),
            binning_x=0,
            binning_y=0,
            roi=roi,
        )

    def odometry(self, stamp: int, speed: float):
        def vector(x=0.0):
            return new("geometry_msgs/msg/Vector3", x=x, y=0.0, z=0.0)

        pose = new(
            "geometry_msgs/msg/Pose",
            position=new("geometry_msgs/msg/Point", x=0.0, y=0.0, z=0.0),
            orientation=new("geometry_msgs/msg/Quaternion", x=0.0, y=0.0, z=0.0, w=1.0),
        )
        twist = new("geometry_msgs/msg/Twist", linear=vector(speed), angular=vector())
        return new(
            "nav_msgs/msg/Odometry",
            header=new_header(stamp, "odom"),
            child_frame_id="base",
            pose=new("geometry_msgs/msg/PoseWithCovariance", pose=pose, covariance=np.zeros(36)),
            twist=new("geometry_msgs/msg/TwistWithCovariance", twist=twist, covariance=np.zeros(36)),
        )

    def bag(self, name: str, messages, *, storage: str = "mcap") -> Path:
        """Write [(topic, log time, message object)]; the log time of an image is its stamp plus 7 ns."""
        path = self.folder / name
        with new_bag(path, storage=storage) as writer:
            for topic, log_ns, message in messages:
                writer.write(topic, log_ns, message)
        return path

    def images(self, count: int, *, topic: str = TOPIC, first: int = 0, **options):
        return [(topic, T0 + i * PERIOD + 7, self.image(i, **options)) for i in range(first, first + count)]

    def storage_file(self, bag: Path) -> Path:
        return next(path for path in bag.iterdir() if path.suffix in (".mcap", ".db3"))

    def mcap(self, name: str, topics, messages, **options) -> Path:
        """Write a bare .mcap: topics {name: (type, schema encoding, schema text)}, messages [(topic, ns, bytes)]."""
        path = self.folder / name
        path.write_bytes(mcap_bytes(topics, messages, **options))
        return path

    def image_topics(self, *names: str):
        text = ros2_types().generate_msgdef(IMAGE, ros_version=2)[0]
        return dict.fromkeys(names or (TOPIC,), (IMAGE, "ros2msg", text))

    def raw(self, count: int, *, topic: str = TOPIC):
        return [(topic, T0 + i * PERIOD + 7, bytes(encode(self.image(i)))) for i in range(count)]


def _text(value: str) -> bytes:
    data = value.encode()
    return struct.pack("<I", len(data)) + data


def _record(opcode: int, body: bytes) -> bytes:
    return struct.pack("<BQ", opcode, len(body)) + body


PACK = {"": lambda data: data, "zstd": zstd.compress, "lz4": lz4.frame.compress}
MAGIC = b"\x89MCAP0\r\n"


def mcap_bytes(
    topics, messages, *, compression: str | None = "", per_chunk: int = 3, finish: bool = True, wire: str = "cdr"
) -> bytes:
    """Write the container from its specification. ``compression=None``: no chunks at all."""
    ids = {name: number for number, name in enumerate(topics, 1)}
    head = b""
    for name, (kind, encoding, text) in topics.items():
        head += _record(0x03, struct.pack("<H", ids[name]) + _text(kind) + _text(encoding) + _text(text))
        head += _record(0x04, struct.pack("<HH", ids[name], ids[name]) + _text(name) + _text(wire) + b"\0\0\0\0")
    out = bytearray(MAGIC + _record(0x01, _text("ros2") + _text("test")))
    records = [
        (ids[topic], ns, _record(0x05, struct.pack("<HIQQ", ids[topic], 0, ns, ns) + data))
        for topic, ns, data in messages
    ]
    index = b""
    if compression is None:
        out += head + b"".join(record for _, _, record in records)
    else:
        for start in range(0, len(records), per_chunk):
            part = records[start : start + per_chunk]
            plain = (head if start == 0 else b"") + b"".join(record for _, _, record in part)
            first, last = min(ns for _, ns, _ in part), max(ns for _, ns, _ in part)
            packed = PACK[compression](plain)
            body = struct.pack("<QQQI", first, last, len(plain), zlib.crc32(plain)) + _text(compression)
            chunk = _record(0x06, body + struct.pack("<Q", len(packed)) + packed)
            offsets = b"".join(struct.pack("<HQ", number, 0) for number in sorted({number for number, _, _ in part}))
            entry = struct.pack("<QQQQ", first, last, len(out), len(chunk)) + struct.pack("<I", len(offsets)) + offsets
            entry += struct.pack("<Q", 0) + _text(compression) + struct.pack("<QQ", len(packed), len(plain))
            index += _record(0x08, entry)
            out += chunk
    if not finish:
        return bytes(out)
    out += _record(0x0F, struct.pack("<I", 0))
    summary_start = len(out)
    counts = {number: sum(1 for other, _, _ in records if other == number) for number in ids.values()}
    table = b"".join(struct.pack("<HQ", *item) for item in counts.items())
    times = [ns for _, ns, _ in records] or [0]
    chunks = (index and -(-len(records) // per_chunk)) or 0
    statistics = struct.pack(
        "<QHIIIIQQI", len(records), len(ids), len(ids), 0, 0, chunks, min(times), max(times), len(table)
    )
    out += head + index + _record(0x0B, statistics + table)
    return bytes(out + _record(0x02, struct.pack("<QQI", summary_start, 0, 0)) + MAGIC)


@pytest.fixture
def recordings(tmp_path: Path) -> Recordings:
    return Recordings(tmp_path)
