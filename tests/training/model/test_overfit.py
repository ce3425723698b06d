"""The network can learn: one pair by heart, and what it then knows of objects that lose their label."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from tests.training.model.shapes import BALL, BOX, CLASSES, render, tiny_config

from videocups.model.boxes import decode, iou
from videocups.model.config import DropLossConfig
from videocups.model.network import PanopticNetwork

STEPS = 110


def train(batch, droploss, steps=STEPS, seed=0):
    torch.manual_seed(seed)
    network = PanopticNetwork(tiny_config(), CLASSES)
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=1e-5)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5 + 0.49 * math.cos(math.pi * step / steps))
    for _ in range(steps):
        optimizer.zero_grad()
        sum(network.losses(batch, droploss=droploss).values()).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return network.eval()


@pytest.fixture(scope="module")
def trained():
    torch.set_num_threads(1)
    return train(render(), DropLossConfig())


@pytest.fixture(scope="module")
def found(trained):
    return trained.detect(render()["images"][0])


def sure(detections):
    return detections.scores > 0.5


def test_finds_every_object_once_with_its_class(found):
    batch = render()
    for frame, detections in enumerate(found[0]):
        overlap = iou(batch["boxes"][0, frame], detections.boxes[sure(detections)])
        assert overlap.shape == (4, 4), "four objects, four detections"
        assert overlap.amax(dim=1).min() > 0.75
        assert detections.classes[sure(detections)][overlap.argmax(dim=1)].tolist() == [BOX, BOX, BALL, BALL]


def test_masks_fit(found):
    batch = render()
    for frame, detections in enumerate(found[0]):
        for row in range(4):
            best = int(iou(batch["boxes"][0, frame, row : row + 1], detections.boxes)[0].argmax())
            x0, y0, x1, y1 = detections.boxes[best].round().long().tolist()
            inside = torch.nn.functional.interpolate(detections.masks[best][None, None], size=(y1 - y0, x1 - x0))
            whole = torch.zeros(128, 256, dtype=torch.bool)
            whole[y0:y1, x0:x1] = inside[0, 0] > 0.5
            truth = batch["instances"][0, frame] == row + 1
            assert (whole & truth).sum() / (whole | truth).sum() > 0.75


def test_every_pixel_has_its_class(found):
    logits = torch.nn.functional.interpolate(found[1], scale_factor=4.0, mode="bilinear", align_corners=False)
    assert (logits.argmax(dim=1) == render()["semantic"][0]).float().mean() > 0.97


def test_embeddings_tell_objects_of_one_colour_apart(found):
    batch = render()
    embeddings = []
    for frame, detections in enumerate(found[0]):
        best = iou(batch["boxes"][0, frame], detections.boxes).argmax(dim=1)
        embeddings.append(detections.embeddings[best])
    logits = embeddings[0] @ embeddings[1].T
    assert logits.argmax(dim=1).tolist() == [0, 1, 2, 3], "two red boxes among them"
    assert logits.diagonal().min() > 0, "and none of them is new"


class Watch:
    """What one ``losses`` computes on the way, with its gradients."""

    def __init__(self, network, monkeypatch):
        self.stages, self.pooled = [], []
        pool, stage, head = network.pool, network.cascade.stage, network.rpn.head.forward

        def watched_pool(features, boxes, size):
            self.pooled.append((size, [found.detach() for found in boxes]))
            return pool(features, boxes, size)

        def watched_stage(index, values):
            logits, deltas = stage(index, values)
            logits.retain_grad()
            deltas.retain_grad()
            self.stages.append((torch.cat(self.pooled[-1][1]), self.pooled[-1][1], logits, deltas))
            return logits, deltas

        def watched_head(features):
            self.objectness, deltas = head(features)
            self.objectness.retain_grad()
            return self.objectness, deltas

        monkeypatch.setattr(network, "pool", watched_pool)
        monkeypatch.setattr(network.cascade, "stage", watched_stage)
        monkeypatch.setattr(network.rpn.head, "forward", watched_head)


def gradients_of(network, monkeypatch, labelled, row, as_stuff):
    """Return, for confident rows on object ``row`` of the first frame: how many, and their largest gradients."""
    batch, box = render(labelled=labelled), render()["boxes"][0, 0, row]
    if as_stuff:
        batch["semantic"][(batch["semantic"] == 0) & (batch["instances"] == 0)] = 2
    with monkeypatch.context() as patch:
        everything = replace(network.config.rpn, batch=100_000)  # sampling must not leave the object out
        patch.setattr(network, "config", replace(network.config, rpn=everything))
        patch.setattr(network.cascade, "config", replace(network.cascade.config, batch=400))
        watch = Watch(network, patch)
        losses = network.losses(batch | {"seed": torch.tensor([3])}, droploss=DropLossConfig())
        network.zero_grad()
        sum(losses.values()).backward()
    largest, counts = {}, {}
    for index, (boxes, per_image, logits, deltas) in enumerate(watch.stages):
        regressed = decode(deltas.detach(), boxes, network.cascade.delta_weights(index))
        here = (torch.arange(len(boxes)) < len(per_image[0])) & (iou(regressed, box[None])[:, 0] > 0.5)
        here &= 1 - logits.detach().softmax(dim=1)[:, -1] > 0.5
        counts[f"stage{index}"] = int(here.sum())
        largest[f"class{index}"] = float(logits.grad[here].abs().max())
        largest[f"box{index}"] = float(deltas.grad[here].abs().max())
    anchors = torch.cat(network.rpn.anchors(128, 256))
    near = (iou(anchors, box[None])[:, 0] > 0.5) & (watch.objectness.detach()[0].sigmoid() > 0.5)
    counts["anchors"] = int(near.sum())
    largest["objectness"] = float(watch.objectness.grad[0, near].abs().max())
    # after the three stages: boxes of the masks, of the embeddings, and the labels of the other frame
    for name, (_, per_image) in zip(("mask", "embedding"), watch.pooled[3:], strict=False):
        largest[name] = int((iou(per_image[0], box[None])[:, 0] > 0.5).sum())
    return counts, largest


@pytest.mark.parametrize("as_stuff", [False, True], ids=["semantics say thing", "semantics say stuff"])
def test_an_unlabelled_confident_detection_gets_no_gradient_at_all(trained, monkeypatch, as_stuff):
    trained.eval()  # running statistics: the network that found the object, to the bit
    counts, largest = gradients_of(trained, monkeypatch, (0, 2, 3), row=1, as_stuff=as_stuff)
    assert min(counts.values()) > 0, "the object was found"
    assert set(largest.values()) == {0}


def test_a_labelled_one_gets_all_of_it(trained, monkeypatch):
    trained.eval()
    counts, largest = gradients_of(trained, monkeypatch, (0, 1, 2, 3), row=1, as_stuff=False)
    assert min(counts.values()) > 0
    assert min(largest.values()) > 0
