"""From detectron2's names to ours, one rule a kind of layer."""

from __future__ import annotations

import re
from collections.abc import Mapping

# (their pattern, our name); \N takes the pattern's groups, {N-k} a group's number less k
RULES: tuple[tuple[str, str], ...] = (
    (r"stem\.conv1\.weight", "backbone.conv1.weight"),
    (r"stem\.conv1\.norm\.(\w+)", r"backbone.bn1.\1"),
    (r"res(\d)\.(\d+)\.conv(\d)\.weight", r"backbone.layer{1-1}.\2.conv\3.weight"),
    (r"res(\d)\.(\d+)\.conv(\d)\.norm\.(\w+)", r"backbone.layer{1-1}.\2.bn\3.\4"),
    (r"res(\d)\.(\d+)\.shortcut\.weight", r"backbone.layer{1-1}.\2.downsample.0.weight"),
    (r"res(\d)\.(\d+)\.shortcut\.norm\.(\w+)", r"backbone.layer{1-1}.\2.downsample.1.\3"),
    (r"fpn_lateral(\d)\.(weight|bias)", r"fpn.pyramid.inner_blocks.{1-2}.0.\2"),
    (r"fpn_output(\d)\.(weight|bias)", r"fpn.pyramid.layer_blocks.{1-2}.0.\2"),
    (r"proposal_generator\.rpn_head\.conv\.(weight|bias)", r"rpn.head.conv.\1"),
    (r"proposal_generator\.rpn_head\.objectness_logits\.(weight|bias)", r"rpn.head.objectness.\1"),
    (r"proposal_generator\.rpn_head\.anchor_deltas\.(weight|bias)", r"rpn.head.deltas.\1"),
    (r"roi_heads\.box_head\.(\d)\.fc(\d)\.(weight|bias)", r"cascade.stages.\1.fc\2.\3"),
    (r"roi_heads\.box_predictor\.(\d)\.cls_score\.(weight|bias)", r"cascade.stages.\1.classify.\2"),
    (r"roi_heads\.box_predictor\.(\d)\.bbox_pred\.(weight|bias)", r"cascade.stages.\1.regress.\2"),
    # a plain Mask R-CNN has one stage, which begins the cascade
    (r"roi_heads\.box_head\.fc(\d)\.(weight|bias)", r"cascade.stages.0.fc\1.\2"),
    (r"roi_heads\.box_predictor\.cls_score\.(weight|bias)", r"cascade.stages.0.classify.\1"),
    (r"roi_heads\.box_predictor\.bbox_pred\.(weight|bias)", r"cascade.stages.0.regress.\1"),
    (r"roi_heads\.mask_head\.mask_fcn(\d+)\.(weight|bias)", r"mask_head.convs.{1-1}.\2"),
    (r"roi_heads\.mask_head\.deconv\.(weight|bias)", r"mask_head.enlarge.\1"),
    (r"roi_heads\.mask_head\.predictor\.(weight|bias)", r"mask_head.predict.\1"),
    # convolutions and enlargements take turns there: 0, 2, 4 are the convolutions
    (r"sem_seg_head\.(p\d)\.(\d+)\.weight", r"semantic_head.levels.\1.{2/2}.0.weight"),
    (r"sem_seg_head\.(p\d)\.(\d+)\.norm\.(weight|bias)", r"semantic_head.levels.\1.{2/2}.1.\3"),
    (r"sem_seg_head\.predictor\.(weight|bias)", r"semantic_head.predict.\1"),
)
STEPS = re.compile(r"\{(\d)([-/])(\d)\}")
PREFIXES = ("backbone.bottom_up.", "bottom_up.", "backbone.")


def our_name(theirs: str) -> str | None:
    """Return our name for a detectron2 parameter, None where we have no such thing."""
    short = plain(theirs)
    for pattern, target in RULES:
        match = re.fullmatch(pattern, short)
        if match:
            return _expanded(match, target)
    return None


def plain(theirs: str) -> str:
    """Return a name without what stands before a backbone's parts."""
    for prefix in PREFIXES:
        if theirs.startswith(prefix):
            return theirs.removeprefix(prefix)
    return theirs


def unwrapped(names: Mapping[str, object]) -> dict[str, str]:
    """Return each name without what a trainer puts before it, and where it came from; a teacher's copies are left out.

    Lightning writes ``model.…``, its self-training a second network ``teacher_model.…``; with test-time augmentation
    the network lies one level deeper.
    """
    found: dict[str, str] = {}
    for name in names:
        if "teacher_model." in name:
            continue
        short = name
        while short.startswith(("model.", "module.")):
            short = short.split(".", 1)[1]
        found[short] = name
    return found


def _expanded(match: re.Match[str], target: str) -> str:
    return match.expand(STEPS.sub(lambda step: _counted(match, step), target))


def _counted(match: re.Match[str], step: re.Match[str]) -> str:
    group, sign, number = int(match[int(step[1])]), step[2], int(step[3])
    return str(group - number if sign == "-" else group // number)
