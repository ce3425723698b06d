"""A small network that has every part, and a clip it can be shown: nothing is learned, heads are made lively.

Much smaller ones keep TensorRT-RTX 1.7 busy without an end.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import torch
from torch import nn

from videocups.model.classes import ClassTable
from videocups.model.config import (
    BackboneConfig,
    InferenceConfig,
    MaskConfig,
    ModelConfig,
    RoiConfig,
    RpnConfig,
    SemanticConfig,
    TrackConfig,
)
from videocups.model.network import PanopticNetwork
from videocups_core.clip import ClipInfo, write_clip_info
from videocups_core.panoptic.storage import PanopticClipWriter
from videocups_core.standin import StandInOracle, StandInWorld, standin_classes

HEIGHT, WIDTH = 128, 256
FRAMES = 4


def micro_network(seed: int = 0) -> PanopticNetwork:
    """Weights are drawn so that boxes, classes and masks differ; untrained heads would say the same everywhere."""
    config = ModelConfig(
        backbone=BackboneConfig("resnet18", width=0.25),
        fpn_channels=32,
        canonical_px=40,
        rpn=RpnConfig(anchor_sizes=(8, 16, 32, 64, 128), pre_nms=60, post_nms_test=30),
        roi=RoiConfig(width=32),
        mask=MaskConfig(convs=1, channels=16),
        semantic=SemanticConfig(channels=32),
        track=TrackConfig(width=16, dim=8),
        inference=InferenceConfig(max_detections=12),
    )
    torch.manual_seed(seed)
    network = PanopticNetwork(config, ClassTable.of(standin_classes())).eval()
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 1.5)
        network.rpn.head.objectness.weight.normal_(0, 0.5)
        network.rpn.head.deltas.weight.normal_(0, 0.05)
        for stage in network.cascade.stages:
            stage.classify.weight.normal_(0, 0.5)
            stage.classify.bias.zero_()
            stage.regress.weight.normal_(0, 0.05)
        network.mask_head.predict.weight.normal_(0, 0.3)
        network.semantic_head.predict.weight.normal_(0, 0.5)
    return network


def write_world_clip(folder: Path, *, labelled: bool = True) -> Path:
    """Write the stand-in world as a clip, with its exact labels."""
    world = StandInWorld()
    oracle = StandInOracle(world)
    stamps = tuple(range(0, FRAMES * 100_000_000, 100_000_000))
    (folder / "frames").mkdir(parents=True)
    for index in range(FRAMES):
        cv2.imwrite(str(folder / "frames" / f"{index:06d}.png"), world.image_rgb(index)[:, :, ::-1])
    write_clip_info(folder, ClipInfo(folder.name, "camera", world.width, world.height, stamps, image_suffix=".png"))
    if labelled:
        with PanopticClipWriter(folder, standin_classes()) as writer:
            for index, stamp_ns in enumerate(stamps):
                writer.append(oracle.step(index, stamp_ns))
    return folder
