"""Where a panoptic training starts: a backbone's weights, or another training whose heads may not fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from videocups.model.config import ModelConfig
from videocups.model.load import KIND, initialize_backbone, load_network
from videocups.model.network import PanopticNetwork
from videocups.train.checkpoint import read_checkpoint


def start_from(network: PanopticNetwork, path: Path) -> str:
    """Fill ``network`` from a backbone's safetensors or a checkpoint; return one sentence on what was taken.

    Of a panoptic checkpoint everything that fits is taken. Only the parts that hang on the classes may differ, they
    begin anew; anything else that differs is an error.
    """
    if path.is_dir() and read_checkpoint(path).kind == KIND:
        return _start_from_network(network, load_network(path, to_train_on=True), path)
    initialize_backbone(network, path)
    return f"the backbone of {path}"


def settings_to_go_on(path: Path) -> dict[str, Any]:
    """Return those settings of a panoptic checkpoint's training that fit its images and machine, for one that goes on.

    Imported weights say nothing of a training: theirs are the defaults, which are the published ones.
    """
    config = read_checkpoint(path, KIND).config
    if "data" not in config:
        return {}
    data = {name: config["data"][name] for name in ("height", "width", "min_area_px")}
    loop = {name: config["loop"][name] for name in ("batch_size", "accumulate", "precision")}
    paste = {"min_side_px": config["paste"]["min_side_px"]}
    return {"data": data, "augment": config["augment"], "paste": paste, "loop": loop}


def model_of(path: Path) -> ModelConfig:
    """Return the settings of a checkpoint's network."""
    return load_network(path, to_train_on=True).config


def _start_from_network(network: PanopticNetwork, source: PanopticNetwork, path: Path) -> str:
    theirs, ours = source.state_dict(), network.state_dict()
    same_classes = [info.name for info in source.classes.bundle_classes] == [
        info.name for info in network.classes.bundle_classes
    ]
    taken: dict[str, Tensor] = {}
    anew: list[str] = []
    for name, value in ours.items():
        fits = name in theirs and theirs[name].shape == value.shape
        if _of_classes(name) and not (fits and same_classes):
            anew.append(name)
        elif fits:
            taken[name] = theirs[name]
        else:
            got = tuple(theirs[name].shape) if name in theirs else "missing"
            raise ValueError(
                f"{path}: {name} is {got}, the network has {tuple(value.shape)}; take the model settings of that "
                "checkpoint"
            )
    network.load_state_dict(taken, strict=False)
    if not anew:
        return f"all weights of {path}"
    return f"the weights of {path} but {len(anew)} of the classes' own, which begin anew"


def _of_classes(name: str) -> bool:
    """Return whether a weight has one row a class."""
    return name.startswith("semantic_head.predict.") or (name.startswith("cascade.") and ".classify." in name)
