"""The torch engines' copies: they change no answer, here and, where there is a GPU, there."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import pytest
import torch
from tests.training.export.micro import HEIGHT, WIDTH

from videocups.export.parity import compare_outputs
from videocups.export.torch_engine import TorchEngine, download
from videocups.export.views import open_views
from videocups.model.network import PanopticNetwork
from videocups.train.network_engine import NetworkEngine
from videocups_core.engine.base import InputSpec

SPEC = InputSpec(HEIGHT, WIDTH)


def test_what_comes_down_is_what_was_there() -> None:
    values = [torch.arange(6).reshape(2, 3), torch.tensor([0.5, -1.0]), torch.zeros(0, 4)]
    for array, value in zip(download(values), values, strict=True):
        assert array.shape == tuple(value.shape)
        np.testing.assert_array_equal(array, value.numpy())


def test_a_picture_that_is_no_block_of_memory_is_the_same_picture(network: PanopticNetwork) -> None:
    (image,) = open_views(None, None, 1).network_images(SPEC, 1)
    mirrored = image[:, :, ::-1]
    assert not mirrored.flags.c_contiguous
    engine = TorchEngine(network, SPEC)
    np.testing.assert_array_equal(engine.infer(mirrored).boxes, engine.infer(mirrored.copy()).boxes)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
@pytest.mark.parametrize("kind", [NetworkEngine, TorchEngine])
def test_a_gpu_says_what_the_cpu_says(network: PanopticNetwork, kind: type[NetworkEngine]) -> None:
    images = open_views(None, None, 3).network_images(SPEC, 3)
    here = [kind(network, SPEC).infer(image) for image in images]
    engine = kind(deepcopy(network).cuda(), SPEC)
    there = [engine.infer(image) for image in images]  # all of them first: the first answers must stay what they are
    for one, other in zip(here, there, strict=True):
        parity = compare_outputs(one, other)
        assert parity.unmatched <= 2
        assert parity.box_px < 0.5
        assert parity.semantic < 0.01
