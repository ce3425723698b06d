from __future__ import annotations

import pytest
import torch
from tests.training.model.shapes import BALL, CLASSES, SCENE, render, tiny_config

from videocups.model.classes import IGNORE, ClassTable
from videocups.model.config import BackboneConfig, DropLossConfig, LossWeights, ModelConfig
from videocups.model.load import load_network
from videocups.model.network import PanopticNetwork
from videocups.train.checkpoint import Progressed, save_checkpoint
from videocups.train.starting import start_from
from videocups_core.config import ConfigError, from_mapping, to_mapping
from videocups_core.types import ClassInfo

KEYS = {
    "rpn_objectness",
    "rpn_box",
    "mask",
    "semantic",
    "track",
    *(f"cascade{stage}_{part}" for stage in (1, 2, 3) for part in ("class", "box")),
}
MODES = [DropLossConfig(), DropLossConfig(enabled=False)]


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return PanopticNetwork(tiny_config(backbone=BackboneConfig("resnet18", width=0.25, norm="group")), CLASSES)


def losses(network, batch, droploss=MODES[0], seeds=(5,)):
    return network.losses(batch | {"seed": torch.tensor(seeds)}, droploss=droploss)


def values(found):
    return {name: value.item() for name, value in found.items()}


def gradients(network, found):
    network.zero_grad(set_to_none=True)
    sum(found.values()).backward()
    return {name: parameter.grad for name, parameter in network.named_parameters()}


@pytest.mark.parametrize("droploss", MODES, ids=["droploss", "vanilla"])
@pytest.mark.parametrize("labelled", [(0, 1, 2, 3), (1,), ()], ids=["all", "one", "none"])
def test_every_part_learns_or_at_least_stays_finite(network, labelled, droploss):
    found = losses(network, render(labelled=labelled), droploss)
    assert set(found) == KEYS
    assert all(value.ndim == 0 and torch.isfinite(value) for value in found.values())
    for name, gradient in gradients(network, found).items():
        assert gradient is not None, name
        assert torch.isfinite(gradient).all(), name
    if labelled:
        assert min(values(found).values()) > 0
    else:
        assert all(found[name].item() == 0 for name in ("rpn_box", "mask", "track", "cascade1_box"))
        assert found["cascade1_class"].item() > 0, "background is learned from an empty street, too"


@pytest.mark.parametrize("droploss", MODES, ids=["droploss", "vanilla"])
def test_an_ignored_image_teaches_nothing(network, droploss):
    batch = render(labelled=())
    batch["ignore"][:] = True
    batch["semantic"][:] = IGNORE
    found = losses(network, batch, droploss)
    assert all(value == 0 for value in values(found).values())
    assert all(gradient.abs().max() == 0 for gradient in gradients(network, found).values())


@pytest.mark.parametrize("labelled", [(0, 1), ()], ids=["labels", "none"])
def test_without_any_proposal(network, labelled, monkeypatch):
    monkeypatch.setattr(network.rpn, "proposals", lambda logits, *_: [torch.zeros(0, 4)] * len(logits))
    found = losses(network, render(labelled=labelled))
    assert all(torch.isfinite(value) for value in found.values())
    assert all(gradient is not None for gradient in gradients(network, found).values())
    detections, _ = network.eval().detect(render()["images"][0])
    assert [tuple(found.masks.shape) for found in detections] == [(0, 28, 28)] * 2
    assert [tuple(found.embeddings.shape) for found in detections] == [(0, 16)] * 2


def test_a_track_in_one_frame_only_is_new_in_it(network, monkeypatch):
    import videocups.model.network as module

    seen = {}
    original = module.track_loss

    def watch(logits, targets, kept):
        seen["targets"], seen["columns"] = targets, [rows.shape[1] for rows in logits]
        return original(logits, targets, kept)

    monkeypatch.setattr(module, "track_loss", watch)
    batch = render()
    batch["classes"][0, 1, 2] = -1  # row 2 leaves
    batch["instances"][0, 1][batch["instances"][0, 1] == 3] = 0
    found = losses(network, batch)
    assert seen["columns"] == [1 + 3, 1 + 4]
    assert set(seen["targets"][0].tolist()) == {0, 1, 2, 3}, "one is new, the others are found again"
    assert 0 not in seen["targets"][1].tolist()
    assert torch.isfinite(found["track"])
    nowhere = render()
    nowhere["classes"][0, 1] = -1
    nowhere["instances"][0, 1] = 0
    assert losses(network, nowhere)["track"].item() == 0, "with nothing to choose from there is nothing to learn"


@pytest.mark.parametrize("droploss", MODES, ids=["droploss", "vanilla"])
def test_the_order_of_rows_means_nothing(network, droploss):
    batch, order = render(), [2, 0, 3, 1]
    shuffled = dict(batch)
    shuffled["classes"], shuffled["boxes"] = batch["classes"][:, :, order], batch["boxes"][:, :, order]
    place = torch.tensor([0, *(1 + order.index(row) for row in range(4))])
    shuffled["instances"] = place[batch["instances"]]
    first, second = values(losses(network, batch, droploss)), values(losses(network, shuffled, droploss))
    assert second == pytest.approx(first, rel=1e-5)


def test_empty_rows_mean_nothing(network):
    batch = render()
    padded = dict(batch)
    padded["classes"] = torch.cat([torch.full((1, 2, 3), -1), batch["classes"]], dim=2)
    padded["boxes"] = torch.cat([torch.zeros(1, 2, 3, 4), batch["boxes"]], dim=2)
    padded["instances"] = torch.where(batch["instances"] > 0, batch["instances"] + 3, 0)
    assert values(losses(network, padded)) == pytest.approx(values(losses(network, batch)), rel=1e-6)


def test_the_same_seed_gives_the_same_bits(network):
    first, second = losses(network, render()), losses(network, render())
    assert values(first) == values(second)
    one, other = gradients(network, first), gradients(network, second)
    assert all(torch.equal(one[name], other[name]) for name in one)
    torch.manual_seed(9)
    drawn = values(network.losses(render(), droploss=MODES[0]))
    torch.manual_seed(9)
    assert values(network.losses(render(), droploss=MODES[0])) == drawn
    assert values(losses(network, render(), seeds=(6,))) != values(first)


def test_a_step_on_two_pairs_is_the_mean_of_two_steps(network):
    batches = [render(labelled=(0, 1, 2)), render(scene=SCENE[2:])]
    batches[1] = {
        "classes": torch.cat([batches[1]["classes"], torch.full((1, 2, 1), -1)], dim=2),
        "boxes": torch.cat([batches[1]["boxes"], torch.zeros(1, 2, 1, 4)], dim=2),
    } | {name: value for name, value in batches[1].items() if name not in ("classes", "boxes")}
    parts = [losses(network, batch, seeds=(seed,)) for seed, batch in zip((5, 6), batches, strict=True)]
    together = losses(network, {n: torch.cat([b[n] for b in batches]) for n in batches[0]}, seeds=(5, 6))
    for name, value in together.items():
        assert value.item() == pytest.approx(sum(part[name].item() for part in parts) / 2, rel=1e-4), name


def test_weights_of_the_losses(network):
    changed = PanopticNetwork(
        tiny_config(backbone=network.config.backbone, loss=LossWeights(mask=3.0, semantic=0.0)), CLASSES
    )
    changed.load_state_dict(network.state_dict())
    first, second = values(losses(network, render())), values(losses(changed, render()))
    assert second["mask"] == pytest.approx(3 * first["mask"])
    assert second["semantic"] == 0
    assert second["track"] == first["track"]


def test_half_precision(network):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = losses(network, render())
    assert all(value.dtype == torch.float32 for value in found.values())
    exact = values(losses(network, render()))
    assert found["semantic"].item() == pytest.approx(exact["semantic"], rel=0.05)
    assert all(torch.isfinite(gradient).all() for gradient in gradients(network, found).values())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        detections, _ = network.eval().detect(render()["images"][0])
    assert detections[0].scores.dtype == torch.float32


def test_detections(network):
    images = render()["images"][0]
    found, semantic = network.eval().detect(images)
    assert semantic.shape == (2, 3, 32, 64)
    for image in found:
        count = len(image.boxes)
        assert 0 < count <= network.config.inference.max_detections
        assert image.masks.shape == (count, 28, 28)
        assert image.embeddings.shape == (count, 16)
        assert image.scores.tolist() == sorted(image.scores.tolist(), reverse=True)
        assert bool(((image.scores >= 0) & (image.scores <= 1) & (image.classes >= 0) & (image.classes <= BALL)).all())
        assert bool(((image.masks >= 0) & (image.masks <= 1)).all())
        x, y = image.boxes[:, 0::2], image.boxes[:, 1::2]
        assert bool(((x >= 0) & (x <= 256)).all() & ((y >= 0) & (y <= 128)).all())
    alone, _ = network.detect(images[1:])
    assert torch.allclose(alone[0].boxes, found[1].boxes, atol=1e-3)


def test_the_best_score_of_a_box_is_the_mean_of_three_stages(network, monkeypatch):
    logits = iter([torch.tensor([[2.0, 0, 0]]), torch.tensor([[0.0, 3, 0]]), torch.tensor([[0.0, 1, 1]])])
    deltas = torch.tensor([[1.0, 0, 0, 0]])  # a tenth, a twentieth, a thirtieth of the width to the right
    monkeypatch.setattr(network.rpn, "proposals", lambda *_: [torch.tensor([[10.0, 20, 70, 50]])])
    monkeypatch.setattr(network.cascade, "stage", lambda index, pooled: (next(logits), deltas))
    found = network.eval().detect(render()["images"][0, :1])[0][0]
    e = torch.tensor([1.0, 2.0, 3.0]).exp().tolist()
    first = (e[1] / (e[1] + 2) + 1 / (e[2] + 2) + 1 / (1 + 2 * e[0])) / 3
    second = (1 / (e[1] + 2) + e[2] / (e[2] + 2) + e[0] / (1 + 2 * e[0])) / 3
    assert second > first
    assert found.classes.tolist() == [1]
    assert found.scores.item() == pytest.approx(second, rel=1e-5)
    shift = 60 * (1 / 10 + 1 / 20 + 1 / 30)
    assert found.boxes[0].tolist() == pytest.approx([10 + shift, 20, 70 + shift, 50], rel=1e-5)


def test_overlapping_boxes_of_two_classes_suppress_each_other(network):
    boxes = torch.tensor([[0.0, 0, 40, 40], [4, 0, 44, 40], [100, 0, 140, 40]])
    scores = torch.tensor([[0.5, 0.1, 0.4], [0.1, 0.7, 0.2], [0.3, 0.2, 0.5]])
    kept, best, classes = network._suppress(scores, boxes)
    assert kept.tolist() == [boxes[1].tolist(), boxes[2].tolist()]
    assert best.tolist() == pytest.approx([0.7, 0.3])
    assert classes.tolist() == [1, 0]


def test_a_damaged_network_is_no_empty_street(network):
    broken = PanopticNetwork(network.config, CLASSES).eval()
    broken.backbone.conv1.weight.data[0] = torch.nan
    with pytest.raises(ValueError, match="not finite"):
        broken.detect(render()["images"][0])


def test_refuses_sides_that_are_no_multiples(network):
    with pytest.raises(ValueError, match="multiples of 32, got 120×256"):
        network.features(torch.zeros(1, 3, 120, 256, dtype=torch.uint8))


def test_a_checkpoint_gives_the_network_back(network, tmp_path):
    config = {"model": to_mapping(network.config), "classes": CLASSES.to_mapping()}
    optimizer = torch.optim.AdamW(network.parameters())
    save_checkpoint(tmp_path, "panoptic", config, network, optimizer, Progressed(7, 10))
    found = load_network(tmp_path)
    assert found.config == network.config
    assert found.classes == CLASSES
    assert not found.training
    images = render()["images"][0]
    assert torch.equal(found.detect(images)[0][1].scores, network.eval().detect(images)[0][1].scores)


def test_a_track_head_of_before_one_length_is_a_start_and_no_more(network, tmp_path):
    config = {"model": to_mapping(network.config), "classes": CLASSES.to_mapping()}
    del config["model"]["track"]["scale"]
    save_checkpoint(tmp_path, "panoptic", config, network, torch.optim.AdamW(network.parameters()), Progressed(7, 10))
    with pytest.raises(ValueError, match=r"no model\.track\.scale.*'videocups finetune', or anew"):
        load_network(tmp_path)
    assert load_network(tmp_path, to_train_on=True).config == network.config
    begun = PanopticNetwork(network.config, CLASSES)
    assert start_from(begun, tmp_path) == f"all weights of {tmp_path}"


def test_refuses_a_checkpoint_of_something_else(network, tmp_path):
    optimizer = torch.optim.AdamW(network.parameters())
    save_checkpoint(tmp_path / "a", "flow", {}, network, optimizer, Progressed(1, 1))
    with pytest.raises(ValueError, match="'panoptic' is needed"):
        load_network(tmp_path / "a")
    save_checkpoint(tmp_path / "b", "panoptic", {"model": {}}, network, optimizer, Progressed(1, 1))
    with pytest.raises(ValueError, match=r"does not describe its network \(KeyError\('classes'\)\)"):
        load_network(tmp_path / "b")


def test_classes_are_numbered_for_network_and_bundle():
    infos = [
        ClassInfo(7, "car", True, (1, 2, 3)),
        ClassInfo(2, "road", False, (4, 5, 6)),
        ClassInfo(9, "sky", False, (7, 8, 9)),
        ClassInfo(3, "person", True, (0, 0, 0)),
    ]
    table = ClassTable.of(infos)
    assert table.channels == {2: 1, 9: 2, 3: 0, 7: 0}
    assert table.thing_indices == {3: 0, 7: 1}
    assert [info.name for info in table.bundle_classes] == ["road", "person", "car", "sky"]
    assert [info.class_id for info in table.bundle_classes] == [0, 1, 2, 3]
    assert (table.stuff_ids, table.thing_ids) == ((0, 3), (1, 2))
    assert ClassTable.from_mapping(table.to_mapping()) == table


def test_classes_get_names_as_a_bundle_numbers_them():
    table = ClassTable.of([ClassInfo(7, "class_07", True, (1, 2, 3)), ClassInfo(2, "class_02", False, (4, 5, 6))])
    named = [ClassInfo(0, "road", False, (9, 9, 9)), ClassInfo(1, "car", True, (1, 2, 3))]
    assert table.renamed(named).bundle_classes == tuple(named)
    assert table.renamed(named).thing_indices == {7: 0}
    with pytest.raises(ValueError, match=r"classes 0 to 1 are needed, 1 of them things: \[1\]; got 1 with things \[\]"):
        table.renamed(named[:1])


@pytest.mark.parametrize(
    ("infos", "message"),
    [
        ([ClassInfo(0, "road", False, (0, 0, 0))], "1 stuff and 0 thing"),
        ([ClassInfo(0, "road", False, (0, 0, 0)), ClassInfo(0, "car", True, (0, 0, 0))], "given twice"),
    ],
)
def test_refuses_tables_a_network_cannot_have(infos, message):
    with pytest.raises(ValueError, match=message):
        ClassTable.of(infos)


def test_settings_that_contradict_each_other():
    with pytest.raises(ConfigError, match=r"rpn\.anchor_sizes must name five levels"):
        from_mapping(ModelConfig, {"rpn": {"anchor_sizes": [16, 32]}})
    with pytest.raises(ConfigError, match=r"rpn\.low_iou must be <="):
        from_mapping(ModelConfig, {"rpn": {"low_iou": 0.8}})


def test_the_defaults_are_the_published_network():
    config = ModelConfig()
    assert config.backbone == BackboneConfig("resnet50", 1.0, "batch")
    assert config.rpn.anchor_sizes == (32, 64, 128, 256, 512)
    assert (config.rpn.pre_nms, config.rpn.post_nms_train) == (2000, 4000)
    assert (config.rpn.batch, config.rpn.nms_iou, config.rpn.post_nms_test) == (256, 0.65, 1000)
    assert (config.roi.batch, config.roi.positive_share, config.roi.ious) == (512, 0.25, (0.5, 0.6, 0.7))
    assert (config.mask.pool, config.mask.convs, config.semantic.channels, config.loss.semantic) == (14, 4, 128, 0.5)
