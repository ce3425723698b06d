"""Every block of an imported network against a computation straight from the foreign names.

The reference below is written from detectron2's documented architecture with plain functions: it shares no code with
the network, so that a wrong name, layout, stride, norm or order of channels shows as another number.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from videocups.model.imports.convert import convert
from videocups.model.imports.reading import ForeignWeights
from videocups.model.network import PanopticNetwork

MEAN, DEVIATION = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


class Reference:
    """detectron2's forward pass on a table of its names."""

    def __init__(self, table, *, stride_first=False):
        self.table = {name: torch.from_numpy(np.asarray(value)) for name, value in table.items()}
        self.stride_first = stride_first

    def conv(self, x, name, **options):
        return functional.conv2d(x, self.table[f"{name}.weight"], self.table.get(f"{name}.bias"), **options)

    def norm(self, x, name):
        mean, variance, weight, bias = (
            self.table[f"{name}.{part}"][None, :, None, None]
            for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / torch.sqrt(variance + 1e-5) * weight + bias

    def linear(self, x, name):
        return x @ self.table[f"{name}.weight"].T + self.table[f"{name}.bias"]

    def stem(self, images, prefix="backbone.bottom_up."):
        x = self.norm(self.conv(images, f"{prefix}stem.conv1", stride=2, padding=3), f"{prefix}stem.conv1.norm")
        return functional.max_pool2d(x.relu(), 3, stride=2, padding=1)

    def block(self, x, name, stride):
        one, three = (stride, 1) if self.stride_first else (1, stride)
        y = self.norm(self.conv(x, f"{name}.conv1", stride=one), f"{name}.conv1.norm").relu()
        y = self.norm(self.conv(y, f"{name}.conv2", stride=three, padding=1), f"{name}.conv2.norm").relu()
        y = self.norm(self.conv(y, f"{name}.conv3"), f"{name}.conv3.norm")
        if f"{name}.shortcut.weight" in self.table:
            x = self.norm(self.conv(x, f"{name}.shortcut", stride=stride), f"{name}.shortcut.norm")
        return (x + y).relu()

    def backbone(self, images, prefix="backbone.bottom_up."):
        x, found = self.stem(images, prefix), {}
        for stage, depth in enumerate((3, 4, 6, 3)):
            for index in range(depth):
                x = self.block(x, f"{prefix}res{stage + 2}.{index}", 2 if stage and index == 0 else 1)
            found[stage + 2] = x
        return found

    def pyramid(self, features):
        found, above = {}, None
        for level in (5, 4, 3, 2):
            name = f"backbone.fpn_lateral{level}"
            x = self.norm(self.conv(features[level], name), f"{name}.norm")
            if above is not None:
                x = x + above.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
            above, name = x, f"backbone.fpn_output{level}"
            found[f"p{level}"] = self.norm(self.conv(x, name, padding=1), f"{name}.norm")
        found["p6"] = found["p5"][:, :, ::2, ::2]
        return found

    def semantic(self, features):
        total = 0
        for level, count in ((2, 1), (3, 1), (4, 2), (5, 3)):
            x = features[f"p{level}"]
            for index in range(count):
                name = f"sem_seg_head.p{level}.{2 * index}"
                x = self.group_norm(self.conv(x, name, padding=1), f"{name}.norm").relu()
                if level > 2:
                    x = functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
            total = total + x
        return self.conv(total, "sem_seg_head.predictor")

    def group_norm(self, x, name):
        batch, channels, height, width = x.shape
        groups = x.reshape(batch, 32, -1)
        groups = (groups - groups.mean(2, keepdim=True)) / torch.sqrt(
            groups.var(2, unbiased=False, keepdim=True) + 1e-5
        )
        shape = (1, channels, 1, 1)
        weight, bias = (self.table[f"{name}.{part}"].reshape(shape) for part in ("weight", "bias"))
        return groups.reshape(batch, channels, height, width) * weight + bias


def imported(table, **options):
    tensors = {name: torch.from_numpy(np.array(value)) for name, value in table.items()}
    found = convert(ForeignWeights(tensors), **options)
    network = PanopticNetwork(found.config, found.classes)
    network.load_state_dict(found.state)
    return network.eval(), found


def close(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


@pytest.fixture(scope="module")
def panoptic(draw):
    """A small panoptic cascade, imported; its reference; an image and what either sees of it."""
    table = draw(things=5, stuff=3, semantic=64)
    network, found = imported(table)
    image = torch.randint(0, 256, (2, 3, 64, 96), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    reference = Reference(table)
    with torch.no_grad():
        seen = (image.float() - torch.tensor(MEAN)[:, None, None]) / torch.tensor(DEVIATION)[:, None, None]
        features = reference.pyramid(reference.backbone(seen))
    return network, found, reference, image, seen, features


@torch.no_grad()
def test_stem_and_residual_blocks(panoptic):
    network, _, reference, _, seen, _ = panoptic
    body = network.backbone
    stem = body.maxpool(body.relu(body.bn1(body.conv1(seen))))
    expected = reference.stem(seen)
    close(stem, expected)
    first = reference.block(expected, "backbone.bottom_up.res2.0", 1)
    close(body.layer1[0](stem), first)
    second = reference.block(first, "backbone.bottom_up.res2.1", 1)
    close(body.layer1[1](first), second)
    third = reference.block(second, "backbone.bottom_up.res2.2", 1)
    close(body.layer2[0](third), reference.block(third, "backbone.bottom_up.res3.0", 2))


@torch.no_grad()
def test_pyramid_with_its_norms_folded(panoptic):
    network, found, _, image, _, features = panoptic
    for name, field in network.features(image).items():
        close(field, features[name])
    assert any("batch norms of the pyramid" in note for note in found.report.notes)


@torch.no_grad()
def test_proposal_head(panoptic):
    network, _, reference, _, _, features = panoptic
    logits, deltas = network.rpn.head(features)
    start = 0
    for name in ("p2", "p3", "p4", "p5", "p6"):
        hidden = reference.conv(features[name], "proposal_generator.rpn_head.conv", padding=1).relu()
        objectness = reference.conv(hidden, "proposal_generator.rpn_head.objectness_logits")
        regression = reference.conv(hidden, "proposal_generator.rpn_head.anchor_deltas")
        batch, anchors, height, width = objectness.shape
        # (A, H, W) becomes rows, columns, anchors; of the 12 channels four in a row belong to one anchor
        expected = [
            (objectness[0, a, y, x], regression[0, 4 * a : 4 * a + 4, y, x])
            for y in range(height)
            for x in range(width)
            for a in range(anchors)
        ]
        end = start + len(expected)
        close(logits[0, start:end], torch.stack([pair[0] for pair in expected]))
        close(deltas[0, start:end], torch.stack([pair[1] for pair in expected]))
        start = end
    assert start == logits.shape[1]
    assert batch == 2


@torch.no_grad()
def test_box_heads_of_all_stages(panoptic):
    network, _, reference, *_ = panoptic
    pooled = torch.randn(4, 16, 7, 7, generator=torch.Generator().manual_seed(1))
    # channel after channel, row after row
    flat = torch.stack([pooled[:, c, y, x] for c in range(16) for y in range(7) for x in range(7)], dim=1)
    for stage in range(3):
        hidden = reference.linear(flat, f"roi_heads.box_head.{stage}.fc1").relu()
        hidden = reference.linear(hidden, f"roi_heads.box_head.{stage}.fc2").relu()
        logits, deltas = network.cascade.stage(stage, pooled)
        assert logits.shape == (4, 6)  # five things, background last on either side
        close(logits, reference.linear(hidden, f"roi_heads.box_predictor.{stage}.cls_score"))
        close(deltas, reference.linear(hidden, f"roi_heads.box_predictor.{stage}.bbox_pred"))


@torch.no_grad()
def test_mask_head_takes_the_mean_of_the_classes_logits(panoptic):
    network, found, reference, *_ = panoptic
    field = torch.randn(3, 16, 14, 14, generator=torch.Generator().manual_seed(2))
    masks = network.mask_head(field)
    for index in range(4):
        field = reference.conv(field, f"roi_heads.mask_head.mask_fcn{index + 1}", padding=1).relu()
    kernel, bias = (reference.table[f"roi_heads.mask_head.deconv.{part}"] for part in ("weight", "bias"))
    enlarged = torch.zeros(3, 16, 28, 28)
    for dy in range(2):
        for dx in range(2):  # stride 2 and a 2 × 2 kernel: no overlap
            enlarged[:, :, dy::2, dx::2] = torch.einsum("bihw,io->bohw", field, kernel[:, :, dy, dx])
    enlarged = (enlarged + bias[None, :, None, None]).relu()
    logits = reference.conv(enlarged, "roi_heads.mask_head.predictor")
    assert logits.shape[1] == 5
    close(masks, logits.mean(dim=1))
    assert any("masks of 5 classes" in note for note in found.report.notes)


@torch.no_grad()
def test_semantic_head(panoptic):
    network, found, reference, _, _, features = panoptic
    logits = network.semantic_head(features)
    assert logits.shape == (2, 4, 16, 24)  # "thing" and three kinds of stuff
    close(logits, reference.semantic(features))
    assert [info.is_thing for info in found.classes.bundle_classes] == [False] * 3 + [True] * 5


@torch.no_grad()
def test_bgr_weights_give_the_same_features_of_an_rgb_image(draw):
    table = draw(stuff=2)
    network, found = imported(table, bgr=True)
    image = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))
    # detectron2's zoo: BGR, the mean taken off, nothing divided
    seen = image.flip(1).float() - torch.tensor([103.53, 116.28, 123.675])[:, None, None]
    reference = Reference(table)
    small = 1 / 64  # the numbers are large there
    expected = reference.pyramid(reference.backbone(seen))["p3"]
    torch.testing.assert_close(network.features(image)["p3"] * small, expected * small, rtol=1e-3, atol=1e-3)
    assert "BGR" in found.report.notes[-1] + found.report.notes[0] + found.report.notes[1]


@torch.no_grad()
def test_weights_of_caffe_stride_in_the_first_convolution(draw):
    table = draw(stuff=2)
    seen = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(4))
    network, _ = imported(table, stride_first=True)
    theirs = Reference(table, stride_first=True).backbone(seen)
    for level, field in zip(range(2, 6), network.backbone(seen).values(), strict=True):
        close(field, theirs[level])
    otherwise = Reference(table).backbone(seen)[5]
    assert (otherwise - theirs[5]).abs().max() > 0.01


@torch.no_grad()
def test_a_backbone_alone(backbone_table):
    tensors = {name: torch.from_numpy(np.array(value)) for name, value in backbone_table.items()}
    found = convert(ForeignWeights(tensors, "MOCO"))
    assert found.classes is None
    assert (found.config.backbone.kind, found.config.backbone.width) == ("resnet50", 0.125)
    from videocups.model.backbone import ResNetBody

    body = ResNetBody(found.config.backbone)
    body.load_state_dict({name.removeprefix("backbone."): value for name, value in found.state.items()})
    seen = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(5))
    close(body.eval()(seen)["c5"], Reference(backbone_table).backbone(seen, "")[5])
    assert found.report.missing == []
    assert found.report.unused == {}
