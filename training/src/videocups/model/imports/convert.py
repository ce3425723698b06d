"""Foreign weights into a network of ours: names, layouts, shapes, and an account of every tensor."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from videocups.model.classes import ClassTable
from videocups.model.config import BackboneConfig, MaskConfig, ModelConfig, RoiConfig, SemanticConfig
from videocups.model.imports.layout import ImageLayout, layout_of
from videocups.model.imports.names import our_name, plain, unwrapped
from videocups.model.imports.reading import ForeignWeights
from videocups.model.imports.report import ImportReport
from videocups.model.network import PanopticNetwork
from videocups_core.palette import class_colors
from videocups_core.types import ClassInfo

BLOCKS = {(2, 2, 2, 2): "resnet18", (3, 4, 6, 3): "resnet50"}
COUNTER = "num_batches_tracked"
OWN_BUFFERS = frozenset({"mean", "deviation"})
MOST_CLASSES = 254
EPSILON = 1e-5  # of detectron2's and torch's batch norms


@dataclass(frozen=True)
class Imported:
    """Weights under our names. ``classes`` is None where the file holds a backbone alone."""

    config: ModelConfig
    classes: ClassTable | None
    state: dict[str, Tensor]
    report: ImportReport


def convert(foreign: ForeignWeights, *, bgr: bool = False, stride_first: bool = False) -> Imported:
    """Return the weights as ours. ``bgr``: they saw BGR images of 0 … 255; ``stride_first``: as Caffe's ResNets."""
    report = ImportReport()
    theirs = _tensors(foreign)
    ours = _renamed(_fold_norms(theirs, report), theirs, report)
    if "backbone.conv1.weight" not in ours:
        raise ValueError(
            f"none of the {len(foreign.tensors)} tensors is the first convolution of a ResNet (stem.conv1.weight); "
            "give a checkpoint of detectron2, CutLER, U2Seg or CUPS"
        )
    _rewrite_stem(ours, layout_of(theirs, bgr) or _stated(bgr), report)
    backbone = _backbone_config(ours, stride_first)
    if not any(name.startswith(("fpn.", "rpn.", "cascade.")) for name in ours):
        return _backbone_alone(backbone, ours, report)
    _fit_heads(ours, report)
    config, classes = _model_config(backbone, ours), _classes(ours)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # what is left fresh is the same in every import
        network = PanopticNetwork(config, classes)
    state = _checked(network.state_dict(), ours, report)
    return Imported(config, classes, state, report)


def _tensors(foreign: ForeignWeights) -> dict[str, Tensor]:
    """Return tensors by names of detectron2, as if there had been no trainer around the network."""
    return {short: foreign.tensors[name].float() for short, name in unwrapped(foreign.tensors).items()}


def _fold_norms(tensors: dict[str, Tensor], report: ImportReport) -> dict[str, Tensor]:
    """Put the batch norms of the pyramid into its convolutions, which have none with us: exact at inference."""
    folded = dict(tensors)
    for name in tensors:
        if not name.endswith(".norm.running_var") or "fpn_" not in name:
            continue
        layer = name.removesuffix(".norm.running_var")
        weight, bias, mean, variance = (
            folded.pop(f"{layer}.norm.{part}") for part in ("weight", "bias", "running_mean", "running_var")
        )
        folded.pop(f"{layer}.norm.{COUNTER}", None)
        factor = weight / torch.sqrt(variance + EPSILON)
        folded[f"{layer}.weight"] = folded[f"{layer}.weight"] * factor.reshape(-1, 1, 1, 1)
        folded[f"{layer}.bias"] = bias + (folded.get(f"{layer}.bias", 0) - mean) * factor
    gone = tensors.keys() - folded.keys()
    if gone:
        report.notes.append("batch norms of the pyramid are part of its convolutions now, as at inference")
        report.used |= dict.fromkeys(gone, "(part of the convolution before it)")
    return folded


def _renamed(tensors: dict[str, Tensor], theirs: dict[str, Tensor], report: ImportReport) -> dict[str, Tensor]:
    """Return ``tensors`` by our names; those that ``theirs`` lacks were made by folding and need no account."""
    found: dict[str, Tensor] = {}
    as_torchvision = "layer1.0.conv1.weight" in {plain(name) for name in tensors}
    for name, tensor in tensors.items():
        target = f"backbone.{plain(name)}" if as_torchvision and not name.startswith("fc.") else our_name(name)
        if target is None:
            report.unused[name] = "the network has no such part"
        elif target in found:
            raise ValueError(f"the file holds {target} twice, the second time as {name}; give a file of one network")
        else:
            found[target] = tensor
            if name in theirs:
                report.used[name] = target
    return found


def _rewrite_stem(ours: dict[str, Tensor], layout: ImageLayout, report: ImportReport) -> None:
    if layout.is_ours:
        layout.check()
        return
    ours["backbone.conv1.weight"] = layout.rewritten(ours["backbone.conv1.weight"])
    order = "BGR" if layout.bgr else "RGB"
    report.notes.append(f"the first convolution was rewritten: it saw {order} over {layout.deviation}")


def _stated(bgr: bool) -> ImageLayout:
    """Return what detectron2's zoo means by BGR: the mean taken off, nothing divided; RGB is DINO's."""
    if not bgr:
        return ImageLayout()
    return ImageLayout(True, (103.53, 116.28, 123.675), (1.0, 1.0, 1.0))


def _backbone_config(ours: dict[str, Tensor], stride_first: bool) -> BackboneConfig:
    blocks = tuple(
        1 + max((int(name.split(".")[2]) for name in ours if name.startswith(f"backbone.layer{layer}.")), default=-1)
        for layer in (1, 2, 3, 4)
    )
    if blocks not in BLOCKS:
        known = " or ".join(f"{kind} {depths}" for depths, kind in BLOCKS.items())
        raise ValueError(f"the backbone has {blocks} blocks; ours has those of {known}")
    kind = BLOCKS[blocks]
    width = len(ours["backbone.conv1.weight"]) / 64
    return BackboneConfig("resnet18" if kind == "resnet18" else "resnet50", width, stride_first=stride_first)


def _backbone_alone(config: BackboneConfig, ours: dict[str, Tensor], report: ImportReport) -> Imported:
    from videocups.model.backbone import ResNetBody

    wanted = {f"backbone.{name}": value for name, value in ResNetBody(config).state_dict().items()}
    state = _checked(wanted, ours, report)
    return Imported(ModelConfig(backbone=config), None, state, report)


def _fit_heads(ours: dict[str, Tensor], report: ImportReport) -> None:
    """Bring heads to our design: masks and regression that know no class, group norms, at most 254 classes."""
    origin = {target: theirs for theirs, target in report.used.items()}
    masks = ours.get("mask_head.predict.weight")
    if masks is not None and len(masks) > 1:
        # a mean of logits is the logit of the mean layer: the layer is the last one
        for part in ("weight", "bias"):
            ours[f"mask_head.predict.{part}"] = ours[f"mask_head.predict.{part}"].mean(dim=0, keepdim=True)
        report.notes.append(f"the masks of {len(masks)} classes became one, the mean of their logits")
    for stage in range(3):
        boxes = ours.get(f"cascade.stages.{stage}.regress.weight")
        if boxes is not None and len(boxes) != 4:
            names = [f"cascade.stages.{stage}.regress.{part}" for part in ("weight", "bias")]
            _leave_out(ours, names, origin, report, f"a regression for each of {len(boxes) // 4} classes, ours is one")
    things = _rows(ours, "cascade.stages.0.classify.bias") - 1
    if things + _rows(ours, "semantic_head.predict.bias") - 1 > MOST_CLASSES:
        names = [name for name in ours if ".classify." in name]
        _leave_out(ours, names, origin, report, f"{things} thing classes; a network has {MOST_CLASSES} classes at most")
    normed = [name for name in report.unused if name.startswith("sem_seg_head.") and ".norm.running_" in name]
    plain_convs = [name for name in report.unused if name.startswith("sem_seg_head.p") and name.endswith(".bias")]
    if normed or any(".norm." not in name for name in plain_convs):
        names = [name for name in ours if name.startswith("semantic_head.levels.")]
        _leave_out(ours, names, origin, report, "its convolutions have no group norm, ours have")


def _leave_out(
    ours: dict[str, Tensor], names: list[str], origin: dict[str, str], report: ImportReport, reason: str
) -> None:
    for name in names:
        del ours[name]
    report.drop([origin[name] for name in names], reason)


def _rows(ours: dict[str, Tensor], name: str) -> int:
    return len(ours[name]) if name in ours else 2


def _model_config(backbone: BackboneConfig, ours: dict[str, Tensor]) -> ModelConfig:
    """Read the sizes off the weights; what has none keeps its default."""
    default = ModelConfig()
    channels = _rows_or(ours, "fpn.pyramid.layer_blocks.0.0.weight", default.fpn_channels)
    roi, mask, semantic = RoiConfig(), MaskConfig(), SemanticConfig()
    first = ours.get("cascade.stages.0.fc1.weight")
    if first is not None:
        roi = replace(roi, width=len(first), pool=math.isqrt(first.shape[1] // channels))
    convs = sum(name.startswith("mask_head.convs.") and name.endswith("weight") for name in ours)
    if "mask_head.enlarge.weight" in ours:
        mask = replace(mask, convs=convs, channels=ours["mask_head.enlarge.weight"].shape[1])
    if "semantic_head.predict.weight" in ours:
        semantic = replace(semantic, channels=ours["semantic_head.predict.weight"].shape[1])
    return replace(default, backbone=backbone, fpn_channels=channels, roi=roi, mask=mask, semantic=semantic)


def _rows_or(ours: dict[str, Tensor], name: str, otherwise: int) -> int:
    return len(ours[name]) if name in ours else otherwise


def _classes(ours: dict[str, Tensor]) -> ClassTable:
    """Return a class for every cluster: stuff first, as in the files, and without names, as there."""
    stuff = _rows(ours, "semantic_head.predict.bias") - 1
    things = _rows(ours, "cascade.stages.0.classify.bias") - 1
    colors = class_colors(stuff + things)
    infos = [
        ClassInfo(index, f"thing {index - stuff}" if index >= stuff else f"stuff {index}", index >= stuff, (r, g, b))
        for index, (r, g, b) in enumerate(colors.tolist())
    ]
    return ClassTable.of(infos)


def _checked(wanted: dict[str, Tensor], ours: dict[str, Tensor], report: ImportReport) -> dict[str, Tensor]:
    """Fill what the network wants; a tensor of another shape is refused, one that is missing stays fresh."""
    state = dict(wanted)
    theirs = {target: name for name, target in report.used.items()}
    for name, tensor in ours.items():
        if name not in wanted:
            report.drop([theirs.get(name, name)], "the network has no such part")
        elif name.endswith(COUNTER):
            state[name] = tensor.to(wanted[name].dtype).reshape(wanted[name].shape)
        elif tensor.shape != wanted[name].shape:
            raise ValueError(
                f"{theirs.get(name, name)} is {tuple(tensor.shape)}, {name} must be {tuple(wanted[name].shape)}; "
                "the file holds another network than its names say"
            )
        else:
            state[name] = tensor.contiguous()
    left = wanted.keys() - ours.keys() - OWN_BUFFERS
    report.missing += sorted(name for name in left if not name.endswith(COUNTER))
    return state
