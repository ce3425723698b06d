"""From checkpoints to networks, and from backbone weights to a start."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from videocups.model.classes import ClassTable
from videocups.model.config import ModelConfig
from videocups.model.network import PanopticNetwork
from videocups.train.checkpoint import AVERAGE, MODEL, Checkpoint, read_checkpoint
from videocups_core.config import from_mapping

KIND = "panoptic"
COUNTER = "num_batches_tracked"


def load_network(path: Path | str, *, to_train_on: bool = False) -> PanopticNetwork:
    """Return the network of a checkpoint (or of a run's newest), in evaluation mode.

    ``to_train_on``: it is a start only, so a track head of before decision 12 (free embeddings) will do.
    """
    checkpoint = read_checkpoint(path, KIND)
    try:
        config = from_mapping(ModelConfig, checkpoint.config["model"], source=str(checkpoint.folder))
        classes = ClassTable.from_mapping(checkpoint.config["classes"])
    except (KeyError, TypeError) as error:
        raise ValueError(f"{checkpoint.folder} does not describe its network ({error!r}); train again") from error
    if not to_train_on and "scale" not in checkpoint.config["model"].get("track", {}):
        raise ValueError(
            f"{checkpoint.folder} was trained before embeddings had one length (it has no model.track.scale), so its "
            "tracks would be wrong; train it on with 'videocups finetune', or anew"
        )
    network = PanopticNetwork(config, classes)
    checkpoint.load_model(network)
    return network.eval()


def trained_size(checkpoint: Checkpoint) -> tuple[int, int]:
    """Return height and width of the images that a panoptic checkpoint was trained for; imported ones do not say."""
    data = checkpoint.config.get("data", {})
    if not {"height", "width"} <= set(data):
        raise ValueError(f"{checkpoint.folder} does not say for which size it was trained; give --size HxW")
    return int(data["height"]), int(data["width"])


def initialize_backbone(network: PanopticNetwork, path: Path | str) -> None:
    """Start ``network`` from backbone weights of torchvision's names, such as those of DINO's ResNet-50.

    ``path``: a safetensors file, or a checkpoint that holds a backbone (names may begin with ``backbone.``).
    """
    file = Path(path)
    if file.is_dir():
        folder = read_checkpoint(file).folder
        file = folder / AVERAGE if (folder / AVERAGE).is_file() else folder / MODEL
    try:
        state = load_file(file)
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{file} cannot be read as safetensors: {error}; give another --init") from error
    load_backbone(network, state, str(file))


def load_backbone(network: PanopticNetwork, state: dict[str, Tensor], source: str) -> None:
    """Fill the body from ``state``; ValueError names the first weight that is missing or of another shape."""
    prefix = "backbone." if any(name.startswith("backbone.") for name in state) else ""
    found = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
    for name, wanted in network.backbone.state_dict().items():
        if name.endswith(COUNTER):
            continue
        if name not in found:
            raise ValueError(f"{source} lacks {name} of a {network.config.backbone.kind}; give another --init")
        if found[name].shape != wanted.shape:
            raise ValueError(
                f"{source}: {name} is {tuple(found[name].shape)}, the network has {tuple(wanted.shape)}; "
                "set model.backbone.kind and width as those weights have them"
            )
    known = network.backbone.state_dict().keys()
    network.backbone.load_state_dict({name: found[name] for name in found if name in known}, strict=False)
