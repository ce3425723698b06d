from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file
from tests.training.model.shapes import CLASSES, tiny_config
from torchvision.models import resnet18, resnet50

from videocups.model.backbone import FeaturePyramid, ResNetBody, scaled
from videocups.model.config import BackboneConfig
from videocups.model.load import initialize_backbone
from videocups.model.network import PanopticNetwork
from videocups.train.checkpoint import Progressed, save_checkpoint


@pytest.mark.parametrize(("kind", "build"), [("resnet18", resnet18), ("resnet50", resnet50)])
def test_is_torchvisions_resnet(kind, build):
    torch.manual_seed(0)
    other = build(weights=None).eval()
    body = ResNetBody(BackboneConfig(kind)).eval()
    missing, extra = body.load_state_dict(other.state_dict(), strict=False)
    assert missing == []
    assert sorted(extra) == ["fc.bias", "fc.weight"]
    image = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        stem = other.maxpool(other.relu(other.bn1(other.conv1(image))))
        expected = [other.layer1(stem)]
        for layer in (other.layer2, other.layer3, other.layer4):
            expected.append(layer(expected[-1]))
        found = body(image)
    assert list(found) == ["c2", "c3", "c4", "c5"]
    assert tuple(field.shape[1] for field in found.values()) == body.channels
    for field, wanted in zip(found.values(), expected, strict=True):
        assert torch.equal(field, wanted)


@pytest.mark.parametrize("norm", ["batch", "frozen", "group"])
def test_narrow_bodies_and_the_pyramid(norm):
    body = ResNetBody(BackboneConfig("resnet18", width=0.25, norm=norm))
    assert body.channels == (16, 32, 64, 128)
    levels = FeaturePyramid(body.channels, 24)(body(torch.randn(1, 3, 64, 128)))
    assert {name: tuple(field.shape) for name, field in levels.items()} == {
        "p2": (1, 24, 16, 32),
        "p3": (1, 24, 8, 16),
        "p4": (1, 24, 4, 8),
        "p5": (1, 24, 2, 4),
        "p6": (1, 24, 1, 2),
    }
    kinds = {type(module).__name__ for module in body.modules() if "Norm" in type(module).__name__}
    assert kinds == {{"batch": "BatchNorm2d", "frozen": "FrozenBatchNorm2d", "group": "GroupNorm"}[norm]}


def test_widths_are_whole_eights():
    assert [scaled(64, width) for width in (1, 0.5, 0.3, 0.125)] == [64, 32, 16, 8]


@pytest.fixture
def network():
    return PanopticNetwork(tiny_config(), CLASSES)


def test_starts_from_weights_in_a_file(network, tmp_path):
    other = ResNetBody(BackboneConfig("resnet18", width=0.25))
    state = {name: value for name, value in other.state_dict().items() if "num_batches" not in name}
    save_file(state | {"fc.weight": torch.zeros(2, 2)}, tmp_path / "body.safetensors")
    initialize_backbone(network, tmp_path / "body.safetensors")
    assert all(torch.equal(network.backbone.state_dict()[name], value) for name, value in state.items())


@pytest.mark.parametrize("averaged", [False, True])
def test_starts_from_the_backbone_of_a_checkpoint(network, tmp_path, averaged):
    other = PanopticNetwork(tiny_config(), CLASSES)
    optimizer = torch.optim.AdamW(other.parameters())
    average = {name: value + 1 for name, value in other.state_dict().items()} if averaged else None
    save_checkpoint(tmp_path, "pretrain", {}, other, optimizer, Progressed(3, 3, average=average))
    before = network.fpn.state_dict()["pyramid.inner_blocks.0.0.weight"].clone()
    initialize_backbone(network, tmp_path)
    assert torch.equal(network.backbone.conv1.weight, other.backbone.conv1.weight + averaged)
    assert torch.equal(network.fpn.state_dict()["pyramid.inner_blocks.0.0.weight"], before), "only the body is taken"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("layer3.0.conv1.weight"), r"lacks layer3\.0\.conv1\.weight"),
        (lambda state: state.update({"conv1.weight": torch.zeros(64, 3, 7, 7)}), r"conv1\.weight is \(64, 3, 7, 7\)"),
    ],
)
def test_refuses_weights_of_another_body(network, tmp_path, change, message):
    state = dict(ResNetBody(BackboneConfig("resnet18", width=0.25)).state_dict())
    change(state)
    save_file(state, tmp_path / "body.safetensors")
    with pytest.raises(ValueError, match=message):
        initialize_backbone(network, tmp_path / "body.safetensors")


def test_refuses_what_is_no_safetensors(network, tmp_path):
    (tmp_path / "body.pth").write_bytes(b"\x80\x04 not weights")
    with pytest.raises(ValueError, match="cannot be read as safetensors"):
        initialize_backbone(network, tmp_path / "body.pth")
