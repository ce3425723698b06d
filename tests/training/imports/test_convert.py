"""Names, shapes and the account of every tensor; the command."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch

from videocups.cli import main
from videocups.model.classes import ClassTable
from videocups.model.config import BackboneConfig, ModelConfig
from videocups.model.imports.convert import convert
from videocups.model.imports.layout import ImageLayout
from videocups.model.imports.names import our_name, unwrapped
from videocups.model.imports.reading import ForeignWeights
from videocups.model.load import initialize_backbone, load_network
from videocups.model.network import PanopticNetwork
from videocups_core.types import ClassInfo


def foreign(table):
    return ForeignWeights({name: torch.from_numpy(np.array(value)) for name, value in table.items()})


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("backbone.bottom_up.stem.conv1.norm.running_var", "backbone.bn1.running_var"),
        ("res4.5.conv3.norm.bias", "backbone.layer3.5.bn3.bias"),
        ("backbone.bottom_up.res5.0.shortcut.norm.weight", "backbone.layer4.0.downsample.1.weight"),
        ("backbone.fpn_lateral3.weight", "fpn.pyramid.inner_blocks.1.0.weight"),
        ("backbone.fpn_output5.bias", "fpn.pyramid.layer_blocks.3.0.bias"),
        ("roi_heads.box_head.2.fc1.weight", "cascade.stages.2.fc1.weight"),
        ("roi_heads.mask_head.mask_fcn4.weight", "mask_head.convs.3.weight"),
        ("sem_seg_head.p5.4.norm.weight", "semantic_head.levels.p5.2.1.weight"),
        ("roi_heads.keypoint_head.conv_fcn1.weight", None),
    ],
)
def test_names(theirs, ours):
    assert our_name(theirs) == ours


def test_what_trainers_wrap_around_names():
    names = ["model.backbone.x", "model.model.y", "module.z", "teacher_model.model.backbone.x", "model.teacher_model.w"]
    assert unwrapped(dict.fromkeys(names, 0)) == {"backbone.x": names[0], "y": names[1], "z": names[2]}


def test_the_published_shapes_of_cups(draw):
    # ResNet-50 and heads in full size, 27 pseudo-classes
    table = draw(base=64, channels=256, hidden=1024, semantic=128, things=11, stuff=16, zeros=True)
    found = convert(foreign({f"model.{name}": value for name, value in table.items()}))
    assert found.config == ModelConfig()  # all that METHOD says is the default
    assert (len(found.classes.stuff), len(found.classes.things)) == (16, 11)
    assert found.report.unused == {}
    # of ours nothing but tracking is missing there
    assert found.report.missing
    assert all(name.startswith("track_head.") for name in found.report.missing)
    assert found.report.used.keys() == table.keys()


def test_cutler_has_neither_stuff_nor_classes(draw):
    found = convert(foreign(draw(things=1)))
    assert (len(found.classes.stuff), len(found.classes.things)) == (1, 1)
    assert {name.split(".")[0] for name in found.report.missing} == {"semantic_head", "track_head"}
    assert not any("masks of" in note for note in found.report.notes)


def test_more_classes_than_a_network_has(draw):
    found = convert(foreign(draw(things=300, stuff=27)))
    assert (len(found.classes.stuff), len(found.classes.things)) == (27, 1)
    reasons = {name: reason for name, reason in found.report.unused.items() if "cls_score" in name}
    assert len(reasons) == 6
    assert all("300 thing classes" in reason for reason in reasons.values())
    assert "cascade.stages.2.classify.weight" in found.report.missing


def test_one_stage_begins_the_cascade(draw):
    table = draw(things=1, stages=1)
    found = convert(foreign(table))
    weight = found.state["cascade.stages.0.fc1.weight"]
    np.testing.assert_array_equal(weight.numpy(), table["roi_heads.box_head.fc1.weight"])
    assert "cascade.stages.1.fc1.weight" in found.report.missing


def test_regression_for_each_class_is_not_used(draw):
    table = draw(things=3, stages=1)
    weight, bias = (f"roi_heads.box_predictor.bbox_pred.{part}" for part in ("weight", "bias"))
    table[weight], table[bias] = np.repeat(table[weight], 3, axis=0), np.repeat(table[bias], 3)
    found = convert(foreign(table))
    assert "regression for each of 3 classes" in found.report.unused[weight]
    assert "cascade.stages.0.regress.weight" in found.report.missing


@pytest.mark.parametrize("extra", [".norm.running_mean", ".bias"])
def test_a_semantic_head_with_other_norms_is_not_used(draw, extra):
    table = draw(stuff=2)
    table[f"sem_seg_head.p3.0{extra}"] = np.zeros(32, np.float32)
    found = convert(foreign(table))
    assert "no group norm" in found.report.unused["sem_seg_head.p4.2.weight"]
    assert "semantic_head.levels.p4.1.0.weight" in found.report.missing
    assert "sem_seg_head.predictor.weight" in found.report.used


def test_what_is_left_over_is_said(draw):
    table = {**draw(stuff=2), "proposal_generator.anchor_generator.cell_anchors.0": np.zeros((3, 4), np.float32)}
    found = convert(foreign(table))
    assert list(found.report.unused) == ["proposal_generator.anchor_generator.cell_anchors.0"]
    text = "\n".join(found.report.lines())
    assert "proposal_generator.anchor_generator.cell_anchors.0: the network has no such part" in text
    assert "  backbone.fpn_output2.weight -> fpn.pyramid.layer_blocks.0.0.weight" in text


def test_other_shapes_are_refused(draw):
    table = draw(stuff=2)
    table["roi_heads.box_head.1.fc2.weight"] = np.zeros((3, 3), np.float32)
    with pytest.raises(ValueError, match=r"box_head\.1\.fc2\.weight is \(3, 3\), .* must be \(24, 24\)"):
        convert(foreign(table))


def test_other_depths_and_other_networks_are_refused(draw):
    table = draw(stuff=2)
    deeper = {name.replace("res4.5.", "res4.22."): value for name, value in table.items()}
    with pytest.raises(ValueError, match=r"\(3, 4, 23, 3\) blocks"):
        convert(foreign(deeper))
    with pytest.raises(ValueError, match="first convolution of a ResNet"):
        convert(foreign({"blocks.0.attn.qkv.weight": np.zeros((3, 1))}))


@pytest.mark.parametrize("unit", [1.0, 255.0])
def test_a_file_that_states_our_own_image_layout(draw, unit):
    table = draw(stuff=2)
    table["pixel_mean"] = np.array([123.675, 116.28, 103.53], np.float32).reshape(3, 1, 1) / unit
    table["pixel_std"] = np.array([58.395, 57.12, 57.375], np.float32).reshape(3, 1, 1) / unit
    found = convert(foreign(table))
    stem = found.state["backbone.conv1.weight"].numpy()
    np.testing.assert_allclose(stem, table["backbone.bottom_up.stem.conv1.weight"])


def test_another_mean_is_refused(draw):
    table = draw(stuff=2)
    table["pixel_mean"] = np.array([103.53, 116.28, 123.675], np.float32)
    table["pixel_std"] = np.ones(3, np.float32)
    with pytest.raises(ValueError, match="is --bgr missing or too much"):
        convert(foreign(table))
    assert convert(foreign(table), bgr=True).report.notes


def test_rewriting_by_hand():
    layout = ImageLayout(True, (103.53, 116.28, 123.675), (1.0, 1.0, 1.0))
    kernel = torch.tensor([1.0, 2.0, 3.0]).reshape(1, 3, 1, 1)  # of blue, green, red
    assert layout.rewritten(kernel).flatten().tolist() == pytest.approx([3 * 58.395, 2 * 57.12, 57.375])


def test_the_command_makes_a_checkpoint_that_loads(draw, tmp_path, capsys):
    file, out = tmp_path / "cups.ckpt", tmp_path / "imported"
    table = {f"model.{name}": torch.from_numpy(np.array(value)) for name, value in draw(things=4, stuff=3).items()}
    torch.save({"state_dict": table, "epoch": 1}, file)
    assert main(["import-checkpoint", str(file), "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "imported: panoptic, used " in printed
    assert "note: the masks of 4 classes became one" in printed
    network = load_network(out)
    assert torch.equal(network.rpn.head.conv.weight, table["model.proposal_generator.rpn_head.conv.weight"])
    images = torch.zeros(1, 3, 64, 64, dtype=torch.uint8)
    with torch.no_grad():
        network.detect(images)
    assert "left fresh" in (out / "import_report.txt").read_text()
    # the same import again is refused, not overwritten
    assert main(["import-checkpoint", str(file), "--out", str(out)]) == 1
    assert "is there already" in capsys.readouterr().err


def test_an_import_is_the_same_every_time(draw):
    one, other = convert(foreign(draw(things=1))), convert(foreign(draw(things=1)))
    assert all(torch.equal(one.state[name], other.state[name]) for name in one.state)


def test_an_imported_backbone_starts_a_detector(backbone_table, tmp_path, capsys):
    file, out = tmp_path / "dino_RN50_pretrain_d2_format.pkl", tmp_path / "dino"
    file.write_bytes(pickle.dumps({"model": backbone_table, "__author__": "MOCO", "matching_heuristics": True}))
    assert main(["import-checkpoint", str(file), "--out", str(out)]) == 0
    assert "dino: backbone, used " in capsys.readouterr().out
    classes = ClassTable.of([ClassInfo(0, "road", False, (0, 0, 0)), ClassInfo(1, "car", True, (9, 9, 9))])
    network = PanopticNetwork(ModelConfig(backbone=BackboneConfig("resnet50", 0.125), fpn_channels=8), classes)
    initialize_backbone(network, out)
    conv = network.backbone.layer3[5].conv2.weight.detach().numpy()
    np.testing.assert_array_equal(conv, backbone_table["res4.5.conv2.weight"])


def test_a_wrong_hash_is_refused(backbone_table, tmp_path, capsys):
    file = tmp_path / "a.pkl"
    file.write_bytes(pickle.dumps({"model": backbone_table}))
    assert main(["import-checkpoint", str(file), "--out", str(tmp_path / "b"), "--sha256", "0" * 64]) == 1
    assert "expected 000" in capsys.readouterr().err
    assert not (tmp_path / "b").exists()
