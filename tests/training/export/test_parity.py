from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.training.export.micro import HEIGHT, WIDTH, micro_network

from videocups.export.parity import compare_outputs, measure_parity
from videocups.export.torch_engine import TorchEngine
from videocups.export.views import open_views
from videocups.model.classes import ClassTable
from videocups.model.network import PanopticNetwork
from videocups.model.static_network import StaticNetwork
from videocups.train.network_engine import NetworkEngine
from videocups_core.bundle import write_bundle
from videocups_core.engine.base import InputSpec, RawOutputs
from videocups_core.engine.onnx import OnnxConfig, OnnxEngine

SPEC = InputSpec(HEIGHT, WIDTH)


def noisy_images(count: int = 4) -> list[np.ndarray]:
    return open_views(None, None, count).network_images(SPEC, count)


def test_the_three_faces_are_one_network(network: PanopticNetwork, graph_path: Path, tmp_path: Path) -> None:
    bundle = write_bundle(
        tmp_path, graph_path.read_bytes(), model_id="micro", classes=network.classes.bundle_classes, input=SPEC
    )
    exported = OnnxEngine(bundle, OnnxConfig("cpu", threads=1))
    exported.load()
    training = NetworkEngine(network, SPEC)
    for other in (TorchEngine(network, SPEC), exported):
        parity = measure_parity(training, other, noisy_images())
        assert parity.complaints == []
        assert parity.detections > 20
        assert parity.unmatched == 0
        assert parity.box_px <= 1e-2
        assert parity.mask_iou >= 0.999
        assert parity.embedding <= 1e-3
        assert parity.semantic <= 1e-4
    info = exported.describe()
    assert info.precision == "fp32"
    assert "semantic_score" in info.outputs


def test_scores_of_stuff_are_the_same_probability(network: PanopticNetwork) -> None:
    image = noisy_images(1)[0]
    fine = NetworkEngine(network, SPEC).infer(image).semantic_score
    coarse = TorchEngine(network, SPEC).infer(image).semantic_score
    assert fine is not None
    assert coarse is not None
    assert coarse.shape == (HEIGHT // 4, WIDTH // 4)
    blocks = fine.reshape(HEIGHT // 4, 4, WIDTH // 4, 4).mean(axis=(1, 3))  # what lies between the coarse points
    assert np.abs(blocks - coarse).mean() < 8


def test_the_score_of_stuff_is_its_part_of_the_softmax(network: PanopticNetwork) -> None:
    static = StaticNetwork(network, HEIGHT, WIDTH)
    with torch.no_grad():
        features = static._features(torch.from_numpy(noisy_images(1)[0]))
        _, found = static._stuff(features)
        wanted = torch.softmax(network.semantic_head(features), dim=1)[0, 1:].amax(dim=0)
    assert (found.float() - 255 * wanted).abs().max() < 0.51
    assert wanted.max() - wanted.min() > 0.2


@pytest.mark.parametrize("ids", [(0, 1, 2, 3, 4), (2, 3, 4, 5, 6), (0, 2, 3, 5, 6)])
def test_stuff_is_named_by_its_class(ids: tuple[int, ...]) -> None:
    network = micro_network()
    stuff, things = network.classes.stuff, network.classes.things
    rest = sorted(set(range(7)) - set(ids))
    infos = [replace(info, class_id=index) for info, index in zip((*stuff, *things), (*ids, *rest), strict=True)]
    network.classes = ClassTable.of(infos)
    indices = torch.tensor([[0, 1, 2], [4, 3, 0]])
    named = StaticNetwork(network, HEIGHT, WIDTH)._stuff_ids(indices)
    assert named.dtype == torch.uint8
    assert named.tolist() == [[ids[index] for index in row] for row in indices.tolist()]


def test_a_stride_keeps_the_class_map_but_for_edges(network: PanopticNetwork) -> None:
    image = torch.from_numpy(noisy_images(1)[0])
    with torch.no_grad():
        fine = StaticNetwork(network, HEIGHT, WIDTH)(image)[0].numpy()
        coarse = StaticNetwork(network, HEIGHT, WIDTH, semantic_stride=2)(image)[0].numpy()
    assert coarse.shape == (HEIGHT // 2, WIDTH // 2)
    assert (coarse.repeat(2, 0).repeat(2, 1) == fine).mean() > 0.9


@pytest.mark.parametrize(
    ("size", "stride", "message"),
    [((60, 128), 1, "multiples of 32, got 60x128; the nearest is 64x128"), ((64, 128), 3, "1, 2 or 4, got 3")],
)
def test_impossible_wishes(network: PanopticNetwork, size: tuple[int, int], stride: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        StaticNetwork(network, *size, stride)


@pytest.fixture(scope="module")
def answer(network: PanopticNetwork) -> RawOutputs:
    """What the network says of a frame, with both thing classes among the detections."""
    raw = NetworkEngine(network, SPEC).infer(noisy_images(1)[0])
    return replace(raw, classes=np.arange(len(raw.scores)) % 2 + 5)


def test_the_order_of_detections_and_padding_do_not_count(answer: RawOutputs) -> None:
    order = np.random.default_rng(0).permutation(len(answer.scores))
    names = ("masks", "boxes", "scores", "classes", "embeddings")
    shuffled: dict[str, Any] = {name: getattr(answer, name)[order] for name in names}
    padded = {name: np.concatenate([rows, np.zeros_like(rows[:3])]) for name, rows in shuffled.items()}
    parity = compare_outputs(answer, replace(answer, **padded))
    assert (parity.complaints, parity.unmatched, parity.box_px, parity.embedding) == ([], 0, 0, 0)
    assert parity.mask_iou == 1


def test_a_mask_value_rounded_the_other_way_is_a_tie(answer: RawOutputs) -> None:
    masks = np.where((answer.masks > 0) & (answer.masks % 2 == 0), answer.masks - 1, answer.masks).astype(np.uint8)
    assert ((masks >= 128) != (answer.masks >= 128)).any() or not (answer.masks == 128).any()
    assert compare_outputs(answer, replace(answer, masks=masks)).mask_iou == 1


@pytest.mark.parametrize(
    ("name", "change", "complaint"),
    [
        ("boxes", lambda values: values + np.float32(0.02), "boxes differ by 0.02 px"),
        ("boxes", lambda values: values + np.float32(3), "detections differ"),
        ("scores", lambda values: values * np.float32(0.5), "scores differ"),
        ("classes", lambda values: np.where(values == values.max(), values.min(), values.max()), "detections differ"),
        ("masks", lambda values: 255 - values, "masks have an IoU of 0.0000"),
        ("masks", lambda values: np.where(values > 125, values - 3, values).astype(np.uint8), "masks have an IoU of"),
        ("embeddings", lambda values: values + np.float32(0.002), "embeddings differ by 0.002"),
        ("semantic", lambda values: np.roll(values, 1, axis=1), "of the semantic map differs"),
    ],
)
def test_every_difference_is_noticed(answer: RawOutputs, name: str, change: Any, complaint: str) -> None:
    other = replace(answer, **{name: change(getattr(answer, name))})
    assert any(complaint in text for text in compare_outputs(answer, other).complaints)
