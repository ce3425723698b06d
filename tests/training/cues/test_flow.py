from __future__ import annotations

import cv2
import numpy as np
import pytest

from videocups.cues.flow import DisFlow, DisFlowConfig, flow_pair, visible, warp, warp_labels


def textured(height=96, width=160, seed=0):
    noise = np.random.default_rng(seed).integers(0, 255, (height, width, 3)).astype(np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), 2.5)


@pytest.mark.parametrize("config", [DisFlowConfig(), DisFlowConfig(preset="fast"), DisFlowConfig(upscale=2.0)])
def test_dis_finds_a_known_shift_both_ways(config):
    first = textured()
    second = np.roll(first, (2, 5), axis=(0, 1))  # content moves 5 px right, 2 px down
    pair = flow_pair(DisFlow(config), first, second)
    inner = (slice(16, -16), slice(16, -16))
    np.testing.assert_allclose(np.median(pair.forward_px[inner], axis=(0, 1)), [5, 2], atol=0.2)
    np.testing.assert_allclose(np.median(pair.backward_px[inner], axis=(0, 1)), [-5, -2], atol=0.2)
    assert pair.visible_forward[inner].mean() > 0.95


def test_pixels_that_leave_the_image_or_do_not_come_back_are_not_visible():
    forward = np.zeros((4, 10, 2), np.float32)
    forward[..., 0] = 3
    backward = -forward
    backward[2] = 4  # row 2 comes back somewhere else: |3 + 4|² and 4² against .01 (9 + 32) + .5
    seen = visible(forward, backward)
    assert seen.tolist() == [[x < 7 and y != 2 for x in range(10)] for y in range(4)]


def test_warp_fetches_from_the_target():
    field = np.arange(12, dtype=np.float32).reshape(3, 4)
    flow = np.zeros((3, 4, 2), np.float32)
    flow[..., 0] = 0.5
    assert warp(field, flow)[1].tolist() == [4.5, 5.5, 6.5, 7.0]  # the edge repeats


def test_label_warp_takes_the_nearest_and_zero_outside():
    labels = np.arange(1, 13, dtype=np.int32).reshape(3, 4)
    flow = np.zeros((3, 4, 2), np.float32)
    flow[..., 0], flow[..., 1] = 1.4, -1.0
    assert warp_labels(labels, flow).tolist() == [[0, 0, 0, 0], [2, 3, 4, 0], [6, 7, 8, 0]]


def test_frames_of_two_sizes_are_refused():
    with pytest.raises(ValueError, match="one size"):
        DisFlow().flow_px(textured(64, 64), textured(64, 80))
