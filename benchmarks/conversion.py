"""1080p between messages and arrays, against one copy of the same bytes.

Run inside a ROS environment: python benchmarks/conversion.py
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

import numpy as np
from machine import machine
from ros_bench import world_images
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from videocups_core.encodings import encode_image
from videocups_perception.conversions import image_message, rgb_from_message
from videocups_perception.node_process import keep_large_buffers

ROUNDS = 40


def main() -> None:
    keep_large_buffers()  # as every node does
    print(f"machine: {machine()}, 1920x1080")
    rgb = world_images(1080, 1920, 1)[0]
    ids = np.arange(1080 * 1920, dtype=np.uint32).astype(np.uint16).reshape(1080, 1920)
    header = Header(frame_id="camera")
    message = image_message(header, rgb, "rgb8")
    if not np.array_equal(rgb_from_message(message), rgb) or not np.shares_memory(
        rgb_from_message(message), message.data
    ):
        raise SystemExit("rgb8 did not come back as a view on the same pixels")
    if bytes(image_message(header, ids, "16UC1").data) != ids.tobytes():
        raise SystemExit("16UC1 did not go out as the same bytes")
    bgr = image_message(header, np.ascontiguousarray(rgb[..., ::-1]), "rgb8")
    bgr.encoding = "bgr8"
    if not np.array_equal(rgb_from_message(bgr), rgb):
        raise SystemExit("bgr8 did not come back as the same pixels")
    nv12 = Image(header=header, encoding="nv12", height=1080, width=1920, step=1920)
    nv12.data.frombytes(encode_image(rgb, "nv12"))

    rounds = interleaved(
        {
            "copy rgb": lambda: rgb.copy(),
            "in rgb8": lambda: rgb_from_message(message),
            "in bgr8": lambda: rgb_from_message(bgr),
            "in nv12": lambda: rgb_from_message(nv12),
            "out rgb8": lambda: image_message(header, rgb, "rgb8"),
            "copy ids": lambda: ids.copy(),
            "out 16UC1": lambda: image_message(header, ids, "16UC1"),
        },
        ROUNDS,
    )
    for name, took_s in rounds.items():
        print(f"{name}: {took_s * 1e3:.3f} ms")
    flat = rgb.reshape(-1)
    assigned_s = interleaved({"assign": lambda: setattr(Image(), "data", flat)}, 3)["assign"]
    print(f"assigning the NumPy array instead: {assigned_s * 1e3:.0f} ms")
    ratio_in = rounds["in rgb8"] / rounds["copy rgb"]
    ratio_out = rounds["out rgb8"] / rounds["copy rgb"]
    ratio_ids = rounds["out 16UC1"] / rounds["copy ids"]
    print(
        f"of one copy: in rgb8 {ratio_in:.3f}, out rgb8 {ratio_out:.2f}, out 16UC1 {ratio_ids:.2f}; "
        f"out is {assigned_s / rounds['out rgb8']:.0f} times faster than assigning the array"
    )


def interleaved(functions: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median seconds of each function, measured in turn, so that the machine's moods hit all alike.

    An untimed call goes before each timed one: what the other functions left in the caches is no part of it.
    """
    took_s: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(rounds):
        for name, function in functions.items():
            result = function()
            del result
            start_s = time.perf_counter()
            result = function()
            took_s[name].append(time.perf_counter() - start_s)
            del result
    return {name: median(values) for name, values in took_s.items()}


if __name__ == "__main__":
    main()
